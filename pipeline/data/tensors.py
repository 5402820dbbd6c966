"""Prepare what training and evaluation read, memory-mapped: resized images and masks, and masks at their own size."""

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pipeline.data.cases import read_cases
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
    """

    def __init__(self, cases: "pd.DataFrame", images: np.ndarray, masks: np.ndarray, targets: np.ndarray):
        self.cases = cases
        self.images = images
        self.masks = masks
        self._targets = targets
        self._places = cases[["target_offset", "target_bytes", "height", "width"]].to_numpy()

    def __len__(self) -> int:
        return len(self.cases)

    def target(self, index: int) -> np.ndarray:
        """The mask of row ``index`` at its original size, bool (H, W)."""
        offset, size, height, width = (int(value) for value in self._places[index])
        bits = np.unpackbits(self._targets[offset : offset + size], count=height * width)
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


def prepare(folder: str | Path, size: int, threads: int, output: str | Path) -> None:
    """Write images.npy, masks.npy, targets.npy and cases.csv (with the places in targets.npy) into ``output``.

    Images are resized as Pillow's bilinear does it (antialiased), masks by nearest neighbour.

    Args:
        folder: a standardised dataset.
        size: side S of the model's input, pixels.

    Raises:
        PipelineError: a file is missing, damaged or of another size than cases.csv says.
    """
    import pandas as pd

    folder = Path(folder)
    cases = read_cases(folder / "cases.csv")
    order = [SPLITS.index(case.split) for case in cases]
    if not cases or order != sorted(order):
        raise PipelineError(f"{folder}/cases.csv: must hold train, val and test in that order; standardise it again")
    bytes_each = [-(-case.width * case.height // 8) for case in cases]
    offsets = np.concatenate([[0], np.cumsum(bytes_each)])
    with atomic_folder(output) as target:

        def create(name: str, shape: tuple[int, ...]) -> np.ndarray:
            path = target / f"{name}.npy"
            array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
            try:
                with path.open("r+b") as file:
                    # Without room set aside, a disk that fills up kills a process that writes to mapped memory.
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                raise PipelineError(
                    f"{path.parent.parent}: no room for {path.name}, {path.stat().st_size / 2**20:.0f} MiB "
                    f"({error.strerror}); make room and run again"
                ) from None
            return array

        images = create("images", (len(cases), size, size, 3))
        masks = create("masks", (len(cases), size, size))
        targets = create("targets", (int(offsets[-1]),))

        def work(index: int) -> None:
            case = cases[index]
            paths = folder / "images" / case.image, folder / "masks" / case.mask
            try:
                with Image.open(paths[0]) as file:
                    image = file.convert("RGB")
                with Image.open(paths[1]) as file:
                    mask = file.convert("L")
            except OSError as error:
                raise PipelineError(f"{folder}: case {case.case}: {error}; standardise the dataset again") from None
            if not image.size == mask.size == (case.width, case.height):
                raise PipelineError(
                    f"{folder}: case {case.case}: image {image.size} and mask {mask.size} pixels where cases.csv says "
                    f"{(case.width, case.height)}; standardise the dataset again"
                )
            images[index] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
            masks[index] = np.asarray(mask.resize((size, size), Image.Resampling.NEAREST)) > 0
            targets[offsets[index] : offsets[index + 1]] = np.packbits(np.asarray(mask) > 0)

        with ThreadPoolExecutor(threads) as pool:
            for _ in track(pool.map(work, range(len(cases))), f"{folder.name}: preparing", total=len(cases)):
                pass
        for array in (images, masks, targets):
            array.flush()
        table = pd.read_csv(folder / "cases.csv", dtype=str, keep_default_na=False)
        table["target_offset"], table["target_bytes"] = offsets[:-1], bytes_each
        table.to_csv(target / "cases.csv", index=False, lineterminator="\n")
    log(f"{folder.name}: {len(cases)} records at {size} x {size} pixels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="standardised dataset")
    parser.add_argument("--size", type=int, default=352, help="side of the model's input, pixels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True, help="folder of the tensors")
    arguments = parser.parse_args()
    prepare(arguments.folder, arguments.size, arguments.threads, arguments.output)


if __name__ == "__main__":
    run_command(main)
