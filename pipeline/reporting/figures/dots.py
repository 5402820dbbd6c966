"""Rows of dots with intervals, as ablation figures and the forest plot have them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.patheffects import withStroke

from pipeline.reporting.style import GREY, LIGHT_GREY, SMALL_FONT_SIZE

FAR = 2.5
"""Rows whose intervals reach this many times farther than all others are cut off, so that the others can be read."""
NEAR_ROWS = 3
"""How many others there must be."""


def stripe_rows(axes, names: Sequence[str]) -> None:
    """Name the rows, the first at the top, every second one on grey."""
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    for at in range(0, len(names), 2):
        axes.axhspan(at - 0.5, at + 0.5, color=LIGHT_GREY, alpha=0.35, linewidth=0, zorder=0)


def not_available(axes, at: int) -> None:
    """Say in row ``at`` that there is nothing to show."""
    place = {"transform": axes.get_yaxis_transform(), "ha": "center", "va": "center"}
    axes.text(0.5, at, "n/a", color=GREY, size=SMALL_FONT_SIZE, **place)


def interval(axes, at: int, values: tuple[float, float, float], colour: str, filled: bool) -> None:
    """Middle, low and high end of row ``at``."""
    middle, low, high = values
    axes.plot([low, high], [at, at], color=colour, linewidth=1, solid_capstyle="butt", zorder=2)
    axes.plot(middle, at, "o", color=colour, markerfacecolor=colour if filled else "white", markersize=4, zorder=3)


def far_rows(lows: Sequence[float], highs: Sequence[float]) -> list[bool]:
    """Which few rows reach so much farther than the others (rows of zeros aside) that they would hide them."""
    reach = np.nan_to_num(np.maximum(np.abs(lows), np.abs(highs)))
    order = np.argsort(-reach, kind="stable")
    rows = int((reach > 0).sum())
    for count in range(1, min((rows + 1) // 2, rows - NEAR_ROWS + 1)):
        if reach[order[count - 1]] > FAR * reach[order[count]]:
            return [index in order[:count] for index in range(len(reach))]
    return [False] * len(reach)


def off_scale(axes, at: int, value: float, colour: str) -> None:
    """An arrow at the edge of row ``at`` and the value that lies beyond; the limits must be final."""
    edge, marker, shift, side = (0.03, "<", 5, "left") if value < 0 else (0.97, ">", -5, "right")
    place = axes.get_yaxis_transform()
    axes.plot(edge, at, marker, transform=place, color=colour, markersize=3.5, zorder=3)
    offset = {"xytext": (shift, 0), "textcoords": "offset points", "ha": side, "va": "center"}
    text = f"{value:+.1f}".replace("-", "−")
    halo = [withStroke(linewidth=2, foreground="white")]
    axes.annotate(text, (edge, at), xycoords=place, size=SMALL_FONT_SIZE, color=colour, path_effects=halo, **offset)


def differences(
    axes, rows: Sequence[tuple[float, float, float] | None], filled: Sequence[bool], colours: Sequence[str]
):
    """A panel of differences: a dot with its interval in each row, n/a for None, arrows for rows that are off scale.

    Args:
        rows: middle, low and high of each row, from the top.
        filled: whether the dot is filled.
    """
    known = [(np.nan, np.nan, np.nan) if row is None else row for row in rows]
    far = far_rows([low for _, low, _ in known], [high for _, _, high in known])
    for at, row in enumerate(rows):
        if row is None:
            not_available(axes, at)
        elif not far[at]:
            interval(axes, at, row, colours[at], filled[at])
    axes.margins(x=0.12)
    axes.set_xlim(axes.get_xlim())
    for at, row in enumerate(rows):
        if row is not None and far[at]:
            off_scale(axes, at, row[0], colours[at])
