"""How many GPUs this machine offers, asked without importing torch."""

import os
from pathlib import Path


def visible_gpus() -> int:
    """NVIDIA cards that a job started here could use, CUDA_VISIBLE_DEVICES respected."""
    cards = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return cards
    return min(cards, len([device for device in visible.split(",") if device.strip() not in ("", "-1")]))
