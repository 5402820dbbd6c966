"""What figures of several panels share: their grid and the titles of panels."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.readers import AVERAGE
from pipeline.reporting.lettering import wrap
from pipeline.reporting.options import label


class Panels(NamedTuple):
    """Panels in reading order, and those of them that carry the labels of the vertical and the horizontal axis."""

    all: list[Axes]
    left: list[Axes]
    bottom: list[Axes]


def panel_grid(figure: Figure, count: int, columns: int, **options: Any) -> Panels:
    """``count`` panels, row by row.

    Args:
        columns: at most ``count``.
        options: of :meth:`matplotlib.figure.Figure.subplots`.
    """
    grid = list(figure.subplots(math.ceil(count / columns), columns, squeeze=False, **options).ravel())
    for axes in grid[count:]:
        axes.remove()
    panels = Panels(grid[:count], grid[:count:columns], grid[:count][-columns:])
    for axes in panels.bottom:
        axes.tick_params(labelbottom=True)  # shared axes label only the last row, which may be shorter
    return panels


def wrapped_labels(labels: Mapping[str, str], keys: Iterable[str], width: float) -> list[str]:
    """The display names of ``keys``, broken into lines of at most ``width`` inches."""
    return [wrap(label(labels, key), width) for key in keys]


def title_panels(panels: Sequence[Axes], datasets: Sequence[str], titles: Sequence[str]) -> None:
    """Write the title of its dataset above each of ``panels``, the average's in bold."""
    for axes, dataset, title in zip(panels, datasets, titles, strict=True):
        axes.set_title(title, weight="bold" if dataset == AVERAGE else "normal")


def average_first(datasets: Iterable[str]) -> list[str]:
    """``datasets`` in their order, the average over them before all others."""
    return sorted(datasets, key=lambda dataset: dataset != AVERAGE)
