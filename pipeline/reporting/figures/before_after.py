"""Figure: DSC of each variant in two settings, and the difference with its interval and outcome, by dataset."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.evaluation.readers import dataset_order, read_table
from pipeline.reporting.figures.chosen import rows_of
from pipeline.reporting.figures.dots import (
    MARKER_SIZE,
    OUTCOME_DOTS,
    dot_rows,
    interval_keys,
    key,
    name_rows,
    outcome_dots,
    spans,
)
from pipeline.reporting.figures.panels import average_first, title_panels, wrapped_labels
from pipeline.reporting.lettering import line_count
from pipeline.reporting.options import parse_options
from pipeline.reporting.palette import BLACK, GREY
from pipeline.reporting.style import COLUMN_WIDTH, TEXT_WIDTH, legend_height, new_figure, save, top_legend
from pipeline.runtime.errors import run_command

COLUMNS = ["dataset", "variant", "before", "after", "difference", "low", "high", "outcome"]


def before_after(
    table: pd.DataFrame, variants: Sequence[str], names: Sequence[str], labels: Mapping[str, str], note: str = ""
) -> Figure:
    """Upper panels: DSC (%) before and after, joined; lower panels: the difference in DSC points. One column a dataset.

    Args:
        table: columns :data:`COLUMNS`, DSC in points (0..100); low and high are NaN where there is no interval.
        variants: rows from top to bottom.
        names: what before and after are.
        labels: display names of variants and datasets.

    Raises:
        PipelineError: the table holds none of ``variants``.
    """
    table = rows_of(table, variants, "before_after").set_index(["dataset", "variant"])
    datasets = average_first(dataset_order(table.index.get_level_values("dataset")))
    width = COLUMN_WIDTH if len(datasets) < 3 else TEXT_WIDTH
    titles = wrapped_labels(labels, datasets, (width - 1.5) / len(datasets))
    rows = wrapped_labels(labels, variants, 1.4 if width == TEXT_WIDTH else 1.0)
    handles = [
        Line2D([], [], color=GREY, marker="o", markersize=MARKER_SIZE, linestyle="none", label=names[0]),
        Line2D([], [], color=BLACK, marker="o", markersize=MARKER_SIZE, linestyle="none", label=names[1]),
        *(key(f"Δ {outcome}", dot) for outcome, dot in OUTCOME_DOTS.items()),
        *interval_keys(table["low"], table["high"]),
    ]
    legend = legend_height([handle.get_label() for handle in handles], width)
    panel = (0.06 + 0.115 * line_count(rows)) * len(variants) + 0.5
    figure = new_figure(width, 2 * panel + legend + 0.12 * line_count(titles) + 0.2, note)
    upper, lower = figure.subplots(2, len(datasets), squeeze=False, sharey=True)
    for scores, gaps, dataset in zip(upper, lower, datasets, strict=True):
        block = table.loc[dataset].reindex(variants)
        for at, row in enumerate(block.itertuples()):
            scores.plot([row.before, row.after], [at, at], color=GREY, linewidth=0.8, zorder=2)
            scores.plot(row.before, at, "o", color=GREY, markersize=MARKER_SIZE, zorder=3)
            scores.plot(row.after, at, "o", color=BLACK, markersize=MARKER_SIZE, zorder=4)
        scores.margins(x=0.12)
        gaps.axvline(0, color=GREY, linewidth=0.8, zorder=1)
        dot_rows(gaps, spans(block, "difference", "low", "high"), outcome_dots(block["outcome"]), cut=True)
        scores.set_xlabel("DSC, %")
        gaps.set_xlabel("Δ DSC, points")
        for axes in (scores, gaps):
            name_rows(axes, rows)
    title_panels(upper, datasets, titles)
    top_legend(figure, handles)
    return figure


def main() -> None:
    options = parse_options(__doc__, "table", "variants", "names")
    table = read_table(options.table, COLUMNS)
    save(before_after(table, options.variants, options.names, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
