"""Rows of dots with intervals, as the figures of comparisons have them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from pipeline.evaluation.methods import BETTER, EQUIVALENT, NOT_RESOLVED, WORSE
from pipeline.reporting.lettering import SMALL_FONT_SIZE
from pipeline.reporting.palette import BLACK, BLUE, GREEN, GREY, LIGHT_GREY, VERMILLION

FAR = 2.5
"""Rows whose intervals reach this many times farther than all others are cut off, so that the others can be read."""
NEAR_ROWS = 3
"""How many others there must be."""
MARKER_SIZE = 4

Span = tuple[float, float, float]
"""A value and the low and the high end of its interval."""


class Dot(NamedTuple):
    """How a measured value is marked: filled, since hollow markers are reported numbers in every figure."""

    colour: str
    marker: str = "o"


REFERENCE = Dot(BLACK)
OUTCOME_DOTS = {
    BETTER: Dot(BLUE, "^"),
    WORSE: Dot(VERMILLION, "v"),
    EQUIVALENT: Dot(GREEN, "s"),
    NOT_RESOLVED: Dot(GREY, "D"),
}
"""By the outcome of a comparison."""


def spans(table: pd.DataFrame, value: str, low: str, high: str) -> list[Span | None]:
    """The three columns of each row of ``table``: None without a value, without an interval the value three times."""
    rows = table[[value, low, high]].astype(float)
    rows = rows.assign(**{end: rows[end].fillna(rows[value]) for end in (low, high)})
    return [None if np.isnan(row[0]) else row for row in rows.itertuples(index=False, name=None)]


def outcome_dots(outcomes: Iterable[str]) -> list[Dot]:
    """The dot of each outcome; that of the reference where there is none."""
    return [OUTCOME_DOTS.get(outcome, REFERENCE) for outcome in outcomes]


def name_rows(axes: Axes, names: Sequence[str], ticks: int = 3) -> None:
    """Name the rows, the first at the top, every second one on grey; about ``ticks`` ticks on the horizontal axis."""
    axes.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), yticklabels=names)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(ticks, min_n_ticks=2))
    for at in range(0, len(names), 2):
        axes.axhspan(at - 0.5, at + 0.5, color=LIGHT_GREY, alpha=0.35, linewidth=0, zorder=0)


def key(text: str, dot: Dot) -> Line2D:
    """The entry of a legend for a dot."""
    size = _size(dot.marker)
    return Line2D([], [], color=dot.colour, marker=dot.marker, markersize=size, linestyle="none", label=text)


def interval_keys(low: pd.Series, high: pd.Series) -> list[Line2D]:
    """The entry of a legend for the intervals of :func:`dot_rows`, if any value has one."""
    style = {"color": GREY, "linewidth": 1, "label": "95% interval over seeds"}
    return [Line2D([], [], **style)] if (low < high).any() else []


def outcome_keys(margin: float) -> list[Line2D]:
    """The entries of a legend for :func:`outcome_dots` and :func:`mark_margin`."""
    limits = Line2D([], [], color=GREY, linewidth=0.7, linestyle=":", label=f"margin, ±{margin:g}")
    return [*(key(outcome, dot) for outcome, dot in OUTCOME_DOTS.items()), limits]


def _size(marker: str) -> float:
    """Points; a diamond looks larger than a dot."""
    return MARKER_SIZE - 0.8 * (marker == "D")


def mark_margin(axes: Axes, margin: float) -> None:
    """Lines at a difference of zero and at the margins of equivalence, DSC points."""
    axes.axvline(0, color=BLACK, linewidth=0.8, zorder=1)
    for limit in (-margin, margin):
        axes.axvline(limit, color=GREY, linewidth=0.7, linestyle=":", zorder=1)


def far_rows(rows: Sequence[Span | None]) -> list[bool]:
    """Which few rows reach so much farther from 0 than the others (rows of zeros aside) that they would hide them."""
    reach = np.array([0.0 if row is None else max(abs(row[1]), abs(row[2])) for row in rows])
    order = np.argsort(-reach, kind="stable")
    shown = int((reach > 0).sum())
    for count in range(1, min((shown + 1) // 2, shown - NEAR_ROWS + 1)):
        if reach[order[count - 1]] > FAR * reach[order[count]]:
            return [index in order[:count] for index in range(len(reach))]
    return [False] * len(reach)


def _off_scale(axes: Axes, at: int, value: float, colour: str, signed: bool) -> None:
    """An arrow at the edge of row ``at`` and the value that lies beyond."""
    below = value < axes.get_xlim()[0]
    edge, marker, shift, side = (0.03, "<", 5, "left") if below else (0.97, ">", -5, "right")
    place = axes.get_yaxis_transform()
    axes.plot(edge, at, marker, transform=place, color=colour, markersize=3.5, zorder=3)
    offset = {"xytext": (shift, 0), "textcoords": "offset points", "ha": side, "va": "center"}
    text = f"{value:{'+.1f' if signed else '.1f'}}".replace("-", "−")
    halo = [withStroke(linewidth=2, foreground="white")]
    axes.annotate(text, (edge, at), xycoords=place, size=SMALL_FONT_SIZE, color=colour, path_effects=halo, **offset)


def _dot(axes: Axes, at: int, row: Span, dot: Dot) -> None:
    """The dot of row ``at`` with its interval."""
    value, low, high = row
    axes.plot([low, high], [at, at], color=dot.colour, linewidth=1, solid_capstyle="butt", zorder=2)
    axes.plot(value, at, dot.marker, color=dot.colour, markersize=_size(dot.marker), zorder=3)


def dot_rows(
    axes: Axes,
    rows: Sequence[Span | None],
    dots: Sequence[Dot],
    cut: bool = False,
    far: Sequence[bool] | None = None,
    signed: bool = True,
) -> None:
    """A dot with its interval in each row, from the top; n/a for None.

    Args:
        cut: let rows that reach far farther from 0 than the others end at the edge, with an arrow if the dot is beyond.
        far: which rows these are, if not :func:`far_rows`.
        signed: whether the values beside arrows have a sign.
    """
    far = far or (far_rows(rows) if cut else [False] * len(rows))
    for at, row in enumerate(rows):
        if row is None:
            place = {"transform": axes.get_yaxis_transform(), "ha": "center", "va": "center"}
            halo = [withStroke(linewidth=2, foreground="white")]
            axes.text(0.5, at, "n/a", color=GREY, size=SMALL_FONT_SIZE, path_effects=halo, **place)
        elif not far[at]:
            _dot(axes, at, row, dots[at])
    axes.margins(x=0.12)
    if any(far):
        low, high = axes.get_xlim()
        for at in np.flatnonzero(far):
            if low < rows[at][0] < high:
                _dot(axes, at, rows[at], dots[at])
            else:
                _off_scale(axes, at, rows[at][0], dots[at].colour, signed)
        axes.set_xlim(low, high)
