"""Bottleneck widths by layer: the schedules that the study compares."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.runtime.atomic import read_json

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


def features_of(backbone: str) -> Features:
    """The sizes of a backbone's states.

    Args:
        backbone: a key of :data:`FEATURES`, or a folder with CLIPSeg's config.json.

    Raises:
        PipelineError: config.json cannot be read.
    """
    if backbone in FEATURES:
        return FEATURES[backbone]
    config = read_json(Path(backbone) / "config.json", dict, "let backbone.folder name a CLIPSeg's folder")

    def size(entry: Any, key: str, default: int) -> int:
        return entry.get(key, default) if isinstance(entry, Mapping) else default

    # transformers leaves out what is as in its defaults.
    vision, text, projected = FEATURES["full"]
    return Features(
        size(config.get("vision_config"), "hidden_size", vision),
        size(config.get("text_config"), "hidden_size", text),
        size(config, "projection_dim", projected),
    )


def telescopic_widths(layers: int, base_dimension: int = 64) -> list[int]:
    """Widths that grow with depth, ``max(8, floor(D * 0.5 * l / L))`` for l = 1..L (authors' released module).

    ``telescopic_widths(9)`` is ``[8, 8, 10, 14, 17, 21, 24, 28, 32]``.
    """
    return [max(SMALLEST_WIDTH, math.floor(base_dimension * 0.5 * layer / layers)) for layer in range(1, layers + 1)]


def apportion(shape: Sequence[float], total: int, most: int | None = None) -> list[int]:
    """Widths in proportion to ``shape``, between :data:`SMALLEST_WIDTH` and ``most``, whose sum is ``total`` exactly.

    What would lie outside gets the bound, and the others share the rest by largest remainders.

    Raises:
        ValueError: ``total`` is too small or too large for that, or ``shape`` has a value that is not positive.
    """
    least, most = SMALLEST_WIDTH, most or max(total, SMALLEST_WIDTH)
    if not least * len(shape) <= total <= most * len(shape) or min(shape) <= 0:
        raise ValueError(f"{total} cannot be shared among {len(shape)} layers in proportion to {list(shape)}")
    # Exactly, so that rounding errors do not decide who gets a unit.
    shape = [Fraction(value) for value in shape]

    def widths_at(unit: Fraction) -> list[Fraction]:
        return [min(max(value * unit, Fraction(least)), Fraction(most)) for value in shape]

    # Between two neighbours of these the same widths are at a bound, and the sum grows linearly.
    bends = {bound / value for value in shape for bound in (least, most)}
    start = max(unit for unit in bends if sum(widths_at(unit)) <= total)
    free = [index for index, value in enumerate(shape) if least <= value * start < most]
    widths = [math.floor(width) for width in widths_at(start)]
    if free:
        rest = total - sum(width for index, width in enumerate(widths) if index not in free)
        unit = rest / sum(shape[index] for index in free)
        for index in free:
            widths[index] = math.floor(shape[index] * unit)
        remainders = sorted(free, key=lambda index: widths[index] - shape[index] * unit)
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


def check_widths(widths: Mapping[str, int], features: Features) -> None:
    """Refuse widths above a quarter of the state's size, to which the authors' module reduces them in silence.

    Args:
        widths: by place.

    Raises:
        ValueError: names the places, their widths and the largest ones that can be built.
    """
    most = {place: features.at(place) // 4 for place in widths}
    wide: dict[str, str] = {}
    for place, width in sorted(widths.items(), key=lambda item: item[1]):
        if width > most[place]:
            branch = place.partition("_")[0]
            wide[branch] = f"{width} in {place} ({branch}: at most {most[place]})"
    if wide:
        raise ValueError(
            f"width {', '.join(wide.values())}: more than a quarter of the state's features, which is not "
            "built; lower schedule, width_sum, base_dimension, text_width or conditional_width"
        )
