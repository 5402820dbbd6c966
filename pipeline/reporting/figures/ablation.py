"""Figure: a family of variants, DSC and differences to a reference with intervals, by dataset and averaged."""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.evaluation.methods import MARGIN, compare_methods
from pipeline.evaluation.readers import AVERAGE, read_cases
from pipeline.reporting.figures.chosen import runs_of
from pipeline.reporting.figures.dots import (
    REFERENCE,
    dot_rows,
    interval_keys,
    key,
    mark_margin,
    name_rows,
    outcome_dots,
    outcome_keys,
    spans,
)
from pipeline.reporting.figures.panels import title_panels, wrapped_labels
from pipeline.reporting.lettering import line_count
from pipeline.reporting.options import parse_options
from pipeline.reporting.palette import GREY
from pipeline.reporting.style import (
    COLUMN_WIDTH,
    PAGE_HEIGHT,
    TEXT_WIDTH,
    footer_height,
    legend_columns,
    new_figure,
    save,
    top_legend,
)
from pipeline.runtime.errors import PipelineError, run_command


class Side(NamedTuple):
    """A further column between the labels and the panels."""

    width: float
    """Inches."""
    draw: Callable[[Axes, Sequence[str]], None]
    """Draws the rows of the given variants, the first at the height 0, the next at 1."""


def _seed_means(cases: pd.DataFrame, dataset: str, variant: str) -> np.ndarray:
    """Mean DSC in percent of each seed; for the average, of seeds that every dataset has."""
    rows = cases[cases["variant"] == variant]
    table = 100 * rows.pivot_table(index="seed", columns="dataset", values="dsc", aggfunc="mean")
    if dataset == AVERAGE:
        return table.dropna().mean(axis=1).to_numpy()
    return table[dataset].dropna().to_numpy() if dataset in table else np.array([])


def ablation(
    cases: pd.DataFrame,
    variants: Sequence[str],
    reference: str,
    labels: Mapping[str, str],
    title: str = "",
    note: str = "",
    side: Side | None = None,
    margin: float = MARGIN,
) -> Figure:
    """Mean DSC (%) of each variant over seeds, and its difference to ``reference`` (DSC points) with its interval.

    Upper panels hold DSC, with a stroke for each seed where there are several, lower panels differences and their
    outcomes (:func:`pipeline.evaluation.compare_methods`); one column a dataset, the average first. A single dataset
    has them side by side.

    Args:
        cases: per-case scores as :func:`pipeline.evaluation.readers.read_cases` gives them.
        variants: rows from top to bottom.
        labels: display names of variants and datasets.
        title: heading of the family, above the legend.
        side: a further column between labels and panels.
        margin: of equivalence, DSC points.

    Raises:
        PipelineError: ``reference`` is not among ``variants``, no run belongs to them, or cases do not match.
    """
    if reference not in variants:
        raise PipelineError(f"--reference: {reference!r} is not among the variants ({', '.join(variants)})")
    cases = cases[cases["variant"].isin(variants)]
    compared = compare_methods(cases, reference, margin).set_index(["dataset", "variant"])
    datasets = list(dict.fromkeys(cases["dataset"]))
    datasets = [AVERAGE, *datasets] if len(datasets) > 1 else datasets
    single = len(datasets) == 1
    width = COLUMN_WIDTH if single and side is None else TEXT_WIDTH
    rows, columns = (1, 2) if single else (2, len(datasets))
    panel_width = (width - 1.5) / columns
    titles = wrapped_labels(labels, datasets, panel_width)
    names = wrapped_labels(labels, variants, 1.4 if width == TEXT_WIDTH else 1.0)
    lines = line_count(names)
    handles = [
        key("reference", REFERENCE),
        *outcome_keys(margin),
        *interval_keys(compared["low"], compared["high"]),
    ]
    if cases["seed"].nunique() > 1:
        handles.append(Line2D([], [], color=GREY, marker="|", linestyle="none", markersize=4, label="one seed"))
    legend_rows = math.ceil(len(handles) / legend_columns([handle.get_label() for handle in handles], width))
    heading = 0.17 * (legend_rows + bool(title)) + 0.1 + 0.12 * (line_count(titles) - 1)
    margins = 0.15 if single else 0.2
    fitting = (PAGE_HEIGHT - footer_height(note, width) - heading - margins) / rows - 0.5
    row = min(0.05 + 0.11 * lines, max(0.115 * lines, fitting / len(variants)))
    figure = new_figure(width, heading + rows * (row * len(variants) + 0.5) + margins, note)
    extra = [] if side is None else [side.width]
    ratios = [*extra, *[panel_width] * columns]
    grid = figure.subplots(rows, len(ratios), squeeze=False, sharey=True, width_ratios=ratios)
    panels = grid[:, len(extra) :]
    upper, lower = panels.reshape(2, -1)
    for scores, gaps, dataset in zip(upper, lower, datasets, strict=True):
        table = compared.reindex([(dataset, variant) for variant in variants]).droplevel("dataset")
        table.loc[reference, "difference"] = 0.0
        dots = outcome_dots(table["outcome"])
        seeds = [_seed_means(cases, dataset, variant) for variant in variants]
        dot_rows(scores, [(points.mean(),) * 3 if len(points) else None for points in seeds], dots)
        for at, points in enumerate(seeds):
            if len(points) > 1:
                style = {"color": GREY, "markersize": 3.5, "markeredgewidth": 0.7, "zorder": 2}
                scores.plot(points, np.full(len(points), at + 0.3), "|", **style)
        scores.set_xlabel("DSC, %")
        mark_margin(gaps, margin)
        dot_rows(gaps, spans(table, "difference", "low", "high"), dots, cut=True)
        gaps.set_xlabel("Δ DSC, points")
    title_panels(upper, datasets, titles)
    if single:
        lower[0].set_title("Difference")
    for axes in panels.ravel():
        name_rows(axes, names, ticks=4 if single else 3)
    if side is not None:
        for axes in grid[:, 0]:
            side.draw(axes, variants)
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
    top_legend(figure, handles, title=title, alignment="left")
    return figure


FAMILY_OPTIONS = ("results", "runs", "reference", "margin", "title", "variants")


def render(options: argparse.Namespace, side: Side | None = None) -> None:
    """Write the figure that the options of a family's figure ask for."""
    cases = read_cases(runs_of(options, options.variants))
    shown = (options.variants, options.reference, options.labels, options.title, options.note)
    save(ablation(cases, *shown, side, options.margin), options.output)


def main() -> None:
    render(parse_options(__doc__, *FAMILY_OPTIONS))


if __name__ == "__main__":
    run_command(main)
