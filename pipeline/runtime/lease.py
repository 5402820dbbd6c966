"""A lease on one GPU, so that jobs of one machine never share a card by accident.

Snakemake hands out a count of GPUs, not their ids. A lease is a lock on a file for each slot of each card; the
operating system frees it when its holder ends, however it ends.
"""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.runtime.errors import PipelineError
from pipeline.runtime.progress import log

POLL_SECONDS = 0.2
# How many jobs may hold one card; the workflow sets it from jobs.runs_per_gpu.
SLOTS = "PIPELINE_RUNS_PER_GPU"


def lease_folder() -> Path:
    """Where the lock files lie: one folder for each user of the machine."""
    return Path(tempfile.gettempdir()) / f"telescopic-benchmark-gpus-{os.getuid()}"


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
        PipelineError: nothing became free in time.
    """
    folder = folder or lease_folder()
    folder.mkdir(parents=True, exist_ok=True)
    start, told = time.monotonic(), False
    while True:
        for slot in range(slots):
            for device in devices:
                handle = os.open(folder / f"{device.replace('/', '_')}.{slot}.lock", os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(handle)
                    continue
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
    """
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    # device_count asks the driver's management library where it can and leaves CUDA uninitialised.
    count = torch.cuda.device_count()
    if count == 0:
        log("no GPU: computing on the CPU, which is far slower")
        yield "cpu"
        return
    if visible is not None:
        devices = [device.strip() for device in visible.split(",") if device.strip()]
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
