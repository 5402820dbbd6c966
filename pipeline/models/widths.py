"""Bottleneck widths by layer: the schedules that the study compares."""

import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

SMALLEST_WIDTH = 8
SCHEDULES = ("telescopic", "uniform", "reversed", "hump", "permuted_1", "permuted_2", "permuted_3")


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


def apportion(shape: Sequence[float], total: int) -> list[int]:
    """Widths in proportion to ``shape``, none below :data:`SMALLEST_WIDTH`, whose sum is ``total`` exactly.

    What would be too small gets the smallest width, and the others share the rest by largest remainders.

    Raises:
        ValueError: ``total`` is too small for that, or ``shape`` has a value that is not positive.
    """
    if total < SMALLEST_WIDTH * len(shape) or min(shape) <= 0:
        raise ValueError(f"{total} cannot be shared among {len(shape)} layers in proportion to {list(shape)}")
    # Exactly, so that rounding errors do not decide who gets a unit.
    shape = [Fraction(value) for value in shape]
    large, rest = list(range(len(shape))), total
    while True:
        unit = rest / sum(shape[index] for index in large)
        enough = [index for index in large if shape[index] * unit >= SMALLEST_WIDTH]
        if len(enough) == len(large):
            break
        rest -= SMALLEST_WIDTH * (len(large) - len(enough))
        large = enough
    widths = [SMALLEST_WIDTH] * len(shape)
    for index in large:
        widths[index] = math.floor(shape[index] * unit)
    remainders = sorted(large, key=lambda index: widths[index] - shape[index] * unit)
    for index in remainders[: total - sum(widths)]:
        widths[index] += 1
    return widths


def _rearranged(widths: Sequence[int], schedule: str) -> list[int]:
    """``widths``, which grow with depth, in another order."""
    if schedule == "reversed":
        return list(widths[::-1])
    if schedule == "hump":
        return [*widths[::2], *widths[1::2][::-1]]
    ranks = {i: hashlib.sha256(f"{i}/{schedule}".encode()).digest() for i in range(len(widths))}
    return [widths[i] for i in sorted(ranks, key=ranks.__getitem__)]


def resolve_widths(
    schedule: str | Sequence[int], layers: int, base_dimension: int = 64, total: int | None = None
) -> list[int]:
    """The width of each of ``layers`` adapted layers, first to last.

    Args:
        schedule: ``telescopic``; the same widths in another order: ``reversed`` (deepest first), ``hump`` (widest in
            the middle), ``permuted_1`` to ``permuted_3`` (at random); ``uniform``, of the same sum (18 for D = 64),
            where widths differ by at most one; or a list of widths.
        total: sum to which they are scaled in proportion.

    Raises:
        ValueError: a list whose length is not ``layers``, or a ``total`` too small for them.
    """
    if not isinstance(schedule, str):
        if len(schedule) != layers:
            raise ValueError(f"schedule lists {len(schedule)} widths for {layers} vision layers; give one for each")
        widths = list(schedule)
    else:
        widths = telescopic_widths(layers, base_dimension)
    if schedule == "uniform":
        whole = total or sum(widths)
        return [whole * (layer + 1) // layers - whole * layer // layers for layer in range(layers)]
    if total is not None:
        widths = apportion(widths, total)
    rearranged = isinstance(schedule, str) and schedule != "telescopic"
    return _rearranged(widths, schedule) if rearranged else widths


def clamp_width(width: int, features: int) -> int:
    """``width`` within [8, features // 4], the bounds of the authors' module; one below 8 stays as it is."""
    return max(min(SMALLEST_WIDTH, width), min(width, features // 4))
