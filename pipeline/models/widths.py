"""Bottleneck widths by layer: the schedules that the study compares."""

import math
from collections.abc import Sequence
from typing import NamedTuple

SMALLEST_WIDTH = 8


class Features(NamedTuple):
    """Sizes of the states that adapters act on, by branch."""

    vision: int
    text: int
    conditional: int

    def at(self, place: str) -> int:
        """The size at a place of the forward, such as ``vision_3_mlp`` or ``conditional``."""
        return getattr(self, place.partition("_")[0])


FEATURES = {"full": Features(768, 512, 512), "tiny": Features(128, 64, 64)}
"""Of clipseg-rd64-refined and of the demo's tiny CLIPSeg."""


def telescopic_widths(layers: int, base_dimension: int = 64) -> list[int]:
    """Widths that grow with depth, ``max(8, floor(D * 0.5 * l / L))`` for l = 1..L (authors' released module).

    ``telescopic_widths(9)`` is ``[8, 8, 10, 14, 17, 21, 24, 28, 32]``.
    """
    return [max(SMALLEST_WIDTH, math.floor(base_dimension * 0.5 * layer / layers)) for layer in range(1, layers + 1)]


def uniform_widths(layers: int, base_dimension: int = 64) -> list[int]:
    """One width everywhere, the integer whose total comes closest to the telescopic one (18 for D = 64)."""
    total = sum(telescopic_widths(layers, base_dimension))
    return [max(SMALLEST_WIDTH, round(total / layers))] * layers


def resolve_widths(schedule: str | Sequence[int], layers: int, base_dimension: int = 64) -> list[int]:
    """The width of each of ``layers`` adapted layers, first to last.

    Args:
        schedule: ``telescopic``, ``uniform`` (same total), ``reversed`` (deepest first) or a list of widths.

    Raises:
        ValueError: a list whose length is not ``layers``, or an unknown name.
    """
    if not isinstance(schedule, str):
        if len(schedule) != layers:
            raise ValueError(f"schedule lists {len(schedule)} widths for {layers} vision layers; give one for each")
        return list(schedule)
    if schedule == "telescopic":
        return telescopic_widths(layers, base_dimension)
    if schedule == "reversed":
        return telescopic_widths(layers, base_dimension)[::-1]
    if schedule == "uniform":
        return uniform_widths(layers, base_dimension)
    raise ValueError(f"schedule: {schedule!r} is unknown; allowed: telescopic, uniform, reversed, or a list of widths")


def clamp_width(width: int, features: int) -> int:
    """``width`` within [8, features // 4], the bounds of the authors' module."""
    return max(SMALLEST_WIDTH, min(width, features // 4))
