"""A heat map with its numbers in it, for the figures that have one."""

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap
from numpy.typing import NDArray

from pipeline.reporting.style import BLACK, GREY, SMALL_FONT_SIZE


def heat_map(
    axes: Axes,
    numbers: NDArray[np.float64],
    shades: NDArray[np.float64],
    colours: Colormap,
    limits: tuple[float, float],
) -> ScalarMappable:
    """Fill ``axes`` with one cell a number; cell (row, column) spans column..column + 1 and row..row + 1 downwards.

    Args:
        numbers: (rows, columns), printed with one decimal; ``n/a`` and grey where NaN.
        shades: of the same shape, what the colours show.
        limits: of ``shades``; what lies beyond has the colour of the limit.

    Returns:
        What a colour bar takes.
    """
    missing = np.isnan(numbers)
    seaborn.heatmap(
        shades,
        ax=axes,
        mask=missing,
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        annot=numbers,
        fmt=".1f",
        annot_kws={"size": SMALL_FONT_SIZE},
        cbar=False,
        xticklabels=False,
        yticklabels=False,
    )
    image = axes.collections[0]
    for text in axes.texts:
        column, row = map(int, text.get_position())
        # seaborn writes in white up to a luminance of 0.41; from 0.18 on black has more contrast.
        light = seaborn.utils.relative_luminance(image.to_rgba(shades[row, column])) > 0.18
        text.set_color(BLACK if light else "white")
    for row, column in np.argwhere(missing):
        axes.text(column + 0.5, row + 0.5, "n/a", ha="center", va="center", color=GREY, size=SMALL_FONT_SIZE)
    axes.tick_params(length=0)
    return image
