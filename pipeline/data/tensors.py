"""Prepare what training and evaluation read, memory-mapped: resized images and masks, and masks at their own size."""

import argparse
import contextlib
import csv
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from pipeline.data.cases import Case, read_cases
from pipeline.data.conventions import CONVENTIONS, CORRECTED, REFERENCE
from pipeline.data.sources import SPLITS
from pipeline.runtime.atomic import atomic_folder
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.progress import log, track

if TYPE_CHECKING:
    import pandas as pd


class PreparedSplit:
    """One split of a prepared dataset; row i of each part belongs to the same record.

    Attributes:
        cases: rows of cases.csv, ``prompts`` parsed.
        images: (n, S, S, 3) uint8 RGB, memory-mapped.
        masks: (n, S, S) uint8, 0 or 1, memory-mapped.
        convention: which foreground ``masks`` and, unless told otherwise, :meth:`target` have:
            :data:`pipeline.data.conventions.CONVENTIONS`.
    """

    def __init__(self, cases: "pd.DataFrame", images: np.ndarray, masks: np.ndarray, targets: np.ndarray):
        self.cases = cases
        self.images = images
        self.masks = masks
        self._targets = targets
        self.convention = str(cases["masks"].iloc[0])
        self._places = cases[["target_offset", "reference_offset", "target_bytes", "height", "width"]].to_numpy()

    def __len__(self) -> int:
        return len(self.cases)

    def packed_target(self, index: int) -> np.ndarray:
        """The mask of row ``index`` at its original size, eight pixels a byte; then the reference's if it differs."""
        start, reference, size = (int(value) for value in self._places[index, :3])
        return self._targets[start : reference + size]

    def target(self, index: int, convention: str | None = None) -> np.ndarray:
        """The mask of row ``index`` at its original size, bool (H, W)."""
        size, height, width = (int(value) for value in self._places[index, 2:])
        packed = self.packed_target(index)
        packed = packed[-size:] if (convention or self.convention) == REFERENCE else packed[:size]
        bits = np.unpackbits(packed, count=height * width)
        return bits.reshape(height, width).astype(bool)


def load_split(folder: str | Path, split: str) -> PreparedSplit:
    """Read one split that :func:`prepare` wrote.

    Args:
        folder: {results}/tensors/{dataset}.
        split: "train", "val" or "test".

    Raises:
        PipelineError: the folder is not complete, or has no record of that split.
    """
    import pandas as pd

    folder = Path(folder)
    try:
        # Cases are names, "001" too, and an empty group is a group.
        cases = pd.read_csv(folder / "cases.csv", dtype={"case": str}, keep_default_na=False)
        arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "masks", "targets")]
    except (OSError, ValueError) as error:
        raise PipelineError(f"{folder}: no prepared tensors ({error}); run pipeline.data.tensors again") from None
    if len(cases) != len(arrays[0]) or len(cases) != len(arrays[1]):
        raise PipelineError(f"{folder}: {len(cases)} rows but {len(arrays[0])} images; run pipeline.data.tensors again")
    rows = np.flatnonzero(cases["split"] == split)
    if not len(rows):
        raise PipelineError(f"{folder}: no record of split {split!r}; it has {', '.join(cases['split'].unique())}")
    # Standardised datasets hold a split's records together, so a split is a slice and stays memory-mapped.
    part = slice(rows[0], rows[-1] + 1)
    chosen = cases[part].reset_index(drop=True)
    chosen["prompts"] = [json.loads(text) for text in chosen["prompts"]]
    return PreparedSplit(chosen, arrays[0][part], arrays[1][part], arrays[2])


@contextlib.contextmanager
def array_file(path: Path, shape: tuple[int, ...]) -> Iterator[Callable[[bytes, int], None]]:
    """A .npy file of uint8, its room reserved; yields a function that writes bytes at an offset in the array.

    Written and not mapped: faults of mapped pages take longer than the copies.
    """
    size = math.prod(shape)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        start = file.tell()
        file.flush()
        try:
            os.posix_fallocate(file.fileno(), 0, start + size)
        except OSError as error:
            raise PipelineError(
                f"{path.parent.parent}: no room for {path.name}, {size / 2**20:.0f} MiB ({error.strerror}); make room "
                "and run again"
            ) from None
        yield lambda data, offset: os.pwrite(file.fileno(), data, start + offset)


