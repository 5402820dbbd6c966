"""Figure: DSC of each variant by the type of the prompt it is evaluated with, and the range over prompt types.

python -m pipeline.reporting.figures.prompt_types --table results/tables/prompt_sensitivity.csv
    --variants '["telescopic"]' --output results/prompt_sensitivity.pdf
"""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.evaluation.readers import (
    add_figure_options,
    dataset_label,
    dataset_order,
    read_table,
    variant_label,
)
from pipeline.reporting.figures.heatmap import heat_map
from pipeline.reporting.style import (
    BLACK,
    GREY,
    LIGHT_GREY,
    PAGE_HEIGHT,
    SMALL_FONT_SIZE,
    TEXT_WIDTH,
    footer_height,
    new_figure,
    save,
    text_width,
)
from pipeline.reporting.tables.prompt_sensitivity import type_order, worded
from pipeline.runtime.errors import PipelineError, run_command

ROW = 0.165
RANGE_WIDTH = 1.15
FRAME = 0.95
"""Inches of titles, tick labels and colour bar."""


def _types(table: pd.DataFrame) -> list[str]:
    return type_order(column.removesuffix("_sd") for column in table if f"{column}_sd" in table)


def _cells(axes, values: np.ndarray, gaps: np.ndarray, limit: float, types: Sequence[str]):
    """The heat map: colour by ``gaps``, numbers from ``values``; p0 and random stand apart."""
    image = heat_map(axes, values, gaps, colormaps["PuOr_r"], (-limit, limit))
    inner = [column for column, name in enumerate(types) if name in worded(types)]
    for edge in {min(inner, default=0), max(inner, default=0) + 1} - {0, len(types)}:
        axes.axvline(edge, color="white", linewidth=3)
    axes.set_xticks(np.arange(len(types)) + 0.5, types)
    return image


def prompt_sensitivity(
    table: pd.DataFrame, variants: Sequence[str], labels: Mapping[str, str], note: str = ""
) -> Figure:
    """Draw it: a block a dataset, a row a variant; left DSC by prompt type, right the range over p1 and up.

    Args:
        table: columns dataset, variant, range, and two for each prompt type, its DSC in points and that ending in _sd.
        variants: rows of each block.

    Raises:
        PipelineError: the table holds none of ``variants``.
    """
    table = table[table["variant"].isin(variants)]
    if table.empty:
        raise PipelineError(f"prompt_sensitivity: no row for {', '.join(variants)}; check --variants and the table")
    types, datasets = _types(table), dataset_order(table["dataset"])
    table = table.set_index(["dataset", "variant"])
    rows = {dataset: [name for name in variants if (dataset, name) in table.index] for dataset in datasets}
    gaps = table[types].sub(table[worded(types)].mean(axis=1), axis=0)
    # A few far gaps would take the colours from all others: the scale ends before them, and the numbers tell.
    limit = max(1.0, float(np.nanquantile(np.abs(gaps[worded(types)].to_numpy(dtype=float)), 0.9)))
    total = sum(len(names) for names in rows.values())
    fitting = (PAGE_HEIGHT - FRAME - footer_height(note, TEXT_WIDTH) - 0.3 * len(datasets)) / total
    height = FRAME + total * min(ROW, fitting) + 0.3 * len(datasets)
    figure = new_figure(TEXT_WIDTH, height, note)
    names = {name: variant_label(labels, name) for name in variants}
    left = max(text_width(name) for name in names.values())
    panels = figure.subplots(
        len(datasets),
        2,
        squeeze=False,
        sharex="col",
        width_ratios=[max(1.0, TEXT_WIDTH - left - RANGE_WIDTH - 0.4), RANGE_WIDTH],
        height_ratios=[len(rows[dataset]) for dataset in datasets],
    )
    for (axes, bars), dataset in zip(panels, datasets, strict=True):
        block = table.loc[dataset].loc[rows[dataset]]
        colours = gaps.loc[dataset].loc[rows[dataset]].to_numpy(dtype=float)
        image = _cells(axes, block[types].to_numpy(dtype=float), colours, limit, types)
        axes.set_yticks(np.arange(len(block)) + 0.5, [names[name] for name in block.index], rotation=0)
        axes.set_title(dataset_label(dataset), loc="left", weight="bold")
        ranges = block["range"].to_numpy(dtype=float)
        bars.barh(np.arange(len(block)) + 0.5, np.nan_to_num(ranges), height=0.62, color=LIGHT_GREY)
        for at, value in enumerate(ranges):
            text = "n/a" if np.isnan(value) else f"{value:.1f}"
            bars.annotate(
                text, (np.nan_to_num(value), at + 0.5), xytext=(2, 0), textcoords="offset points", va="center",
                size=SMALL_FONT_SIZE, color=GREY if np.isnan(value) else BLACK,
            )  # fmt: skip
        bars.set_ylim(len(block), 0)
        bars.set_yticks([])
        bars.spines["left"].set_visible(False)
    panels[0, 1].set_xlim(0, 1.25 * max(1e-6, float(np.nanmax(table["range"].astype(float).fillna(0)))))
    panels[-1, 0].set_xlabel("Prompt type (p0: empty prompt; random: p1 and up, drawn by case)")
    panels[-1, 1].set_xlabel("Range over p1 and up,\npoints")
    panels[-1, 1].xaxis.set_major_locator(MaxNLocator(3))
    bar = figure.colorbar(
        image, ax=panels[:, 0].tolist(), location="top", aspect=45, pad=0.01, fraction=0.05, extend="both"
    )
    bar.set_label("Numbers: DSC, %. Colour: less the row's mean over p1 and up, points")
    bar.outline.set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, help="tables/prompt_sensitivity.csv")
    add_figure_options(parser)
    arguments = parser.parse_args()
    table = read_table(arguments.table, ["dataset", "variant", "range"])
    save(prompt_sensitivity(table, arguments.variants, arguments.labels, arguments.note), arguments.output)


if __name__ == "__main__":
    run_command(main)
