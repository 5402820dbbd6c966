"""Join the prepared tensors of several datasets to one: train of all, then val, then test."""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.sources import SPLITS
from pipeline.data.tensors import array_file, load_split
from pipeline.runtime.atomic import atomic_folder
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.progress import log


def join(folders: list[Path], output: Path) -> None:
    """Write images.npy, masks.npy, targets.npy and cases.csv of all ``folders`` into ``output``.

    Cases keep their names, so that a case draws the prompts that it draws in its own dataset.

    Args:
        folders: what :mod:`pipeline.data.tensors` wrote, of one image size.

    Raises:
        PipelineError: image sizes differ, or two datasets have a case of one name.
    """
    parts = {(split, folder): load_split(folder, split) for split in SPLITS for folder in folders}
    shapes = {part.images.shape[1:] for part in parts.values()}
    if len(shapes) > 1:
        raise PipelineError(f"{', '.join(map(str, folders))}: differ in image size; prepare them again")
    owner: dict[str, Path] = {}
    for (_, folder), part in parts.items():
        for case in part.cases["case"]:
            if owner.setdefault(case, folder) != folder:
                raise PipelineError(f"{owner[case]} and {folder}: both have a case {case!r}; rename it in one of them")
    cases = pd.concat([part.cases for part in parts.values()], ignore_index=True)
    second = (cases["reference_offset"] - cases["target_offset"]).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(cases["target_bytes"].to_numpy() + second)]).tolist()
    cases = cases.assign(target_offset=offsets[:-1], reference_offset=offsets[:-1] + second)
    cases = cases.assign(prompts=[json.dumps(prompts) for prompts in cases["prompts"]])
    (shape,) = shapes
    with atomic_folder(output) as target:
        with (
            array_file(target / "images.npy", (len(cases), *shape)) as write_image,
            array_file(target / "masks.npy", (len(cases), *shape[:2])) as write_mask,
            array_file(target / "targets.npy", (offsets[-1],)) as write_target,
        ):
            row = 0
            for part in parts.values():
                for index in range(len(part)):
                    write_image(part.images[index].tobytes(), row * part.images[index].nbytes)
                    write_mask(part.masks[index].tobytes(), row * part.masks[index].nbytes)
                    write_target(part.packed_target(index).tobytes(), offsets[row])
                    row += 1
        cases.to_csv(target / "cases.csv", index=False, lineterminator="\n")
    log(f"{output.name}: {len(cases)} records of {len(folders)} datasets")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=Path, nargs="+", required=True, help="folders of prepared tensors")
    parser.add_argument("--output", type=Path, required=True, help="folder of the joined tensors")
    options = parser.parse_args()
    join(options.tensors, options.output)


if __name__ == "__main__":
    run_command(main)
