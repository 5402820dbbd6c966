"""Figure: a family of variants, DSC with intervals and paired differences to a reference, by dataset and averaged.

python -m pipeline.reporting.figures.ablation
    --runs '["results/runs/busi/telescopic/seed41"]' --variants '["telescopic"]'
    --reference telescopic --title Components --output results/ablation_components.pdf
"""

import argparse
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.evaluation.intervals import SAMPLES, summarise_family
from pipeline.evaluation.readers import (
    AVERAGE,
    add_figure_options,
    dataset_label,
    read_cases,
    variant_label,
)
from pipeline.evaluation.runs import add_run_options, chosen_runs
from pipeline.reporting.figures.dots import differences, interval, not_available, stripe_rows
from pipeline.reporting.style import (
    BLUE,
    COLUMN_WIDTH,
    GREY,
    PAGE_HEIGHT,
    TEXT_WIDTH,
    VERMILLION,
    footer_height,
    legend_columns,
    new_figure,
    save,
    wrap,
)
from pipeline.runtime.errors import run_command

Side = tuple[float, Callable[..., None]]
"""Width in inches of a further column beside the labels, and what draws it into its axes."""


def _seed_means(cases: pd.DataFrame, dataset: str, variant: str) -> np.ndarray:
    """Mean DSC of each seed; for the average, of seeds that every dataset has."""
    rows = cases[cases["variant"] == variant]
    table = rows.pivot_table(index="seed", columns="dataset", values="dsc", aggfunc="mean")
    if dataset == AVERAGE:
        return table.dropna().mean(axis=1).to_numpy()
    return table[dataset].dropna().to_numpy() if dataset in table else np.array([])


def _scores(axes, table: pd.DataFrame, reference: str) -> None:
    """Mean DSC of each row with its interval."""
    for at, row in enumerate(table.to_dict("records")):
        if np.isnan(row["mean"]):
            not_available(axes, at)
            continue
        values = (100 * row["mean"], 100 * row["low"], 100 * row["high"])
        interval(axes, at, values, VERMILLION if row["variant"] == reference else BLUE, filled=True)


def _gaps(axes, table: pd.DataFrame, reference: str) -> None:
    """Difference of each row to the reference with its interval; hollow where that includes zero."""
    axes.axvline(0, color=VERMILLION, linewidth=0.8, zorder=1)
    lines = table.to_dict("records")
    rows = [
        None if np.isnan(line["difference"]) else tuple(100 * line[f"difference{end}"] for end in ("", "_low", "_high"))
        for line in lines
    ]
    names = [line["variant"] for line in lines]
    clear = [
        row is not None and (name == reference or row[1] > 0 or row[2] < 0)
        for row, name in zip(rows, names, strict=True)
    ]
    differences(axes, rows, clear, [VERMILLION if name == reference else BLUE for name in names])


def _legend(several_seeds: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], color=BLUE, marker="o", markersize=4, label="mean, 95% interval over cases"),
        Line2D([], [], color=VERMILLION, marker="o", markersize=4, label="reference"),
        Line2D([], [], color=BLUE, marker="o", markersize=4, markerfacecolor="white", label="interval of Δ includes 0"),
    ]
    if several_seeds:
        handles.insert(1, Line2D([], [], color=GREY, marker="|", linestyle="none", markersize=4, label="one seed"))
    return handles


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
    """Draw it: upper panels DSC, lower panels differences to ``reference``, one column a dataset, the average first.

    Args:
        cases: per-case scores as :func:`pipeline.evaluation.readers.read_cases` gives them.
        variants: rows from top to bottom.
        title: heading of the family, above the legend.
        side: a further column between labels and panels.
        samples: bootstrap resamples.

    Raises:
        PipelineError: ``reference`` is not among ``variants``, no run belongs to them, or cases do not match.
    """
    summary = summarise_family(cases, variants, reference, samples)
    datasets = list(dict.fromkeys(summary["dataset"]))
    if AVERAGE in datasets:
        datasets = [AVERAGE, *(dataset for dataset in datasets if dataset != AVERAGE)]
    single = len(datasets) == 1
    width = COLUMN_WIDTH if single and side is None else TEXT_WIDTH
    names = [wrap(variant_label(labels, variant), 1.4 if width == TEXT_WIDTH else 1.0) for variant in variants]
    lines = max(len(name.splitlines()) for name in names)
    handles = _legend(cases["seed"].nunique() > 1)
    legend_ncols = legend_columns([handle.get_label() for handle in handles], width)
    heading = 0.17 * (-(-len(handles) // legend_ncols) + bool(title)) + 0.1
    margins = 0.2 if not single else 0.15
    blocks = 1 if single else 2
    fitting = (PAGE_HEIGHT - footer_height(note, width) - heading - margins) / blocks - 0.5
    row = min(0.05 + 0.11 * lines, max(0.115 * lines, fitting / len(variants)))
    block = row * len(variants) + 0.1
    # One dataset: DSC and difference side by side; several: one below the other, a column each.
    shape = (blocks, 2 if single else len(datasets))
    figure = new_figure(width, heading + blocks * (block + 0.4) + margins, note)
    extra = 0 if side is None else 1
    panel_width = (width - 1.5) / shape[1]
    ratios = ([side[0]] if side else []) + [panel_width] * shape[1]
    grid = figure.subplots(shape[0], shape[1] + extra, squeeze=False, sharey=True, width_ratios=ratios)
    panels = grid[:, extra:]
    for at, dataset in enumerate(datasets):
        scores, gaps = (panels[0, 0], panels[0, 1]) if single else (panels[0, at], panels[1, at])
        table = summary[summary["dataset"] == dataset]
        _scores(scores, table, reference)
        for position, variant in enumerate(variants):
            points = 100 * _seed_means(cases, dataset, variant)
            if len(points) > 1 and table["mean"].notna().iloc[position]:
                style = {"color": GREY, "markersize": 3.5, "markeredgewidth": 0.7, "zorder": 2}
                scores.plot(points, np.full(len(points), position + 0.3), "|", **style)
        _gaps(gaps, table, reference)
        scores.margins(x=0.12)
        scores.set_title(dataset_label(dataset), weight="bold" if dataset == AVERAGE else "normal")
        if single:
            gaps.set_title("Paired difference")
        scores.set_xlabel("DSC, %")
        gaps.set_xlabel("Δ DSC, points")
    for axes in panels.ravel():
        stripe_rows(axes, names)
        axes.xaxis.set_major_locator(MaxNLocator(3 if not single else 4, min_n_ticks=2))
    if side is not None:
        for axes in grid[:, 0]:
            side[1](axes, variants)
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
    figure.legend(
        handles=handles, loc="outside upper left", ncols=legend_ncols, title=title, alignment="left", columnspacing=1.2
    )
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_family_options(parser)
    arguments = parser.parse_args()
    cases = read_cases([run for run in chosen_runs(arguments) if run.variant in arguments.variants])
    figure = ablation(
        cases,
        arguments.variants,
        arguments.reference,
        arguments.labels,
        arguments.title,
        arguments.note,
        samples=arguments.bootstrap,
    )
    save(figure, arguments.output)


def add_family_options(parser: argparse.ArgumentParser) -> None:
    """The options of a family's figure."""
    add_run_options(parser)
    add_figure_options(parser)
    parser.add_argument("--reference", required=True, help="variant that the others are compared with")
    parser.add_argument("--title", default="", help="heading of the figure")
    parser.add_argument("--bootstrap", type=int, default=SAMPLES, help="resamples for the 95%% intervals")


if __name__ == "__main__":
    run_command(main)
