"""A lease on one GPU, so that jobs of one machine never share a card by accident.

Snakemake hands out a count of GPUs, not their ids. A lease is a lock on a file for each slot of each card; the
operating system frees it when its holder ends, however it ends.
"""

import contextlib
import fcntl
import os
import platform
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.runtime.errors import PipelineError
from pipeline.runtime.gpus import NONE, grant
from pipeline.runtime.progress import log

POLL_SECONDS = 0.2
# How many jobs may hold one card; the workflow sets it from jobs.runs_per_gpu.
SLOTS = "PIPELINE_RUNS_PER_GPU"


def lease_folder() -> Path:
    """Where the lock files of this machine lie: in the user's runtime folder, else in the user's cache folder."""
    folder = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("XDG_CACHE_HOME")
    # A cache folder may be shared by machines, whose cards are not.
    return (Path(folder) if folder else Path.home() / ".cache") / "telescopic-benchmark" / f"gpus-{platform.node()}"


def _make_folder(folder: Path) -> None:
    """Make ``folder``, for its owner only.

    Raises:
        PipelineError: it cannot be made or is not a folder of this user alone.
    """
    fix = "let XDG_RUNTIME_DIR or XDG_CACHE_HOME name a folder of yours"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise PipelineError(f"{folder}: no GPU can be leased here ({error.strerror}); {fix}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PipelineError(f"{folder}: not a folder that only you can write to; remove it, or {fix}")


def _open_lock(path: Path) -> int:
    """A lock file, opened; a link in its place is refused."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PipelineError(f"{path}: cannot be opened as a lock file ({error.strerror}); remove it") from None


@contextlib.contextmanager
def lease(
    devices: Sequence[str], slots: int = 1, timeout: float | None = None, folder: Path | None = None
) -> Iterator[str]:
    """Yield one of ``devices`` that nobody else holds, waiting until there is one.

    Args:
        devices: ids as in CUDA_VISIBLE_DEVICES, most wanted first.
        slots: how many holders one device may have at a time.
        timeout: seconds to wait at most; none: for ever.

    Raises:
        PipelineError: nothing became free in time, or no lock can be had.
    """
    folder = folder or lease_folder()
    _make_folder(folder)
    start, told = time.monotonic(), False
    while True:
        for slot in range(slots):
            for device in devices:
                path = folder / f"{device.replace('/', '_')}.{slot}.lock"
                handle = _open_lock(path)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(handle)
                    continue
                except OSError as error:
                    os.close(handle)
                    raise PipelineError(
                        f"{path}: cannot be locked ({error.strerror}); let XDG_RUNTIME_DIR name a local folder"
                    ) from None
                try:
                    yield device
                    return
                finally:
                    os.close(handle)
        waited = time.monotonic() - start
        if timeout is not None and waited > timeout:
            raise PipelineError(
                f"no GPU of {', '.join(devices)} became free in {timeout:.0f} s; run fewer jobs at a time with "
                "`--resources gpu=N`, or end the jobs that hold them"
            )
        if not told:
            log(f"waiting for a GPU: {', '.join(devices)} held by other jobs")
            told = True
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def compute_device() -> Iterator[str]:
    """Yield ``"cuda"`` with one leased card made visible, or ``"cpu"`` where there is none.

    A CUDA_VISIBLE_DEVICES that names one device already (SLURM, a container, the user) is taken as it is; of several,
    one is leased. Call it before anything initialises CUDA.

    Raises:
        PipelineError: this job was granted a GPU, but torch finds none.
    """
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    # device_count asks the driver's management library where it can and leaves CUDA uninitialised.
    count = torch.cuda.device_count()
    if count == 0:
        granted = grant()
        if granted:
            cause = (
                "the driver does not answer (what does nvidia-smi say?)"
                if torch.version.cuda
                else f"torch {torch.__version__} is built without CUDA (install envs/requirements-cuda.txt)"
            )
            raise PipelineError(
                f"this job was granted a GPU ({granted}), but torch finds none: {cause}; to compute on the CPU, set "
                "jobs.gpus to 0 and CUDA_VISIBLE_DEVICES to nothing"
            )
        log("no GPU: computing on the CPU, which is far slower")
        yield "cpu"
        return
    if visible is not None:
        devices = [device.strip() for device in visible.split(",") if device.strip() not in NONE]
        if len(devices) == 1:
            yield "cuda"
            return
    else:
        devices = [str(index) for index in range(count)]
    with lease(devices, int(os.environ.get(SLOTS, "1"))) as device:
        before = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = device
        try:
            yield "cuda"
        finally:
            if before is None:
                os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            else:
                os.environ["CUDA_VISIBLE_DEVICES"] = before
