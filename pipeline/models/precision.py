"""The number format of products: float32, or half precision by autocast."""

import contextlib

import torch

RESIDUAL = "bf16_residual"
"""bf16, and the residual stream and frozen LayerNorms in it too (:mod:`pipeline.models.frozen`)."""
AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16, RESIDUAL: torch.bfloat16}


def computes(device: str, precision: str) -> bool:
    """Whether ``device`` (``cuda`` or ``cpu``) has instructions for ``precision``: emulated, it is slower than fp32.

    A CPU has bf16 with AVX512-BF16 or AMX, unless libraries are kept from such instructions (``jobs.portable``).
    """
    if precision == "fp32":
        return True
    half = AUTOCAST[precision]
    if device == "cuda":
        return half == torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return half == torch.bfloat16 and wide and bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def autocast(device: str, precision: str) -> contextlib.AbstractContextManager:
    """Mixed precision; nothing in fp32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device, dtype=AUTOCAST[precision])
