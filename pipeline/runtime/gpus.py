"""How many GPUs this machine offers and this job was granted, asked without importing torch."""

import os
from pathlib import Path

# Set by pipeline.runtime.start for a step whose rule asks for a GPU.
GRANTED = "PIPELINE_GPUS"
# How these variables say "none".
NONE = ("", "-1", "NoDevFiles")


def visible_gpus() -> int:
    """NVIDIA cards that a job started here could use, CUDA_VISIBLE_DEVICES respected."""
    cards = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return cards
    return min(cards, len([device for device in visible.split(",") if device.strip() not in NONE]))


def grant() -> str | None:
    """The variable and value by which this job was granted a GPU, as ``"NAME=VALUE"``; None without a grant."""
    for name in (GRANTED, "CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS"):
        value = os.environ.get(name, "").strip()
        if value not in NONE:
            return f"{name}={value}"
    return None
