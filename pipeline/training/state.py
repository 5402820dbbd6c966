"""The state from which a killed training resumes, bit for bit on the CPU."""

from pathlib import Path
from typing import Any

import torch

from pipeline.models.weights import save_tensors
from pipeline.runtime.progress import log

FILE = "state.pt"


def save_state(folder: Path, fingerprint: str, state: dict[str, Any]) -> None:
    """Write ``state`` atomically; a reader sees the old one or the new one."""
    save_tensors(folder / FILE, {"fingerprint": fingerprint, **state})


def load_state(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """The saved state, or none where there is none or it belongs to other settings, data, backbone or code."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        log(f"{path}: unreadable ({error}); starting anew")
        return None
    if not isinstance(state, dict) or state.pop("fingerprint", None) != fingerprint:
        log(f"{path}: saved by a run with other settings, data, backbone or code; starting anew")
        return None
    return state


def remove_state(folder: Path) -> None:
    """Remove what :func:`save_state` wrote."""
    (folder / FILE).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
