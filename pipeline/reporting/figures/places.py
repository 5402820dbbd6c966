"""Where the adapters of a variant stand and how wide they are, from its settings."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.models.kinds import parse_variant
from pipeline.models.widths import Features

LAYERS = 12
"""Layers of each encoder."""
READ_LAYERS = (4, 7, 10)
"""Vision layers whose outputs the decoder reads, counted from 1 (extract_layers 3, 6, 9, counted from 0)."""
_NAME = re.compile(r"(vision|text)_(\d+)_(attention|mlp)|conditional")


class Place(NamedTuple):
    """The output that an adapter acts on."""

    branch: str
    """vision, text or conditional."""
    sublayer: str
    """attention, mlp, or conditional for the one adapter of that branch."""
    layer: int
    """Counted from 1; 0 for the conditional adapter."""


def parse_place(name: str) -> Place | None:
    """The place that ``name`` (``vision_3_mlp``, ``conditional``) stands for; None if it is no adapter's name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    branch, layer, sublayer = match.groups()
    return Place(branch or name, sublayer or name, int(layer or 0))


def adapter_widths(
    settings: Mapping[str, Mapping[str, Any]], variants: Sequence[str], features: Features
) -> dict[str, dict[Place, int]]:
    """Bottleneck widths as built by place, for each variant; none for kinds without telescopic adapters.

    Args:
        settings: by variant, its entry in ``variants`` of config.yaml, as the configuration has checked it.
        features: sizes of the states that the adapters act on, which bound the widths.
    """
    result = {}
    for variant in variants:
        parsed = parse_variant(dict(settings[variant]))
        widths = parsed.adapter_widths(features) if parsed.kind == "telescopic" else {}
        result[variant] = {parse_place(name): width for name, width in widths.items()}
    return result
