"""From a variant's settings to a segmenter."""

from collections.abc import Mapping
from typing import Any

from transformers import CLIPSegForImageSegmentation

from pipeline.models.interface import SegmentationModel
from pipeline.models.kinds import KindSettings, kinds, parse_variant

# Variants of the paper that are a kind with settings other than its defaults.
_NAMED = {"uniform": {"kind": "telescopic", "schedule": "uniform"}}


def list_variants() -> list[str]:
    """Names that :func:`build_segmenter` knows without further settings."""
    return sorted([*kinds(), *_NAMED])


def build_segmenter(
    variant: str | Mapping[str, Any] | KindSettings, backbone: CLIPSegForImageSegmentation
) -> SegmentationModel:
    """The model of ``variant``: as a rule a CLIPSeg with its modules attached and everything else frozen.

    Args:
        variant: a name from :func:`list_variants`, an entry of ``variants`` in config.yaml, or parsed settings.
        backbone: CLIPSeg; taken over by the model, so load it afresh for each one.

    Raises:
        ValueError: unknown name, or settings that do not validate.
    """
    if isinstance(variant, str):
        if variant not in list_variants():
            raise ValueError(f"variant {variant!r} is unknown; allowed: {', '.join(list_variants())}")
        variant = _NAMED.get(variant, {"kind": variant})
    settings = variant if isinstance(variant, KindSettings) else parse_variant(dict(variant))
    return settings.build(backbone)
