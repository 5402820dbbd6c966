"""A heat map with its numbers in it, for the figures that have one."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.reporting.formats import NOT_AVAILABLE
from pipeline.reporting.lettering import SMALL_FONT_SIZE
from pipeline.reporting.palette import BLACK, GREY


def heat_map(
    axes: Axes,
    numbers: NDArray[np.float64],
    shades: NDArray[np.float64],
    colours: str,
    limits: tuple[float, float],
    rows: Sequence[str],
    columns: Sequence[str],
) -> ScalarMappable:
    """Fill ``axes`` with one cell a number; cell (row, column) spans column..column + 1 and row..row + 1 downwards.

    Args:
        numbers: (rows, columns), printed with one decimal; ``n/a`` and grey where NaN.
        shades: of the same shape, what the colours show.
        colours: name of a matplotlib colour map.
        limits: of ``shades``; what lies beyond has the colour of the limit.
        rows, columns: labels of the ticks.

    Returns:
        What :func:`colour_bar` takes.
    """
    image = axes.pcolormesh(np.ma.masked_where(np.isnan(numbers), shades), cmap=colours, vmin=limits[0], vmax=limits[1])
    axes.invert_yaxis()
    style = {"ha": "center", "va": "center", "size": SMALL_FONT_SIZE}
    for (row, column), value in np.ndenumerate(numbers):
        if np.isnan(value):
            axes.text(column + 0.5, row + 0.5, NOT_AVAILABLE, color=GREY, **style)
            continue
        # Luminance as WCAG defines it; from 0.18 on black has more contrast than white.
        rgb = np.array(image.to_rgba(shades[row, column])[:3])
        linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        light = linear @ [0.2126, 0.7152, 0.0722] > 0.18
        axes.text(column + 0.5, row + 0.5, f"{value:.1f}", color=BLACK if light else "white", **style)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0)
    return image


def colour_bar(figure: Figure, image: ScalarMappable, panels: Sequence[Axes], text: str, **place) -> None:
    """A colour bar beside ``panels`` with ``text``; ``place`` as :meth:`matplotlib.figure.Figure.colorbar` takes it."""
    bar = figure.colorbar(image, ax=list(panels), **place)
    bar.set_label(text)
    bar.outline.set_visible(False)
