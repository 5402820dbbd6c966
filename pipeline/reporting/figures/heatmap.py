"""A heat map with its numbers in it, for the figures that have one."""

from collections.abc import Sequence

import numpy as np
import seaborn
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pipeline.reporting.formats import NOT_AVAILABLE
from pipeline.reporting.lettering import SMALL_FONT_SIZE
from pipeline.reporting.palette import BLACK, GREY, VERMILLION


def heat_map(
    axes: Axes,
    numbers: NDArray[np.float64],
    shades: NDArray[np.float64],
    colours: str,
    limits: tuple[float, float],
    rows: Sequence[str],
    columns: Sequence[str],
    decimals: int = 1,
) -> ScalarMappable:
    """Fill ``axes`` with one cell a number; cell (row, column) spans column..column + 1 and row..row + 1 downwards.

    Args:
        numbers: (rows, columns), printed with ``decimals``; ``n/a`` and grey where NaN.
        shades: of the same shape, what the colours show.
        colours: name of a matplotlib colour map.
        limits: of ``shades``; what lies beyond has the colour of the limit.
        rows, columns: labels of the ticks.

    Returns:
        What :func:`colour_bar` takes.
    """
    missing = np.isnan(numbers)
    seaborn.heatmap(
        shades, ax=axes, mask=missing, cmap=colormaps[colours], vmin=limits[0], vmax=limits[1],
        annot=numbers, fmt=f".{decimals}f", annot_kws={"size": SMALL_FONT_SIZE},
        cbar=False, xticklabels=False, yticklabels=False,
    )  # fmt: skip
    image = axes.collections[0]
    for text in axes.texts:
        column, row = map(int, text.get_position())
        # seaborn writes in white up to a luminance of 0.41; from 0.18 on black has more contrast.
        light = seaborn.utils.relative_luminance(image.to_rgba(shades[row, column])) > 0.18
        text.set_color(BLACK if light else "white")
    for row, column in np.argwhere(missing):
        place = {"ha": "center", "va": "center", "size": SMALL_FONT_SIZE}
        axes.text(column + 0.5, row + 0.5, NOT_AVAILABLE, color=GREY, **place)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0)
    return image


def frame_cell(axes: Axes, row: int, column: int, colour: str = VERMILLION) -> None:
    """Frame one cell of a heat map."""
    style = {"fill": False, "edgecolor": colour, "linewidth": 1.3}
    axes.add_patch(Rectangle((column + 0.04, row + 0.05), 0.92, 0.9, **style))


def colour_bar(figure: Figure, image: ScalarMappable, panels: Sequence[Axes], text: str, **place) -> None:
    """A colour bar beside ``panels`` with ``text``; ``place`` as :meth:`matplotlib.figure.Figure.colorbar` takes it."""
    bar = figure.colorbar(image, ax=list(panels), **place)
    bar.set_label(text)
    bar.outline.set_visible(False)
