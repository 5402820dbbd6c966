"""Which numerical mode a process computes in."""

import os

import torch

from pipeline.models.precision import AUTOCAST, computes
from pipeline.runtime import portable
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.progress import log


def set_mode(device: str, deterministic: bool, threads: int) -> str:
    """Fix the number of CPU threads and choose CUDA's kernels; returns what the manifest calls the mode.

    The mode is ``fast``, ``deterministic`` (the same seed gives the same numbers on this device) or ``portable`` (it
    does on every x86-64 processor). The number of threads comes from the configuration and not from the machine, since
    sums over threads depend on it.
    """
    torch.set_num_threads(threads)
    if device == "cpu":
        same = all(os.environ.get(name) == value for name, value in portable.ENVIRONMENT.items())
        return "portable" if same else "deterministic"
    # cuBLAS is deterministic only with a fixed workspace. It reads this at the process's first product, which may be of
    # a fast training whose scoring is deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if not deterministic:
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        return "fast"
    torch.use_deterministic_algorithms(True)
    # A run is scored in the process that trained it, maybe in the other mode.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    return "deterministic"


def precision_on(device: str, wanted: str) -> str:
    """The precision to train in on ``device``: ``wanted`` (a key of ``AUTOCAST`` or fp32) on a GPU.

    A CPU computes in fp32, in bf16 if that is wanted and it has instructions for it.

    Raises:
        PipelineError: bf16 on a GPU that computes it only in emulation.
    """
    if computes(device, wanted):
        return wanted
    if device == "cuda":
        raise PipelineError(
            f"training.precision: {torch.cuda.get_device_name()} has no bfloat16; set fp16 or fp32, "
            "or use an NVIDIA GPU of compute capability 8.0 or more"
        )
    if AUTOCAST[wanted] == torch.bfloat16:
        log(f"training.precision: {wanted} needs AVX512-BF16 or AMX, and jobs.portable off; computing in fp32")
    return "fp32"