def prepare(
    folder: str | Path, size: int, threads: int, output: str | Path, masks: Literal[CONVENTIONS] = CORRECTED
) -> None:
    """Write images.npy, masks.npy, targets.npy and cases.csv (with the places in targets.npy) into ``output``.

    Images are resized as Pillow's bilinear does it (antialiased), masks by nearest neighbour. Targets are kept in both
    conventions; that of a case which the reference sees in another way follows its own.

    Args:
        folder: a standardised dataset.
        size: side S of the model's input, pixels.
        masks: the convention that is trained and scored with.

    Raises:
        PipelineError: a file is missing, damaged or of another size than cases.csv says.
    """
    folder = Path(folder)
    cases = read_cases(folder / "cases.csv")
    order = [SPLITS.index(case.split) for case in cases]
    if not cases or order != sorted(order):
        raise PipelineError(f"{folder}/cases.csv: must hold train, val and test in that order; standardise it again")
    bytes_each = [-(-case.width * case.height // 8) for case in cases]
    twice = [bool(case.reference_mask_sha256) for case in cases]
    offsets = [0, *itertools.accumulate(size * (1 + two) for size, two in zip(bytes_each, twice, strict=True))]

    def check(case: Case, what: str, found: tuple[int, int]) -> None:
        if found != (case.width, case.height):
            raise PipelineError(
                f"{folder}: case {case.case}: {what} of {found} pixels where cases.csv says "
                f"{(case.width, case.height)}; standardise the dataset again"
            )

    with atomic_folder(output) as target:

        def work(index: int) -> None:
            case = cases[index]
            try:
                with Image.open(folder / "images" / case.image) as image:
                    check(case, "image", image.size)
                    colours = image if image.mode == "RGB" else image.convert("RGB")
                    pixels = colours.resize((size, size), Image.Resampling.BILINEAR).tobytes()
                bits = b""
                for place in ("masks", "masks_reference") if twice[index] else ("masks",):
                    with Image.open(folder / place / case.mask) as mask:
                        check(case, "mask", mask.size)
                        if place == "masks" or masks == REFERENCE:
                            small = np.asarray(mask.resize((size, size), Image.Resampling.NEAREST)) > 0
                        bits += np.packbits(np.asarray(mask)).tobytes()
            except OSError as error:
                raise PipelineError(f"{folder}: case {case.case}: {error}; standardise the dataset again") from None
            write_image(pixels, index * size * size * 3)
            write_mask(small.tobytes(), index * size * size)
            write_target(bits, offsets[index])

        with (
            array_file(target / "images.npy", (len(cases), size, size, 3)) as write_image,
            array_file(target / "masks.npy", (len(cases), size, size)) as write_mask,
            array_file(target / "targets.npy", (offsets[-1],)) as write_target,
            ThreadPoolExecutor(threads) as pool,
        ):
            for _ in track(pool.map(work, range(len(cases))), f"{folder.name}: preparing", total=len(cases)):
                pass
        with (folder / "cases.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        with (target / "cases.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*rows[0], "target_offset", "target_bytes", "reference_offset", "masks"])
            places = zip(rows[1:], offsets, bytes_each, twice, strict=False)  # offsets end with that of the end
            writer.writerows([*row, at, size, at + two * size, masks] for row, at, size, two in places)
    log(f"{folder.name}: {len(cases)} records at {size} x {size} pixels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="standardised dataset")
    parser.add_argument("--size", type=int, default=352, help="side of the model's input, pixels")
    parser.add_argument("--masks", choices=CONVENTIONS, default=CORRECTED, help="which levels are foreground")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True, help="folder of the tensors")
    prepare(**vars(parser.parse_args()))


if __name__ == "__main__":
    run_command(main)
