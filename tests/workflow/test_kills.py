"""Kills at random moments, of jobs and of Snakemake: the results are those of an undisturbed run, and nothing is left.

KILLS=50 kills fifty times, KILLS_SEED=N chooses others.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from workflow_support import processes, snakemake

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("KILLS", "2"))
SEED = int(os.environ.get("KILLS_SEED", "1"))
TARGET = ("results/small/dsc.csv", "--configfile", "small.yaml", "--quiet", "rules")
TIMES = ["seconds", "images_per_second"]


def wait_until_ended(folder: Path) -> None:
    deadline = time.monotonic() + 10
    while processes(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not processes(folder), "these outlived Snakemake"


def wait(run: subprocess.Popen, seconds: float, condition: Callable[[], bool] = lambda: False) -> None:
    """Wait until ``condition``, the end of ``run`` or for so long."""
    deadline = time.monotonic() + seconds
    while run.poll() is None and time.monotonic() < deadline and not condition():
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for processes in /proc")
def test_after_kills_at_random_moments_the_results_are_those_of_an_undisturbed_run(small_study, tmp_path):
    undisturbed, folder = small_study.finished / small_study.results, tmp_path / "disturbed"
    shutil.copytree(small_study.finished, folder, ignore=shutil.ignore_patterns("results", ".snakemake"))
    chance = random.Random(SEED)
    locks = folder / ".snakemake/locks"
    refused, finished = 0, 0
    for _ in range(KILLS):
        run = snakemake(folder, *TARGET, start=True)
        # The lock tells the plan's end, which comes later on a busy machine; some are killed before it.
        if chance.random() < 0.8:
            wait(run, 60, lambda: locks.is_dir() and any(locks.iterdir()))
        wait(run, chance.uniform(0, 5))
        victims = sorted(processes(folder).keys() - {run.pid})
        if run.poll() is not None:
            assert run.returncode == 0, "a run after a kill failed by itself"
            finished += 1
            shutil.rmtree(folder / "results")
        elif victims and chance.random() < 0.4:
            # A shell, a step, its supervisor or the server: Snakemake goes on with the others, and fails.
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(victims), chance.choice([signal.SIGKILL, signal.SIGTERM]))
            run.wait(120)
        elif chance.random() < 0.5:
            os.killpg(run.pid, signal.SIGKILL)
        else:
            run.kill()
        run.wait(10)
        wait_until_ended(folder)
        if locks.is_dir() and list(locks.iterdir()):
            refusal = snakemake(folder, *TARGET)
            refused += refusal.returncode != 0
            assert f"{locks}: locked by another Snakemake or by one that was killed" in refusal.stderr
            assert "if none is running: snakemake --unlock" in refusal.stderr
            assert snakemake(folder, "--unlock").returncode == 0
    result = snakemake(folder, *TARGET)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    print(f"{KILLS} kills: {refused} left a lock, {finished} came too late")

    results = folder / "results/small"
    for path in [results / "dsc.csv", *results.rglob("per_case.csv"), *results.rglob("weights.safetensors")]:
        assert path.read_bytes() == (undisturbed / path.relative_to(results)).read_bytes(), path
    histories = list(results.rglob("history.csv"))
    assert len(histories) == 3
    for path in histories:
        found, expected = (pd.read_csv(root / path.relative_to(results)) for root in (results, undisturbed))
        pd.testing.assert_frame_equal(found.drop(columns=TIMES), expected.drop(columns=TIMES), check_exact=True)
    wait_until_ended(folder)
    assert not locks.is_dir() or not list(locks.iterdir())
    left = [path for path in folder.rglob("*") if ".partial" in path.name or path.is_socket()]
    assert not left
    assert not [path for path in (results / "state").rglob("*") if path.is_file()]
