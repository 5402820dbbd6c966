"""What NVIDIA's management library (NVML) tells of the card that a process computes on.

Its binding, nvidia-ml-py, is optional: without it, on a CPU, and where a card does not tell, every answer is None.
"""

from collections.abc import Callable
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def _ask(device: str, question: Callable[[Any, Any], Answer]) -> Answer | None:
    """``question`` put to the library and its handle of the card."""
    if device != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    import torch

    try:
        pynvml.nvmlInit()
        # By its identity: NVML counts cards that CUDA_VISIBLE_DEVICES hides too.
        return question(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(0).uuid}"))
    except pynvml.NVMLError:
        return None


def energy_joules(device: str) -> float | None:
    """Energy that the card has taken since its driver was loaded, J; of all its processes."""
    return _ask(device, lambda nvml, card: nvml.nvmlDeviceGetTotalEnergyConsumption(card) / 1000)


def joules_since(device: str, before: float | None) -> float | None:
    """Energy since :func:`energy_joules` gave ``before``."""
    now = energy_joules(device)
    return None if before is None or now is None else round(now - before, 1)


def utilisation_percent(device: str) -> int | None:
    """Share of the last moments in which a kernel ran on the card."""
    return _ask(device, lambda nvml, card: nvml.nvmlDeviceGetUtilizationRates(card).gpu)


def driver_version(device: str) -> str | None:
    """Of the card's driver."""
    return _ask(device, lambda nvml, card: nvml.nvmlSystemGetDriverVersion())
