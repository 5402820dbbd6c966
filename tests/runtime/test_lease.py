"""The lease of a GPU: lock files that nobody else can touch, and a grant that is taken at its word."""

import contextlib
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from pipeline.runtime.errors import PipelineError
from pipeline.runtime.lease import compute_device, lease, lease_folder

GRANTS = ("PIPELINE_GPUS", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS")


def take(**options) -> str:
    with lease(["0"], timeout=0.1, **options) as device:
        return device


def test_locks_lie_in_the_users_own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, folder in (
        (None, "home/.cache"),
        ("XDG_CACHE_HOME", "cache"),
        ("XDG_RUNTIME_DIR", "runtime"),
    ):
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        if name is None:
            monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        else:
            monkeypatch.setenv(name, str(tmp_path / folder))
        assert lease_folder().is_relative_to(tmp_path / folder)
        assert take() == "0"
        assert lease_folder().stat().st_mode & 0o777 == 0o700


def test_a_link_in_place_of_a_lock_is_refused(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "locks").mkdir(mode=0o700)
    (tmp_path / "locks" / "0.0.lock").symlink_to(victim)
    with pytest.raises(PipelineError, match=r"0\.0\.lock: cannot be opened as a lock file"):
        take(folder=tmp_path / "locks")
    assert victim.read_text() == "precious"


def test_a_folder_that_others_can_write_to_is_refused(tmp_path):
    folder = tmp_path / "locks"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(PipelineError, match="not a folder that only you can write to"):
        take(folder=folder)
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(PipelineError, match="not a folder that only you can write to"):
        take(folder=tmp_path / "link")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path):
    folder = tmp_path / "locks"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(PipelineError, match="not a folder that only you can write to"):
        take(folder=folder)


def test_where_no_folder_can_be_made_the_fix_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PipelineError, match=r"file/locks: no GPU can be leased here.*XDG_RUNTIME_DIR"):
        take(folder=tmp_path / "file" / "locks")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    for name in GRANTS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("name", GRANTS)
def test_a_granted_gpu_that_torch_does_not_find_is_an_error(no_gpu, name):
    no_gpu.setenv(name, "1")
    with pytest.raises(PipelineError, match=rf"granted a GPU \({name}=1\), but torch finds none"), compute_device():
        pass


@pytest.mark.parametrize("value", ["", "-1", "NoDevFiles"])
def test_without_a_grant_the_cpu_computes(no_gpu, value, capsys):
    no_gpu.setenv("CUDA_VISIBLE_DEVICES", value)
    with compute_device() as device:
        assert device == "cpu"
    assert "no GPU" in capsys.readouterr().err


def _hold(folder: Path, log: Path, seconds: float, others: int = 0) -> None:
    """Hold a device until so many others have begun, and then for some seconds."""
    with lease(["0", "1", "2"], folder=folder) as device:
        with log.open("a") as file:
            file.write(f"+{device}\n")
        deadline = time.monotonic() + 20
        while log.read_text().count("+") <= others and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(seconds)
        with log.open("a") as file:
            file.write(f"-{device}\n")


def test_eight_processes_share_three_devices_one_at_a_time(tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_hold, args=(tmp_path / "locks", log, 0.05, 2)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    held: set[str] = set()
    most = 0
    for line in log.read_text().split():
        if line[0] == "+":
            assert line[1:] not in held, "two holders of one device"
            held.add(line[1:])
        else:
            held.remove(line[1:])
        most = max(most, len(held))
    assert log.read_text().count("+") == 8
    assert most == 3


def test_the_device_of_a_crashed_holder_is_free_again(tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_hold, args=(tmp_path / "locks", log, 60))
    process.start()
    deadline = time.monotonic() + 20
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with (
        pytest.raises(PipelineError, match="no GPU of 0 became free"),
        lease(["0"], timeout=0.3, folder=tmp_path / "locks"),
    ):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    with lease(["0"], timeout=5, folder=tmp_path / "locks") as device:
        assert device == "0"


def test_slots_let_several_share_a_device(tmp_path):
    def hold(timeout=None):
        return lease(["0"], slots=2, timeout=timeout, folder=tmp_path)

    with hold(), hold(), pytest.raises(PipelineError), hold(timeout=0.3):
        pass


def test_jobs_share_a_card_as_the_workflow_says(tmp_path, monkeypatch):
    """Of two cards one is leased to each job, and to as many as jobs.runs_per_gpu lets."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("pipeline.runtime.lease.lease_folder", lambda: tmp_path)
    monkeypatch.setenv("PIPELINE_RUNS_PER_GPU", "2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen = []
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            # Each job is a process of its own, with an environment of its own (monkeypatch would bring the value back).
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            assert stack.enter_context(compute_device()) == "cuda"
            seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
        with pytest.raises(PipelineError, match="no GPU of 0, 1 became free"), lease(["0", "1"], 2, 0.3, tmp_path):
            pass
    assert seen == ["0", "1", "0", "1"]
