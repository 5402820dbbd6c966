"""Figure: heat maps of cross-dataset transfer, DSC of each variant trained on one dataset and tested on another."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from pipeline.evaluation.readers import dataset_order, read_table
from pipeline.reporting.figures.chosen import rows_of
from pipeline.reporting.figures.heatmap import colour_bar, frame_cell, heat_map
from pipeline.reporting.figures.panels import panel_grid, wrapped_labels
from pipeline.reporting.lettering import line_count
from pipeline.reporting.options import parse_options
from pipeline.reporting.style import COLUMN_WIDTH, TEXT_WIDTH, new_figure, save
from pipeline.runtime.errors import run_command

CELL_WIDTH, CELL_HEIGHT = 0.205, 0.225
LABELS_WIDTH = 0.95
"""Inches of the datasets' names, beside the rows and below the columns."""
BAR_WIDTH = 0.5
COLUMNS = ["variant", "train_dataset", "test_dataset", "seed", "dsc"]


def transfer(table: pd.DataFrame, variants: Sequence[str], labels: Mapping[str, str], note: str = "") -> Figure:
    """DSC (%), mean over seeds, one panel a variant: rows are training datasets, columns test datasets.

    The cells in which both are the same are framed.

    Args:
        table: columns :data:`COLUMNS`, dsc in 0..1.
        labels: display names of variants and datasets.

    Raises:
        PipelineError: the table holds no row of ``variants``.
    """
    table = rows_of(table, variants, "transfer")
    rows, tested = dataset_order(table["train_dataset"]), dataset_order(table["test_dataset"])
    # In the order of the rows, so that equal datasets meet on the diagonal.
    columns = dataset_order([*(name for name in rows if name in tested), *tested])
    means = 100 * table.groupby(["variant", "train_dataset", "test_dataset"])["dsc"].mean()
    shown = [variant for variant in variants if variant in means.index]
    limits = float(means.min()), max(float(means.max()), float(means.min()) + 1e-6)
    panel_width = max(CELL_WIDTH * len(columns), 1.1)
    room = TEXT_WIDTH - LABELS_WIDTH - BAR_WIDTH
    across = min(len(shown), max(1, int(room // (panel_width + 0.08))))
    # As many rows of panels, but filled evenly: below a hole the names of columns would need room of their own.
    across = math.ceil(len(shown) / math.ceil(len(shown) / across))
    titles = wrapped_labels(labels, shown, panel_width)
    down = math.ceil(len(shown) / across)
    height = down * (CELL_HEIGHT * len(rows) + 0.13 * line_count(titles) + 0.16) + LABELS_WIDTH + 0.2
    width = LABELS_WIDTH + BAR_WIDTH + across * (panel_width + 0.08)
    figure = new_figure(min(TEXT_WIDTH, max(COLUMN_WIDTH, width)), height, note)
    panels = panel_grid(figure, len(shown), across, sharex=True, sharey=True)
    row_names, column_names = (wrapped_labels(labels, datasets, LABELS_WIDTH - 0.1) for datasets in (rows, columns))
    for axes, variant, title in zip(panels.all, shown, titles, strict=True):
        values = means[variant].unstack().reindex(index=rows, columns=columns).to_numpy()
        image = heat_map(axes, values, values, "cividis", limits, row_names, column_names, decimals=0)
        for row, dataset in enumerate(rows):
            if dataset in columns:
                frame_cell(axes, row, columns.index(dataset))
        axes.tick_params(axis="x", rotation=90)
        axes.set_title(title)
    for axes in panels.left:
        axes.set_ylabel("Trained on")
    for axes in panels.bottom:
        axes.set_xlabel("Tested on")
    bar = {"pad": 0.02, "fraction": 0.05, "aspect": 12 * down, "shrink": max(0.4, 1 / down)}
    colour_bar(figure, image, panels.all, "DSC, %", **bar)
    return figure


def main() -> None:
    options = parse_options(__doc__, "transfer", "variants")
    table = read_table(options.transfer, COLUMNS)
    save(transfer(table, options.variants, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
