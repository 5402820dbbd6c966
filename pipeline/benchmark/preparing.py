"""How long standardising, verifying and preparing all datasets takes: ``python -m pipeline.benchmark.preparing``.

Each step is a process of its own, as in the workflow, and its CPU time and peak memory are that process's. The archives
come from ``../shared/data``, beside the repository, or from ``--data``; the temporary folder needs 4 GB.
The second table compares one epoch's reading from the prepared tensors with decoding and resizing the originals each
epoch: shuffled, in batches, the better of two times, so that the files are in the page cache.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipeline.data.cases import read_cases
from pipeline.data.sources import DATASETS, dataset_facts
from pipeline.data.tensors import load_split
from pipeline.runtime.errors import PipelineError, run_command

ROOT = Path(__file__).parents[2]
THREADS = 2
SIZE = 352
BATCH = 32


class Figures(NamedTuple):
    """Wall time and CPU time in seconds, peak memory in MiB."""

    seconds: float
    cpu: float
    mib: float

    @classmethod
    def over(cls, steps: Sequence["Figures"]) -> "Figures":
        """Times of one after the other, memory of the largest."""
        return cls(sum(s.seconds for s in steps), sum(s.cpu for s in steps), max(s.mib for s in steps))

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, CPU {self.cpu:.1f} s, {self.mib:.0f} MiB"


def run(module: str, **options: object) -> Figures:
    """Run a step in a process of its own.

    Raises:
        PipelineError: it failed; with all that it printed.
    """
    command = [sys.executable, "-m", f"pipeline.{module}"]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    start = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise PipelineError(f"{module} failed: {log.read().decode(errors='replace')}")
    # A child's peak is never below its parent's at the start, so this process must stay small until all steps are done.
    return Figures(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measure(dataset: str, data: Path, folder: Path) -> dict[str, Figures]:
    """All steps of one dataset, into ``folder``."""
    # Any record may be missing here: reduced copies lack some, and what is timed is the work on those that are there.
    allowed = sum(dataset_facts(dataset).records.values()) - 1
    annotations = data / "annotations" / dataset_facts(dataset).annotations.folder
    standardised, tensors = folder / "datasets" / dataset, folder / "tensors" / dataset
    return {
        "standardise": run(
            "data.standardise", dataset=dataset, archives=data / "archives", annotations=annotations,
            allow_missing=allowed, threads=THREADS, output=standardised,
        ),
        "verify": run(
            "data.integrity", dataset=dataset, folder=standardised, annotations=annotations, verify_boxes="false",
            threads=THREADS, output=standardised / "integrity.json",
        ),
        "prepare": run("data.tensors", folder=standardised, size=SIZE, threads=THREADS, output=tensors),
    }  # fmt: skip


def epoch_of_tensors(tensors: Path, order: np.ndarray) -> float:
    """Seconds in which every training image and mask is read once from the memory-mapped tensors."""
    start = time.perf_counter()
    data = load_split(tensors, "train")
    for first in range(0, len(order), BATCH):
        rows = np.sort(order[first : first + BATCH])
        assert data.images[rows].shape[1:] == (*data.masks[rows].shape[1:], 3)
    return time.perf_counter() - start


def epoch_of_originals(standardised: Path, order: np.ndarray) -> float:
    """Seconds in which every training image and mask is decoded and resized once, on :data:`THREADS` threads."""
    cases = [case for case in read_cases(standardised / "cases.csv") if case.split == "train"]

    def load(row: int) -> tuple[np.ndarray, np.ndarray]:
        with Image.open(standardised / "images" / cases[row].image) as file:
            image = file.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        with Image.open(standardised / "masks" / cases[row].mask) as file:
            mask = file.resize((SIZE, SIZE), Image.Resampling.NEAREST)
        return np.asarray(image), np.asarray(mask) > 0

    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(0, len(order), BATCH):
            loaded = list(pool.map(load, order[first : first + BATCH]))
            assert np.stack([image for image, _ in loaded]).shape[1:3] == loaded[0][1].shape
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder of archives and annotations")
    data = parser.parse_args().data.resolve()
    if not (data / "archives").is_dir():
        raise PipelineError(f"{data} has no folder archives; name one with --data")
    totals: dict[str, list[Figures]] = {}
    print(f"{'dataset':12} {'records':>7} {'standardise':>31} {'prepare':>31} {'verify':>31}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for dataset in DATASETS:
            steps = measure(dataset, data, folder)
            for step, figures in steps.items():
                totals.setdefault(step, []).append(figures)
            records = len(read_cases(folder / "datasets" / dataset / "cases.csv"))
            cells = " ".join(f"{steps[step]!s:>31}" for step in ("standardise", "prepare", "verify"))
            print(f"{dataset:12} {records:7} {cells}", flush=True)
        table = "reporting.tables.data_audit"
        audit = run(table, datasets=json.dumps(DATASETS), results=folder, output=folder / "audit")
        print(f"standardise and prepare, all: {Figures.over(totals['standardise'] + totals['prepare'])}")
        print(f"verify, all: {Figures.over(totals['verify'])}; audit: {audit}")
        print(f"\n{'one epoch':12} {'images':>7} {'tensors, s':>11} {'decoding, s':>11} {'ratio':>7}", flush=True)
        for dataset in DATASETS:
            tensors, standardised = folder / "tensors" / dataset, folder / "datasets" / dataset
            order = np.random.default_rng(0).permutation(len(load_split(tensors, "train")))
            prepared = min(epoch_of_tensors(tensors, order) for _ in range(2))
            decoded = min(epoch_of_originals(standardised, order) for _ in range(2))
            print(f"{dataset:12} {len(order):7} {prepared:11.2f} {decoded:11.2f} {decoded / prepared:7.1f}", flush=True)


if __name__ == "__main__":
    run_command(main)
