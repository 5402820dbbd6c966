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


def resolve_widths(schedule: str | Sequence[int], layers: int, base_dimension: int = 64) -> list[int]:
    """The width of each of ``layers`` adapted layers, first to last.

    Args:
        schedule: ``telescopic``, ``uniform`` (18 for D = 64), ``reversed`` (deepest first) or a list of widths.

    Raises:
        ValueError: a list whose length is not ``layers``.
    """
    if not isinstance(schedule, str):
        if len(schedule) != layers:
            raise ValueError(f"schedule lists {len(schedule)} widths for {layers} vision layers; give one for each")
        return list(schedule)
    widths = telescopic_widths(layers, base_dimension)
    if schedule == "uniform":
        # The integer whose total comes closest to the telescopic one.
        return [round(sum(widths) / layers)] * layers
    return {"telescopic": widths, "reversed": widths[::-1]}[schedule]


def clamp_width(width: int, features: int) -> int:
    """``width`` within [8, features // 4], the bounds of the authors' module."""
    return max(SMALLEST_WIDTH, min(width, features // 4))
