"""What the tests of the workflow share."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The smallest study that trains: one dataset, few cases, few steps.
SMALL = {
    "datasets": ["busi"],
    "seeds": [41],
    "more_seeds": None,
    "archives": {"phantoms": {"train": 8, "val": 4, "test": 6}, "official": False},
    "image_size": 64,
    "backbone": {"source": "phantom", "steps": 3},
    "training": {"batch_size": 4, "max_epochs": 30, "save_every": 1},
    "main": ["zero_shot", "end_to_end", "telescopic"],
    "jobs": {"threads": 1, "memory_mb": 1500, "warm_start": True, "gpus": 0},
}
PF_EXITING = 0x4
FAMILY = {"title": "Depth", "reference": "telescopic", "variants": ["telescopic", "uniform"]}


def snakemake(folder: Path, *arguments: str, start: bool = False, **environment: str):
    """Run Snakemake in ``folder`` on its own code; with ``start`` return the process at once.

    It prints all of each job, unless ``arguments`` say otherwise.
    """
    if "--quiet" not in arguments:
        arguments += ("--quiet", "host")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder), **environment}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    if start:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
        )
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)


def processes(folder: Path) -> dict[int, str]:
    """Processes that stand in ``folder`` and are not about to exit, by id, with their command lines."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink() == folder:
                status = (entry / "stat").read_text().rpartition(")")[2].split()
                if status[0] not in "ZX" and not int(status[6]) & PF_EXITING:
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    return found


def planned(output: str) -> dict[str, int]:
    """Jobs by rule from Snakemake's own statistics."""
    table = output.split("Job stats:")[1].split("\n\n")[0] if "Job stats:" in output else ""
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
