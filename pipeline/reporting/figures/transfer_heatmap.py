"""Figure: heat map of cross-dataset transfer, DSC of a model trained on one dataset and tested on another.

python -m pipeline.reporting.figures.transfer_heatmap --transfer results/transfer.csv --variants '["telescopic"]'
    --output results/transfer.pdf
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.evaluation.readers import (
    add_figure_options,
    dataset_label,
    dataset_order,
    read_table,
    variant_label,
)
from pipeline.reporting.figures.heatmap import heat_map
from pipeline.reporting.style import TEXT_WIDTH, VERMILLION, new_figure, save, wrap
from pipeline.runtime.errors import PipelineError, run_command

CELL = 0.38
LABELS_WIDTH = 0.95
BAR_WIDTH = 0.6


def transfer(table: pd.DataFrame, variants: Sequence[str], labels: Mapping[str, str], note: str = "") -> Figure:
    """Draw it: rows are training datasets, columns test datasets, means over seeds; the diagonal is framed.

    Args:
        table: columns variant, train_dataset, test_dataset, seed, dsc (0..1).
        variants: one panel each.

    Raises:
        PipelineError: the table holds none of ``variants``.
    """
    table = table[table["variant"].isin(variants)]
    drawn = [variant for variant in variants if (table["variant"] == variant).any()]
    if not drawn:
        raise PipelineError(f"transfer: no row for {', '.join(variants)}; check --variants and the table")
    rows = dataset_order(table["train_dataset"])
    columns = dataset_order(table["test_dataset"])
    means = 100 * table.groupby(["variant", "train_dataset", "test_dataset"])["dsc"].mean()
    low, high = float(means.min()), float(means.max())
    fits = max(1, int((TEXT_WIDTH - LABELS_WIDTH - BAR_WIDTH) / (CELL * len(columns) + 0.1)))
    across = min(fits, len(drawn))
    down = -(-len(drawn) // across)
    width = max(3.3, LABELS_WIDTH + BAR_WIDTH + across * (CELL * len(columns) + 0.1))
    titles = {variant: wrap(variant_label(labels, variant), CELL * len(columns)) for variant in drawn}
    lines = max(len(title.splitlines()) for title in titles.values())
    height = down * (CELL * 0.75 * len(rows) + 0.13 * lines + 0.1) + 1.05
    figure = new_figure(width, height, note)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    image = None
    for axes in panels.ravel()[len(drawn) :]:
        axes.remove()
    for axes, variant in zip(panels.ravel(), drawn, strict=False):
        values = means[variant].unstack().reindex(index=rows, columns=columns).to_numpy()
        image = heat_map(axes, values, values, colormaps["cividis"], (low, max(high, low + 1e-6)))
        for row, column in product(range(len(rows)), range(len(columns))):
            if rows[row] == columns[column]:
                frame = {"fill": False, "edgecolor": VERMILLION, "linewidth": 1.3}
                axes.add_patch(Rectangle((column + 0.04, row + 0.05), 0.92, 0.9, **frame))
        axes.set_title(titles[variant])
        axes.set_xticks(np.arange(len(columns)) + 0.5, [dataset_label(dataset) for dataset in columns], rotation=90)
        axes.set_yticks(np.arange(len(rows)) + 0.5, [dataset_label(dataset) for dataset in rows], rotation=0)
    for axes in panels[:, 0]:
        axes.set_ylabel("Trained on")
    for axes in panels[-1, : len(drawn) - (down - 1) * across]:
        axes.set_xlabel("Tested on")
    bar = figure.colorbar(image, ax=panels.ravel()[: len(drawn)].tolist(), pad=0.02, fraction=0.08, aspect=25)
    bar.set_label("DSC, % (framed: own dataset)")
    bar.outline.set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transfer", required=True, help="CSV: variant, train_dataset, test_dataset, seed, dsc")
    add_figure_options(parser)
    arguments = parser.parse_args()
    table = read_table(arguments.transfer, ["variant", "train_dataset", "test_dataset", "seed", "dsc"])
    save(transfer(table, arguments.variants, arguments.labels, arguments.note), arguments.output)


if __name__ == "__main__":
    run_command(main)
