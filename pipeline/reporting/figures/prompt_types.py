"""Figure: DSC of each variant by the type of the prompt it is evaluated with, and the range over prompt types."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.evaluation.readers import dataset_order, read_table
from pipeline.reporting.figures.chosen import rows_of
from pipeline.reporting.figures.heatmap import colour_bar, frame_cell, heat_map
from pipeline.reporting.formats import NOT_AVAILABLE, number
from pipeline.reporting.lettering import SMALL_FONT_SIZE, text_width, wrap
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.palette import BLACK, GREY, LIGHT_GREY
from pipeline.reporting.style import PAGE_HEIGHT, TEXT_WIDTH, footer_height, new_figure, save
from pipeline.reporting.tables.prompt_sensitivity import type_order, worded
from pipeline.runtime.errors import run_command

ROW = 0.165
RANGE_WIDTH = 1.15
FRAME = 0.95
"""Inches of titles, tick labels and colour bar."""


def _draw_ranges(axes: Axes, ranges: np.ndarray) -> None:
    """A bar with its value for each of ``ranges``, the first at the top; n/a where there is none."""
    lengths = np.nan_to_num(ranges)
    axes.barh(np.arange(len(ranges)) + 0.5, lengths, height=0.62, color=LIGHT_GREY)
    for at, (value, length) in enumerate(zip(ranges, lengths, strict=True)):
        text = number(value, ".1f")
        style = {"size": SMALL_FONT_SIZE, "va": "center", "color": GREY if text == NOT_AVAILABLE else BLACK}
        axes.annotate(text, (length, at + 0.5), xytext=(2, 0), textcoords="offset points", **style)
    axes.set(ylim=(len(ranges), 0), yticks=[])
    axes.spines["left"].set_visible(False)


def prompt_sensitivity(
    table: pd.DataFrame,
    variants: Sequence[str],
    labels: Mapping[str, str],
    note: str = "",
    own: Mapping[str, str] = MappingProxyType({}),
) -> Figure:
    """A block a dataset, a row a variant; left DSC (%) by prompt type, right its range over p1 and up (points).

    Colours show each DSC minus the row's mean over p1 and up.

    Args:
        table: columns dataset, variant, range, and two for each prompt type, its DSC in points and that ending in _sd.
        variants: rows of each block.
        labels: display names of variants and datasets.
        own: by variant the prompt type that it was trained with, whose cell is framed.

    Raises:
        PipelineError: the table holds none of ``variants``.
    """
    table = rows_of(table, variants, "prompt_sensitivity")
    types = type_order(column.removesuffix("_sd") for column in table if f"{column}_sd" in table)
    inner, datasets = worded(types), dataset_order(table["dataset"])
    table = table.set_index(["dataset", "variant"])
    rows = {dataset: [name for name in variants if (dataset, name) in table.index] for dataset in datasets}
    gaps = table[types].sub(table[inner].mean(axis=1), axis=0).astype(float)
    # A few far gaps would take the colours from all others: the scale ends before them, and the numbers tell.
    limit = max(1.0, float(np.nanquantile(np.abs(gaps[inner]), 0.9)))
    total = sum(len(names) for names in rows.values())
    fitting = (PAGE_HEIGHT - FRAME - footer_height(note, TEXT_WIDTH) - 0.3 * len(datasets)) / total
    figure = new_figure(TEXT_WIDTH, FRAME + total * min(ROW, fitting) + 0.3 * len(datasets), note)
    names_width = max(text_width(label(labels, name)) for name in variants)
    cells_width = max(1.0, TEXT_WIDTH - names_width - RANGE_WIDTH - 0.4)
    panels = figure.subplots(
        len(datasets),
        2,
        squeeze=False,
        sharex="col",
        width_ratios=[cells_width, RANGE_WIDTH],
        height_ratios=[len(names) for names in rows.values()],
    )
    # A gap sets p0 and the mean apart.
    edges = {types.index(inner[0]), types.index(inner[-1]) + 1} - {0, len(types)} if inner else set()
    for (axes, bars), (dataset, shown) in zip(panels, rows.items(), strict=True):
        block, shades = table.loc[dataset].loc[shown], gaps.loc[dataset].loc[shown].to_numpy()
        names = [label(labels, name) for name in shown]
        image = heat_map(axes, block[types].to_numpy(float), shades, "PuOr_r", (-limit, limit), names, types)
        for row, name in enumerate(shown):
            if own.get(name) in types:
                frame_cell(axes, row, types.index(own[name]), BLACK)
        for edge in edges:
            axes.axvline(edge, color="white", linewidth=3)
        axes.set_title(label(labels, dataset), loc="left", weight="bold")
        _draw_ranges(bars, block["range"].to_numpy(float))
    panels[0, 1].set_xlim(0, 1.25 * max(1e-6, float(table["range"].astype(float).fillna(0).max())))
    below = "Prompt type (p0: empty prompt; mean: over p1 and up)", "Range over p1 and up, points"
    for axes, text, width in zip(panels[-1], below, (cells_width, RANGE_WIDTH), strict=True):
        axes.set_xlabel(wrap(text, width))
    panels[-1, 1].xaxis.set_major_locator(MaxNLocator(3))
    text = "Numbers: DSC, %. Colours: DSC minus the row's mean over p1 and up, points"
    place = {"location": "top", "aspect": 45, "pad": 0.01, "fraction": 0.05, "extend": "both"}
    colour_bar(figure, image, panels[:, 0], text, **place)
    return figure


def main() -> None:
    options = parse_options(__doc__, "table", "variants", "own")
    table = read_table(options.table, ["dataset", "variant", "range"])
    save(prompt_sensitivity(table, options.variants, options.labels, options.note, options.own), options.output)


if __name__ == "__main__":
    run_command(main)
