"""Figure: forest plot of differences in DSC to the reference variant and their outcomes, by dataset."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.evaluation.readers import dataset_order, read_table
from pipeline.reporting.figures.chosen import rows_of
from pipeline.reporting.figures.dots import (
    dot_rows,
    interval_keys,
    mark_margin,
    name_rows,
    outcome_dots,
    outcome_keys,
    spans,
)
from pipeline.reporting.figures.panels import average_first, title_panels, wrapped_labels
from pipeline.reporting.lettering import line_count
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.palette import BLACK
from pipeline.reporting.style import COLUMN_WIDTH, TEXT_WIDTH, legend_height, new_figure, save, top_legend
from pipeline.runtime.errors import run_command

COLUMNS = ["dataset", "variant", "reference", "margin", "difference", "low", "high", "outcome"]


def forest(table: pd.DataFrame, variants: Sequence[str], labels: Mapping[str, str], note: str = "") -> Figure:
    """Difference of each variant to the reference with its interval, in DSC points; one column a dataset.

    Args:
        table: as comparison.csv, columns :data:`COLUMNS`, differences in DSC points (0..100).
        variants: rows from top to bottom; the reference itself has none.
        labels: display names of variants and datasets.

    Raises:
        PipelineError: the table holds none of ``variants``.
    """
    rows = [variant for variant in variants if variant not in set(table["reference"])]
    table = rows_of(table, rows, "comparison")
    reference, margin = table["reference"].iloc[0], table["margin"].iloc[0]
    table = table.set_index(["dataset", "variant"])
    datasets = average_first(dataset_order(table.index.get_level_values("dataset")))
    width = COLUMN_WIDTH if len(datasets) < 3 else TEXT_WIDTH
    titles = wrapped_labels(labels, datasets, (width - 1.5) / len(datasets))
    names = wrapped_labels(labels, rows, 1.4 if width == TEXT_WIDTH else 1.0)
    handles = [
        *outcome_keys(margin),
        *interval_keys(table["low"], table["high"]),
        Line2D([], [], color=BLACK, linewidth=0.8, label=f"{label(labels, reference)} (reference)"),
    ]
    legend = legend_height([handle.get_label() for handle in handles], width)
    height = (0.06 + 0.115 * line_count(names)) * len(rows) + 0.12 * (line_count(titles) - 1)
    figure = new_figure(width, height + legend + 0.75, note)
    panels = figure.subplots(1, len(datasets), squeeze=False, sharey=True)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        mark_margin(axes, margin)
        block = table.loc[dataset].reindex(rows)
        dot_rows(axes, spans(block, "difference", "low", "high"), outcome_dots(block["outcome"]), cut=True)
        axes.set_xlabel("Δ DSC, points")
        name_rows(axes, names)
    title_panels(panels, datasets, titles)
    top_legend(figure, handles)
    return figure


def main() -> None:
    options = parse_options(__doc__, "comparison", "variants")
    table = read_table(options.comparison, COLUMNS)
    save(forest(table, options.variants, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
