"""Figure: every method on every dataset, DSC with intervals over seeds and its outcome against the reference."""

import math
from collections.abc import Mapping, Sequence
from itertools import product

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import t as student

from pipeline.evaluation.aggregate import Score, measured, reported
from pipeline.evaluation.readers import AVERAGE, read_dsc, read_reported, read_table
from pipeline.evaluation.reproduction import COUNTERPARTS, averaged_datasets
from pipeline.reporting.figures.chosen import rows_of
from pipeline.reporting.figures.dots import (
    REFERENCE,
    Span,
    dot_rows,
    far_rows,
    interval_keys,
    key,
    name_rows,
    outcome_dots,
    outcome_keys,
)
from pipeline.reporting.figures.panels import average_first, title_panels, wrapped_labels
from pipeline.reporting.lettering import SMALL_FONT_SIZE, line_count
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.palette import BLACK
from pipeline.reporting.style import COLUMN_WIDTH, TEXT_WIDTH, legend_height, new_figure, save, top_legend
from pipeline.runtime.errors import run_command

OUTCOMES = ["dataset", "variant", "reference", "margin", "outcome"]
FIRST_SHARE = 2.0
"""Width of the first panel, in widths of another."""
REACH = 0.5
"""How far beyond the dots a panel reaches at most, as a share of the range that they span."""


def _span(score: Score | None) -> Span | None:
    """Mean and 95% interval over seeds (Student's t), DSC in percent; of a single seed the mean alone."""
    if score is None:
        return None
    half = 0.0 if score.sd is None else float(student.ppf(0.975, score.seeds - 1)) * score.sd / math.sqrt(score.seeds)
    return score.mean, score.mean - half, score.mean + half


def _limits(rows: Sequence[Span], others: Sequence[float]) -> tuple[float, float]:
    """Limits that hold all dots and ``others``, and of the intervals what lies near them."""
    values = [*(row[0] for row in rows), *others]
    reach = max(REACH * (max(values) - min(values)), 0.5)
    low = max(min(values) - reach, min(values + [row[1] for row in rows]))
    high = min(max(values) + reach, max(values + [row[2] for row in rows]))
    margin = max(0.1 * (high - low), 0.2)
    return low - margin, high + margin


def _reported(
    table: pd.DataFrame | None, variants: Sequence[str], columns: Sequence[str], datasets: Sequence[str]
) -> dict[tuple[str, str], float]:
    """The reported DSC (%) by variant and column; an average only if it is over the same datasets."""
    found = {}
    for variant, column in product(variants, columns) if table is not None else ():
        method = next((name for name, others in COUNTERPARTS.items() if variant in others), variant)
        number = reported(table, method, column)
        if number and (column != AVERAGE or set(averaged_datasets(table)) == set(datasets)):
            found[variant, column] = number.value
    return found


def overview(
    dsc: pd.DataFrame,
    comparison: pd.DataFrame,
    variants: Sequence[str],
    datasets: Sequence[str],
    labels: Mapping[str, str],
    note: str = "",
    reported_table: pd.DataFrame | None = None,
) -> Figure:
    """DSC (%) of each variant; the average over datasets first, with numbers, then one column a dataset.

    The dotted line is the reference. Intervals that are far longer than the dots are apart run out of the panel.
    Reported end-to-end numbers stand beside both variants that they are compared with.

    Args:
        dsc: as dsc.csv.
        comparison: as comparison.csv, columns :data:`OUTCOMES`; without rows where there is one variant.
        variants: rows from top to bottom.
        datasets: in their order.
        labels: display names of variants and datasets.
        reported_table: as reported.csv; without it no reported number is shown.

    Raises:
        PipelineError: there is no run of ``variants``, or none of the reference.
    """
    dsc = rows_of(dsc, variants, "overview")
    reference = variants[0] if comparison.empty else comparison["reference"].iloc[0]
    outcomes = comparison.set_index(["dataset", "variant"])["outcome"]
    columns = average_first([*datasets, AVERAGE] if len(datasets) > 1 else datasets)
    rows_of(dsc, [reference], "overview")
    scores = {variant: measured(dsc, variant, datasets) for variant in variants}
    published = _reported(reported_table, variants, columns, datasets)
    width = COLUMN_WIDTH if len(columns) < 3 else TEXT_WIDTH
    shares = [FIRST_SHARE, *[1.0] * (len(columns) - 1)]
    titles = wrapped_labels(labels, columns, (width - 1.5) / sum(shares))
    names = wrapped_labels(labels, variants, 1.4 if width == TEXT_WIDTH else 1.0)
    ends = pd.DataFrame([_span(score) for of in scores.values() for score in of.values() if score])
    handles = [key(f"{label(labels, reference)} (reference)", REFERENCE)]
    if len(comparison):
        handles += outcome_keys(comparison["margin"].iloc[0])[:-1]
    handles += interval_keys(ends[1], ends[2])
    if published:
        handles.append(Line2D([], [], color=BLACK, marker="|", markersize=7, linestyle="none", label="reported"))
    legend = legend_height([handle.get_label() for handle in handles], width)
    height = (0.09 + 0.115 * line_count(names)) * len(variants) + 0.12 * (line_count(titles) - 1)
    figure = new_figure(width, height + legend + 0.75, note)
    panels = figure.subplots(1, len(columns), squeeze=False, sharey=True, width_ratios=shares)[0]
    for axes, column in zip(panels, columns, strict=True):
        rows = [_span(scores[variant][column]) for variant in variants]
        centre = scores[reference][column]
        about = centre.mean if centre else 0.0
        far = far_rows([row and (row[0] - about,) * 3 for row in rows])
        near = {at: row for at, row in enumerate(rows) if row and not far[at]}
        ticks = {at: found for at in near if (found := published.get((variants[at], column)))}
        if near:
            axes.set_xlim(_limits(list(near.values()), list(ticks.values())))
        if centre:
            axes.axvline(about, color=BLACK, linewidth=0.7, linestyle=":", zorder=1)
        dots = outcome_dots(outcomes.get((column, variant)) for variant in variants)
        dot_rows(axes, rows, dots, far=far, signed=False)
        for at, value in ticks.items():
            axes.plot(value, at, "|", color=BLACK, markersize=7, zorder=4)
        axes.set_xlabel("DSC, %")
        name_rows(axes, names, ticks=4 if axes is panels[0] else 3)
    for at, variant in enumerate(variants):
        if score := scores[variant][columns[0]]:
            place = {"transform": panels[0].get_yaxis_transform(), "va": "center"}
            panels[0].text(1.02, at, f"{score.mean:.1f}", size=SMALL_FONT_SIZE, **place)
    title_panels(panels, columns, titles)
    top_legend(figure, handles)
    return figure


def main() -> None:
    options = parse_options(__doc__, "dsc", "comparison", "published", "datasets", "variants")
    published = read_reported(options.published) if options.published else None
    comparison = read_table(options.comparison, OUTCOMES)
    shown = (options.variants, options.datasets, options.labels, options.note, published)
    save(overview(read_dsc(options.dsc), comparison, *shown), options.output)


if __name__ == "__main__":
    run_command(main)
