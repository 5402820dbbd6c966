"""CLIPSeg, adapters and variants. Public: ``build_segmenter``, ``load_released_checkpoint``, ``list_variants``."""

from typing import Any

_PUBLIC = {
    "build_segmenter": "pipeline.models.variants",
    "list_variants": "pipeline.models.variants",
    "load_released_checkpoint": "pipeline.models.checkpoints",
}

__all__ = ["build_segmenter", "list_variants", "load_released_checkpoint"]


def __getattr__(name: str) -> Any:
    # Lazy, so that reading a configuration does not import torch and transformers.
    if name in _PUBLIC:
        import importlib

        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
