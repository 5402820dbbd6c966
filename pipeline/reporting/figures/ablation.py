"""Figure: a family of variants, DSC with intervals and paired differences to a reference, by dataset and averaged."""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.evaluation.intervals import SAMPLES, summarise_family
from pipeline.evaluation.readers import AVERAGE, read_cases
from pipeline.reporting.figures.chosen import runs_of
from pipeline.reporting.figures.dots import dot_rows, key, name_rows, spans
from pipeline.reporting.figures.panels import average_first, title_panels, wrapped_labels
from pipeline.reporting.lettering import line_count
from pipeline.reporting.options import parse_options
from pipeline.reporting.palette import BLUE, GREY, VERMILLION
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
from pipeline.runtime.errors import run_command


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
    samples: int = SAMPLES,
) -> Figure:
    """Mean DSC (%) of each variant over cases, and its paired difference to ``reference`` (DSC points), with intervals.

    Upper panels hold DSC, with a stroke for each seed where there are several, lower panels differences; one column a
    dataset, the average first. A single dataset has them side by side.

    Args:
        cases: per-case scores as :func:`pipeline.evaluation.readers.read_cases` gives them.
        variants: rows from top to bottom.
        labels: display names of variants and datasets.
        title: heading of the family, above the legend.
        side: a further column between labels and panels.
        samples: bootstrap resamples.

    Raises:
        PipelineError: ``reference`` is not among ``variants``, no run belongs to them, or cases do not match.
    """
    summary = summarise_family(cases, variants, reference, samples).set_index(["dataset", "variant"]) * 100
    datasets = average_first(dict.fromkeys(summary.index.get_level_values("dataset")))
    single = len(datasets) == 1
    width = COLUMN_WIDTH if single and side is None else TEXT_WIDTH
    rows, columns = (1, 2) if single else (2, len(datasets))
    panel_width = (width - 1.5) / columns
    titles = wrapped_labels(labels, datasets, panel_width)
    names = wrapped_labels(labels, variants, 1.4 if width == TEXT_WIDTH else 1.0)
    lines = line_count(names)
    handles = [
        key("mean, 95% interval over cases", BLUE),
        key("reference", VERMILLION),
        key("interval of Δ includes 0", BLUE, filled=False),
    ]
    if cases["seed"].nunique() > 1:
        handles.insert(1, Line2D([], [], color=GREY, marker="|", linestyle="none", markersize=4, label="one seed"))
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
    colours = [VERMILLION if variant == reference else BLUE for variant in variants]
    for scores, gaps, dataset in zip(upper, lower, datasets, strict=True):
        table = summary.loc[dataset].loc[list(variants)]
        means = spans(table, "mean", "low", "high")
        differences = spans(table, "difference", "difference_low", "difference_high")
        # The reference's own interval is zero throughout.
        clear = (table["difference_low"] > 0) | (table["difference_high"] < 0) | (table.index == reference)
        dot_rows(scores, means, colours)
        for at, (variant, mean) in enumerate(zip(variants, means, strict=True)):
            points = _seed_means(cases, dataset, variant)
            if len(points) > 1 and mean is not None:
                style = {"color": GREY, "markersize": 3.5, "markeredgewidth": 0.7, "zorder": 2}
                scores.plot(points, np.full(len(points), at + 0.3), "|", **style)
        scores.set_xlabel("DSC, %")
        gaps.axvline(0, color=VERMILLION, linewidth=0.8, zorder=1)
        dot_rows(gaps, differences, colours, list(clear), cut=True)
        gaps.set_xlabel("Δ DSC, points")
    title_panels(upper, datasets, titles)
    if single:
        lower[0].set_title("Paired difference")
    for axes in panels.ravel():
        name_rows(axes, names, ticks=4 if single else 3)
    if side is not None:
        for axes in grid[:, 0]:
            side.draw(axes, variants)
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
    top_legend(figure, handles, title=title, alignment="left")
    return figure


FAMILY_OPTIONS = ("results", "runs", "reference", "bootstrap", "title", "variants")


def render(options: argparse.Namespace, side: Side | None = None) -> None:
    """Write the figure that the options of a family's figure ask for."""
    cases = read_cases(runs_of(options, options.variants))
    shown = (options.variants, options.reference, options.labels, options.title, options.note)
    save(ablation(cases, *shown, side, options.bootstrap), options.output)


def main() -> None:
    render(parse_options(__doc__, *FAMILY_OPTIONS))


if __name__ == "__main__":
    run_command(main)
