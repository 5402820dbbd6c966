"""A copy of the repository and the smallest study that trains, run once for all tests of the workflow."""

import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from workflow_support import FAMILY, ROOT, SMALL, snakemake


@dataclass(frozen=True)
class SmallStudy:
    """The finished study: ``checkout``, where tests may change files, and ``finished``, a copy that stays as it is.

    ``saved`` and ``left`` are what the training that was killed in its middle had: a state, and files of its results.
    """

    checkout: Path
    finished: Path
    saved: bool
    left: list[Path]

    results = Path("results/small")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Path:
    """A copy of the repository's own files, to be run and changed in."""
    folder = tmp_path_factory.mktemp("checkout") / "repository"
    ignore = shutil.ignore_patterns(".git", ".venv", ".snakemake", "results", "__pycache__", "*.egg-info", ".*_cache")
    shutil.copytree(ROOT, folder, ignore=ignore)
    overlay = {**SMALL, "results": str(SmallStudy.results), "ablations": {"depth": FAMILY}}
    # Overlays are merged key by key: families of the full study that the small one leaves out are cut from its copy.
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config |= {"ablations": {}, "joint": None, "leaks": None, "transfer": None, "test_time": None, "tuning": None}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "small.yaml").write_text(yaml.safe_dump(overlay))
    return folder


@pytest.fixture(scope="session")
def small_study(checkout) -> SmallStudy:
    """Kills a training in its middle, then runs everything."""
    small = ("--configfile", "small.yaml")
    run = checkout / SmallStudy.results / "runs/busi/telescopic/seed41"
    state = checkout / SmallStudy.results / "state/busi/telescopic/seed41/state.pt"
    killed = snakemake(checkout, str(run.relative_to(checkout) / "weights.safetensors"), *small, start=True)
    deadline = time.monotonic() + 300
    while not state.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait(20)
    time.sleep(0.5)
    saved, left = state.exists(), list(run.glob("*"))
    snakemake(checkout, "--unlock", *small)
    result = snakemake(checkout, "all", *small, "--quiet", "rules", "--rerun-incomplete")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    finished = checkout.with_name("finished")
    shutil.copytree(checkout, finished)
    return SmallStudy(checkout, finished, saved, left)
