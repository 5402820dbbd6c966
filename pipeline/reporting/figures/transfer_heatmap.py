"""Figure: heat map of cross-dataset transfer, DSC of a model trained on one dataset and tested on another."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.evaluation.readers import dataset_order, read_table
from pipeline.reporting.figures.chosen import rows_of
from pipeline.reporting.figures.heatmap import colour_bar, heat_map
from pipeline.reporting.figures.panels import wrapped_labels
from pipeline.reporting.lettering import line_count, wrap
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.palette import VERMILLION
from pipeline.reporting.style import COLUMN_WIDTH, new_figure, save
from pipeline.runtime.errors import run_command

CELL_WIDTH, CELL_HEIGHT = 0.38, 0.285
LABELS_WIDTH = 0.95
"""Inches of the datasets' names, beside the rows and below the columns."""
BAR_WIDTH = 0.6
COLUMNS = ["variant", "train_dataset", "test_dataset", "seed", "dsc"]


def transfer(table: pd.DataFrame, variant: str, labels: Mapping[str, str], note: str = "") -> Figure:
    """DSC (%), mean over seeds: rows are training datasets, columns test datasets; equal ones are framed.

    Args:
        table: columns :data:`COLUMNS`, dsc in 0..1.
        labels: display names of ``variant`` and the datasets.

    Raises:
        PipelineError: the table holds no row of ``variant``.
    """
    table = rows_of(table, [variant], "transfer")
    rows, tested = dataset_order(table["train_dataset"]), dataset_order(table["test_dataset"])
    # In the order of the rows, so that equal datasets meet on the diagonal.
    columns = dataset_order([*(name for name in rows if name in tested), *tested])
    means = 100 * table.groupby(["train_dataset", "test_dataset"])["dsc"].mean()
    values = means.unstack().reindex(index=rows, columns=columns).to_numpy()
    low, high = float(means.min()), float(means.max())
    panel_width = CELL_WIDTH * len(columns)
    title = wrap(label(labels, variant), panel_width)
    height = CELL_HEIGHT * len(rows) + 0.13 * line_count([title]) + 0.2 + LABELS_WIDTH
    figure = new_figure(max(COLUMN_WIDTH, LABELS_WIDTH + BAR_WIDTH + panel_width + 0.1), height, note)
    axes = figure.subplots()
    row_names, column_names = (wrapped_labels(labels, datasets, LABELS_WIDTH - 0.1) for datasets in (rows, columns))
    image = heat_map(axes, values, values, "cividis", (low, max(high, low + 1e-6)), row_names, column_names)
    for row, dataset in enumerate(rows):
        if dataset in columns:
            frame = {"fill": False, "edgecolor": VERMILLION, "linewidth": 1.3}
            axes.add_patch(Rectangle((columns.index(dataset) + 0.04, row + 0.05), 0.92, 0.9, **frame))
    axes.tick_params(axis="x", rotation=90)
    axes.set(title=title, ylabel="Trained on", xlabel="Tested on")
    colour_bar(figure, image, [axes], "DSC, % (framed: own dataset)", pad=0.02, fraction=0.08, aspect=25)
    return figure


def main() -> None:
    options = parse_options(__doc__, "transfer", "variants")
    table = read_table(options.transfer, COLUMNS)
    save(transfer(table, options.variants[0], options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
