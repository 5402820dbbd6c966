"""How fast a device can multiply matrices: measured, and by its data sheet."""

import torch
from torch.utils.benchmark import Timer

from pipeline.models.precision import AUTOCAST

# Dense tensor-core peaks in TFLOP/s by the name that the driver gives a card: fp16 and bf16 with fp32 accumulation, and
# TF32 (none before Ampere). Data sheets give most of them with 2:4 sparsity, which is twice that.
_HOPPER = "H100 Tensor Core GPU data sheet"
_HOPPER_2 = "H200 Tensor Core GPU data sheet"
_AMPERE = "A100 Tensor Core GPU data sheet"
_VOLTA = "V100 Tensor Core GPU data sheet"
DATA_SHEETS = {
    "NVIDIA H200": (989.5, 494.5, _HOPPER_2),
    "NVIDIA H200 NVL": (835.5, 417.5, _HOPPER_2),
    "NVIDIA H100 80GB HBM3": (989.5, 494.5, _HOPPER),
    "NVIDIA H100 NVL": (835.5, 417.5, _HOPPER),
    "NVIDIA H100 PCIe": (756.5, 378.0, _HOPPER),
    "NVIDIA A100-SXM4-80GB": (312.0, 156.0, _AMPERE),
    "NVIDIA A100-SXM4-40GB": (312.0, 156.0, _AMPERE),
    "NVIDIA A100 80GB PCIe": (312.0, 156.0, _AMPERE),
    "NVIDIA A100-PCIE-40GB": (312.0, 156.0, _AMPERE),
    "NVIDIA A40": (149.7, 74.8, "A40 data sheet"),
    "NVIDIA A10": (125.0, 62.5, "A10 Tensor Core GPU data sheet"),
    "NVIDIA L40S": (362.05, 183.0, "L40S data sheet"),
    "NVIDIA L4": (121.0, 60.0, "L4 Tensor Core GPU data sheet"),
    "NVIDIA GeForce RTX 4090": (165.2, 82.6, "Ada GPU architecture white paper"),
    "NVIDIA GeForce RTX 3090": (71.0, 35.6, "Ampere GA102 GPU architecture white paper"),
    "Tesla V100-SXM2-32GB": (125.0, None, _VOLTA),
    "Tesla V100-SXM2-16GB": (125.0, None, _VOLTA),
    "Tesla T4": (65.0, None, "T4 Tensor Core GPU data sheet"),
}


def data_sheet(name: str, precision: str) -> tuple[float, str] | None:
    """FLOP/s of the card ``name`` in the type that ``precision`` multiplies in, and the source; None if unknown."""
    half, tf32, source = DATA_SHEETS.get(name, (None, None, ""))
    peak = half if precision in AUTOCAST else tf32
    return None if peak is None else (peak * 1e12, f"NVIDIA {source}")


def matmul_ceiling(device: str, precision: str) -> float:
    """FLOP/s that large matrix products reach on ``device`` in the type that ``precision`` multiplies in."""
    side = 8192 if device == "cuda" else 2048
    dtype = AUTOCAST.get(precision, torch.float32)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    timer = Timer("a @ b", globals={"a": a, "b": b}, num_threads=torch.get_num_threads())
    return 2 * side**3 / min(timer.blocked_autorange(min_run_time=1).times)
