"""Faults of the machine: each ends in one line that names the path and the fix, and a later run succeeds."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml
from ordinary_user import can_become_one, own, wrapped
from workflow_support import processes, snakemake

from pipeline.check import NOTE

pytestmark = pytest.mark.long

# Without --quiet, which would hide failed logs.
COLD = ("--configfile", "small.yaml", "--config", "jobs={warm_start: false}")
NEW = "results/new/phantoms/archives"  # a target that needs nothing of the finished study, and no torch

as_root = pytest.mark.skipif(
    os.getuid() != 0 or not can_become_one(), reason="needs root and the right to make a mount namespace"
)
as_user = pytest.mark.skipif(not can_become_one(), reason="needs the right to make a mount namespace")


@pytest.fixture
def folder(small_study, tmp_path) -> Path:
    """A copy of the finished study."""
    folder = tmp_path / "checkout"
    shutil.copytree(small_study.finished, folder, symlinks=True)
    return folder


@pytest.fixture
def started(folder):
    """Starts Snakemake on a training of the copy, cold; whatever happens, it is ended."""
    processes = []

    def start() -> subprocess.Popen:
        (folder / "results/small/runs/busi/telescopic/seed41/weights.safetensors").unlink()
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "snakemake", "--cores", "1", TRAINING, *COLD],
                cwd=folder,
                env=environment(folder),
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait(10)


TRAINING = "results/small/runs/busi/telescopic/seed41/weights.safetensors"


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder / ".cache"), **more}


def run_as_user(folder: Path, *arguments: str, umask: str = "022", **more: str) -> subprocess.CompletedProcess:
    """Run Snakemake as an ordinary user, who owns ``folder``."""
    shell = ["sh", "-c", f'umask {umask}; exec "$@"', "sh"]
    command = wrapped(folder, [*shell, sys.executable, "-m", "snakemake", "--cores", "2", *arguments])
    return subprocess.run(
        command, cwd=folder, env=environment(folder, **more), capture_output=True, text=True, timeout=500
    )


def run_mounted(folder: Path, mounts: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run Snakemake where ``mounts``, shell code, has been run before; nobody else sees what it mounts."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    command = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", *command]
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=500)


def assert_one_line(result: subprocess.CompletedProcess, *words: str) -> None:
    """It failed, and one line, no traceback, says why; of a failed job Snakemake shows it at once and at the end."""
    output = result.stdout + result.stderr
    assert result.returncode != 0, output
    assert len({line for line in output.splitlines() if all(word in line for word in words)}) == 1, output
    assert "Traceback" not in output


def assert_succeeds(result: subprocess.CompletedProcess) -> None:
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


def note_the_check(folder: Path) -> None:
    """Spare a run of NEW the check of the variants, which takes seconds: they are those of the finished study."""
    new = folder / "results/new"
    new.mkdir(exist_ok=True)
    shutil.copy(folder / "results/small" / NOTE, new)
    if os.getuid() == 0:
        own(new)


@dataclass(frozen=True)
class Fault:
    """Something in the place of ``path``, or rights that are missing there; ``fix`` is what the message says."""

    path: str
    fix: str
    target: str
    damage: Callable[[Path], object]
    repair: Callable[[Path], object]


def displace(path: Path) -> None:
    path.rename(path.with_name("displaced"))
    path.write_text("a file")


def restore(path: Path) -> None:
    path.unlink()
    path.with_name("displaced").rename(path)


def close(path: Path) -> None:
    path.chmod(0o555)


def reopen(path: Path) -> None:
    path.chmod(0o755)


A_FILE, RIGHTS = "a file stands where a folder belongs; move it away", "permission denied; give yourself the rights"


@as_user
@pytest.mark.parametrize(
    "fault",
    [
        Fault("results", A_FILE, NEW, displace, restore),
        Fault("results/small/ablations", A_FILE, "results/small/ablations/depth.csv", displace, restore),
        Fault("results/small/logs", A_FILE, "results/small/reference.csv", displace, restore),
        Fault("results/small", RIGHTS, "results/small/reference.csv", close, reopen),
        Fault("results", RIGHTS, NEW, close, reopen),
    ],
    ids=["file for results", "file for a folder inside", "file for logs", "read-only results", "parent not writable"],
)
def test_results_that_cannot_be_written(folder, fault):
    if fault.target == NEW:
        target = (NEW, *COLD[:2], "--config", "results=results/new")
    else:
        target = (fault.target, *COLD)
        (folder / fault.target).unlink()
    if os.getuid() == 0:
        own(folder)
    fault.damage(folder / fault.path)
    assert_one_line(run_as_user(folder, *target), f"{folder / fault.path}: {fault.fix}")
    fault.repair(folder / fault.path)
    if fault.target == NEW:
        note_the_check(folder)
    assert_succeeds(run_as_user(folder, *target))


@as_root
@pytest.mark.parametrize(
    ("mounts", "words"),
    [
        ("mount --bind {0} {0} && mount -o remount,ro,bind {0}", ["on a file system that is read-only; let `results`"]),
        (
            "mount -t tmpfs -o size=4k tmpfs {0} && (head -c 8k /dev/zero > {0}/x || true)",
            ["no space left on the disk"],
        ),
        ("mount -t tmpfs -o size=512k tmpfs {0}", ["error: ", "/phantoms: no space left on the disk; free some"]),
    ],
    ids=["read-only", "full from the beginning", "full in the middle"],
)
def test_the_disk_is_full_or_read_only(folder, mounts, words):
    target = (NEW, *COLD[:2], "--config", "results=results/new")
    place = folder / "results/new"
    place.mkdir()
    assert_one_line(run_mounted(folder, mounts.format("results/new"), *target), "results/new", *words)
    assert not list(place.rglob("*"))
    note_the_check(folder)
    assert_succeeds(run_mounted(folder, "true", *target))


@as_root
def test_the_disk_is_full_when_a_training_saves_its_state(folder):
    (folder / TRAINING).unlink()
    state = folder / "results/small/state"
    failed = run_mounted(folder, f"mount -t tmpfs -o size=64k tmpfs {state}", TRAINING, *COLD)
    assert_one_line(failed, "error: ", "results/small/state/busi/telescopic/seed41/state.pt", "space")
    assert_succeeds(run_mounted(folder, "true", TRAINING, *COLD))


def test_a_second_snakemake_names_the_lock_and_the_command(folder, started):
    first = started()
    wait_for(lambda: any((folder / ".snakemake/locks").glob("*")), first)
    second = snakemake(folder, TRAINING, *COLD)
    assert_one_line(second, f"{folder}/.snakemake/locks: ", "if none is running: snakemake --unlock")
    first.terminate()
    first.communicate(timeout=60)
    assert_succeeds(snakemake(folder, "results/small/dsc.csv", *COLD))


def test_a_job_killed_for_memory_says_so_in_snakemakes_output(folder, started):
    first = started()
    log = folder / "results/small/logs/train/busi/telescopic/seed41.log"
    log.unlink()
    wait_for(log.exists, first)
    wait_for(lambda: steps_in(folder), first)
    os.kill(steps_in(folder)[0], signal.SIGKILL)
    _, errors = first.communicate(timeout=60)
    line = "error: pipeline.evaluation.train_and_score was killed (SIGKILL), as happens when memory runs out"
    assert line in log.read_text()
    assert line in errors
    assert "--set-resources RULE:mem_mb=MIB" in errors
    assert "Traceback" not in errors
    assert_succeeds(snakemake(folder, TRAINING, *COLD))


def steps_in(folder: Path) -> list[int]:
    """Training steps that run in ``folder``: processes that lead a session of their own."""
    found = []
    for pid, command in processes(folder).items():
        with contextlib.suppress(ProcessLookupError):
            found += [pid] * ("train_and_score" in command and os.getsid(pid) == pid)
    return found


def wait_for(condition: Callable[[], object], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@as_user
def test_a_study_runs_in_hostile_surroundings(checkout, small_study, tmp_path):
    """Names with what a shell reads, private files, ASCII as the locale, no home, no TMPDIR, an ordinary user."""
    folder = tmp_path / "my check-out é"
    shutil.copytree(checkout, folder, symlinks=True, ignore=shutil.ignore_patterns("results", ".snakemake"))
    name = """results/Übung 'a "b & $HOME `touch INJECTED` $(touch INJECTED);touch INJECTED #\\"""
    overlay = yaml.safe_load((folder / "small.yaml").read_text())
    (folder / "small.yaml").write_text(yaml.safe_dump(overlay | {"results": name}))
    if os.getuid() == 0:
        own(folder)
    surroundings = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "HOME": "/proc/none", "TMPDIR": "/proc/none"}
    result = run_as_user(folder, "all", "--configfile", "small.yaml", umask="077", **surroundings)
    assert_succeeds(result)
    results = folder / name
    assert (results / "paper.md").is_file()
    assert not [path for path in folder.rglob("*") if path.name.startswith("INJECTED")]
    assert {path.name for path in (folder / "results").iterdir()} == {Path(name).name}
    assert not [path for path in results.rglob("*") if path.stat().st_mode & 0o077]
    expected = pd.read_csv(small_study.finished / small_study.results / "dsc.csv")
    pd.testing.assert_frame_equal(pd.read_csv(results / "dsc.csv"), expected)
