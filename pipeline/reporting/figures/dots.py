"""Rows of dots with intervals, as the ablation figures and the forest plot have them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from pipeline.reporting.lettering import SMALL_FONT_SIZE
from pipeline.reporting.palette import GREY, LIGHT_GREY

FAR = 2.5
"""Rows whose intervals reach this many times farther than all others are cut off, so that the others can be read."""
NEAR_ROWS = 3
"""How many others there must be."""
MARKER_SIZE = 4

Span = tuple[float, float, float]
"""A value and the low and the high end of its interval."""


def spans(table: pd.DataFrame, value: str, low: str, high: str) -> list[Span | None]:
    """The three columns of each row of ``table``; None where there is no value."""
    rows = table[[value, low, high]].astype(float).itertuples(index=False, name=None)
    return [None if np.isnan(row[0]) else row for row in rows]


def name_rows(axes: Axes, names: Sequence[str], ticks: int = 3) -> None:
    """Name the rows, the first at the top, every second one on grey; about ``ticks`` ticks on the horizontal axis."""
    axes.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), yticklabels=names)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(ticks, min_n_ticks=2))
    for at in range(0, len(names), 2):
        axes.axhspan(at - 0.5, at + 0.5, color=LIGHT_GREY, alpha=0.35, linewidth=0, zorder=0)


def key(text: str, colour: str, filled: bool = True) -> Line2D:
    """The entry of a legend for a dot with its interval."""
    face = colour if filled else "white"
    return Line2D([], [], color=colour, marker="o", markersize=MARKER_SIZE, markerfacecolor=face, label=text)


def far_rows(rows: Sequence[Span | None]) -> list[bool]:
    """Which few rows reach so much farther from 0 than the others (rows of zeros aside) that they would hide them."""
    reach = np.array([0.0 if row is None else max(abs(row[1]), abs(row[2])) for row in rows])
    order = np.argsort(-reach, kind="stable")
    shown = int((reach > 0).sum())
    for count in range(1, min((shown + 1) // 2, shown - NEAR_ROWS + 1)):
        if reach[order[count - 1]] > FAR * reach[order[count]]:
            return [index in order[:count] for index in range(len(reach))]
    return [False] * len(reach)


def _off_scale(axes: Axes, at: int, value: float, colour: str) -> None:
    """An arrow at the edge of row ``at`` and the value that lies beyond."""
    edge, marker, shift, side = (0.03, "<", 5, "left") if value < 0 else (0.97, ">", -5, "right")
    place = axes.get_yaxis_transform()
    axes.plot(edge, at, marker, transform=place, color=colour, markersize=3.5, zorder=3)
    offset = {"xytext": (shift, 0), "textcoords": "offset points", "ha": side, "va": "center"}
    text = f"{value:+.1f}".replace("-", "−")
    halo = [withStroke(linewidth=2, foreground="white")]
    axes.annotate(text, (edge, at), xycoords=place, size=SMALL_FONT_SIZE, color=colour, path_effects=halo, **offset)


def dot_rows(
    axes: Axes,
    rows: Sequence[Span | None],
    colours: Sequence[str],
    filled: Sequence[bool] | None = None,
    cut: bool = False,
) -> None:
    """A dot with its interval in each row, from the top; n/a for None.

    Args:
        filled: whether the dot is filled; all are without it.
        cut: draw rows that reach far farther from 0 than the others as arrows at the edge.
    """
    far = far_rows(rows) if cut else [False] * len(rows)
    for at, (row, colour) in enumerate(zip(rows, colours, strict=True)):
        if row is None:
            place = {"transform": axes.get_yaxis_transform(), "ha": "center", "va": "center"}
            axes.text(0.5, at, "n/a", color=GREY, size=SMALL_FONT_SIZE, **place)
        elif far[at]:
            _off_scale(axes, at, row[0], colour)
        else:
            value, low, high = row
            face = colour if filled is None or filled[at] else "white"
            axes.plot([low, high], [at, at], color=colour, linewidth=1, solid_capstyle="butt", zorder=2)
            axes.plot(value, at, "o", color=colour, markerfacecolor=face, markersize=MARKER_SIZE, zorder=3)
    axes.margins(x=0.12)
