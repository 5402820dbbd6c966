"""Figure: forest plot of paired differences in DSC to the reference variant, by dataset.

python -m pipeline.reporting.figures.forest --comparison results/tables/comparison.csv --variants '["uniform"]'
    --output results/comparison.pdf
"""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.evaluation.readers import (
    AVERAGE,
    add_figure_options,
    dataset_label,
    dataset_order,
    read_table,
    variant_label,
)
from pipeline.reporting.figures.dots import differences, stripe_rows
from pipeline.reporting.style import (
    BLACK,
    BLUE,
    COLUMN_WIDTH,
    TEXT_WIDTH,
    legend_columns,
    new_figure,
    save,
    wrap,
)
from pipeline.runtime.errors import PipelineError, run_command

LEVEL = 0.05
COLUMNS = ["dataset", "variant", "reference", "difference", "difference_low", "difference_high", "p_holm"]


def comparison(table: pd.DataFrame, variants: Sequence[str], labels: Mapping[str, str], note: str = "") -> Figure:
    """Draw it: filled where the test, corrected by Holm's method, finds a difference at the 5% level.

    Args:
        table: columns :data:`COLUMNS`, differences in DSC points (0..100), NaN where
            there was no run or no test.
        variants: rows from top to bottom; the reference itself has none.

    Raises:
        PipelineError: the table holds none of ``variants``, or has several references.
    """
    references = sorted(table["reference"].unique())
    if len(references) != 1:
        raise PipelineError(f"comparison: one reference is wanted, the table has {', '.join(references) or 'none'}")
    reference = references[0]
    rows = [variant for variant in variants if variant != reference]
    table = table[table["variant"].isin(rows)]
    if table.empty:
        raise PipelineError(f"comparison: no row for {', '.join(rows)}; check --variants and the table")
    datasets = dataset_order(table["dataset"])
    datasets = [dataset for dataset in [AVERAGE, *datasets] if dataset in datasets]
    datasets = list(dict.fromkeys(datasets))
    width = COLUMN_WIDTH if len(datasets) < 3 else TEXT_WIDTH
    names = [wrap(variant_label(labels, variant), 1.4 if width == TEXT_WIDTH else 1.0) for variant in rows]
    height = (0.06 + 0.115 * max(len(name.splitlines()) for name in names)) * len(rows) + 0.1
    style = {"color": BLUE, "marker": "o", "markersize": 4}
    handles = [
        Line2D([], [], label=f"differs, p < {LEVEL:g} (Wilcoxon, Holm)", **style),
        Line2D([], [], label="no difference shown", markerfacecolor="white", **style),
        Line2D([], [], color=BLACK, linewidth=0.8, label=f"as {variant_label(labels, reference)}"),
    ]
    columns = legend_columns([handle.get_label() for handle in handles], width)
    figure = new_figure(width, height + 0.65 + 0.15 * -(-len(handles) // columns), note)
    panels = figure.subplots(1, len(datasets), squeeze=False, sharey=True)[0]
    found = {(row["dataset"], row["variant"]): row for row in table.to_dict("records")}
    for axes, dataset in zip(panels, datasets, strict=True):
        axes.axvline(0, color=BLACK, linewidth=0.8, zorder=1)
        lines = [found.get((dataset, variant)) for variant in rows]
        lines = [None if line is None or np.isnan(line["difference"]) else line for line in lines]
        values = [line and tuple(line[f"difference{end}"] for end in ("", "_low", "_high")) for line in lines]
        clear = [line is not None and line["p_holm"] < LEVEL for line in lines]
        differences(axes, values, clear, [BLUE] * len(rows))
        axes.set_title(dataset_label(dataset), weight="bold" if dataset == AVERAGE else "normal")
        axes.set_xlabel("Δ DSC, points")
        axes.xaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2))
        stripe_rows(axes, names)
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, columnspacing=1.2)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparison", required=True, help="comparison.csv")
    add_figure_options(parser)
    arguments = parser.parse_args()
    table = read_table(arguments.comparison, COLUMNS)
    save(comparison(table, arguments.variants, arguments.labels, arguments.note), arguments.output)


if __name__ == "__main__":
    run_command(main)
