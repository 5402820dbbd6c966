"""Figure: DSC against trained parameters, with the Pareto front.

python -m pipeline.reporting.figures.pareto --dsc results/dsc.csv --cost results/cost.csv --reported reported.csv
    --variants '["zero_shot", "telescopic"]' --output results/pareto.pdf
"""

import argparse
import itertools
import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from pipeline.evaluation.aggregate import measured, reported, reported_parameters
from pipeline.evaluation.readers import (
    AVERAGE,
    REPORTED_ONLY,
    add_figure_options,
    dataset_label,
    dataset_order,
    read_cost,
    read_dsc,
    read_reported,
    variant_label,
)
from pipeline.reporting.style import BLACK, GREY, TEXT_WIDTH, PointLabel, label_points, looks, new_figure, save
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.progress import log


def count(value: float) -> str:
    """``613297`` as ``613k``, ``1127009`` as ``1.13M``, zero as ``0``."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit * 0.9995:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both fewer parameters (first) and higher DSC (second), by parameters."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best


def _staircase(points: Sequence[tuple[float, float]], right: float) -> list[tuple[float, float]]:
    """The front as a polyline that ends at ``right``."""
    line: list[tuple[float, float]] = []
    for x, y in front(points):
        if line:
            line.append((x, line[-1][1]))
        line.append((x, y))
    return [*line, (right, line[-1][1])]


def _parts(values: Sequence[float]) -> list[tuple[float, float]]:
    """Ranges of the vertical axis, top first: two where a gap takes more than a third of the range, else one."""
    ordered = sorted(values)
    span = ordered[-1] - ordered[0]
    gaps = [(high - low, low, high) for low, high in itertools.pairwise(ordered)]
    margin = max(1.0, 0.05 * span)
    if gaps and span > 20 and max(gaps)[0] > span / 3:
        _, low, high = max(gaps)
        margin = max(1.0, 0.08 * max(ordered[-1] - high, low - ordered[0]))
        return [(high - margin, ordered[-1] + margin), (ordered[0] - margin, low + margin)]
    return [(ordered[0] - margin, ordered[-1] + margin)]


def pareto(
    dsc: pd.DataFrame,
    cost: pd.DataFrame,
    reported_table: pd.DataFrame,
    variants: Sequence[str],
    labels: Mapping[str, str],
    note: str = "",
) -> Figure:
    """Draw it.

    Args:
        dsc: as dsc.csv. cost: as cost.csv, by variant. reported_table: as reported.csv.
        variants: measured variants; one that lacks a dataset is left out, which the log says.
        labels: names of variants.
        note: provenance.
    """
    datasets = dataset_order(dsc.loc[dsc["variant"].isin(variants), "dataset"])
    look = looks([*variants, *REPORTED_ONLY])
    ours: dict[str, tuple[float, float, float | None]] = {}
    for variant in variants:
        score = measured(dsc, variant, datasets)[AVERAGE]
        if score is None or variant not in cost.index:
            reason = f"no run on some of {', '.join(datasets)}" if score is None else "no row in cost.csv"
            log(f"pareto: {variant} left out: {reason}")
            continue
        ours[variant] = (float(cost.loc[variant, "trainable_parameters"]), score.mean, score.sd)
    if not ours:
        raise PipelineError("pareto: no variant has a run on every dataset and a row in cost.csv; nothing to draw")
    theirs: dict[str, tuple[float, float]] = {}
    for method in dict.fromkeys([*variants, *REPORTED_ONLY]):
        value, parameters = reported(reported_table, method, AVERAGE), reported_parameters(reported_table, method)
        if value is not None and value.source == "paper" and parameters is not None:
            theirs[method] = (float(parameters), value.value)

    lows = [y - (sd or 0) for _, y, sd in ours.values()] + [y for _, y in theirs.values()]
    highs = [y + (sd or 0) for _, y, sd in ours.values()] + [y for _, y in theirs.values()]
    parts = _parts(lows + highs)
    largest = max([x for x, *_ in ours.values()] + [x for x, _ in theirs.values()])
    smallest = min([x for x, *_ in ours.values() if x > 0] + [x for x, _ in theirs.values() if x > 0], default=1.0)
    decade = max(0, math.floor(math.log10(smallest)))
    last = max(decade + 1, math.floor(math.log10(max(largest, 1.0))))
    right = max(largest, 10**last) * 3

    figure = new_figure(TEXT_WIDTH, 3.7, note)
    spans = [high - low for low, high in parts]
    shares = [max(span, 0.22 * max(spans)) for span in spans]
    panels = figure.subplots(len(parts), 1, sharex=True, squeeze=False, height_ratios=shares)[:, 0]
    fronts = [_staircase([(x, y) for x, y, _ in ours.values()], right)]
    if theirs:
        fronts.append(_staircase(list(theirs.values()), right))
    for axes, (low, high) in zip(panels, parts, strict=True):
        axes.grid(True, axis="y")
        axes.set_xscale("symlog", linthresh=10**decade, linscale=0.6)
        axes.set_xlim(-(10**decade) * 0.3, right)
        axes.set_ylim(max(0, low) if low > -5 else low, high)
        axes.yaxis.set_major_locator(MaxNLocator(7 if high - low >= 0.5 * max(spans) else 2, min_n_ticks=1))
        for line, style, colour in zip(fronts, ("-", ":"), (BLACK, GREY), strict=False):
            axes.plot(*zip(*line, strict=True), linestyle=style, color=colour, linewidth=0.8, zorder=1)
        for method, (x, y) in theirs.items():
            axes.plot(x, y, look[method].marker, markeredgecolor=look[method].colour, markerfacecolor="white", zorder=2)
        for variant, (x, y, sd) in ours.items():
            style = {"color": look[variant].colour, "markersize": 5.5, "capsize": 2, "elinewidth": 0.8}
            axes.errorbar(x, y, sd, fmt=look[variant].marker, zorder=3, **style)
    for axes in panels[:-1]:
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="x", bottom=False)
    if len(panels) > 1:
        slant = {
            "marker": [(-1, -0.6), (1, 0.6)],
            "markersize": 6,
            "linestyle": "none",
            "color": BLACK,
            "clip_on": False,
        }
        panels[0].plot([0], [0], transform=panels[0].transAxes, **slant)
        panels[1].plot([0], [1], transform=panels[1].transAxes, **slant)
    bottom = panels[-1]
    bottom.xaxis.set_major_locator(FixedLocator([0, *(10**power for power in range(decade, last + 1))]))
    bottom.xaxis.set_minor_locator(NullLocator())
    bottom.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    bottom.set_xlabel("Trained parameters (symmetric log axis)")
    over = f"mean over {len(datasets)} datasets" if len(datasets) > 1 else dataset_label(datasets[0])
    panels[0].set_ylabel(f"DSC, % ({over})")
    style = {"marker": "o", "linewidth": 0.8}
    handles = [
        Line2D([], [], color=BLACK, linestyle="-", label="measured (± sd over seeds) and its front", **style),
        Line2D([], [], color=GREY, markerfacecolor="white", linestyle=":", label="reported and its front", **style),
    ]
    panels[0].legend(handles=handles if theirs else handles[:1], loc="lower left", bbox_to_anchor=(0, 1), ncols=2)

    texts = [PointLabel(x, y, variant_label(labels, variant)) for variant, (x, y, _) in ours.items()]
    named = set(ours)
    texts += [
        PointLabel(*point, f"{variant_label(labels, method)}, reported", "#5A5A5A")
        for method, point in theirs.items()
        if method not in named
    ]
    others = [point for method, point in theirs.items() if method in named]
    bars = [[(x, y - sd), (x, y + sd)] for x, y, sd in ours.values() if sd]
    for axes, (low, high) in zip(panels, parts, strict=True):
        label_points(
            axes,
            [text for text in texts if low <= text.y <= high],
            [point for point in others if low <= point[1] <= high],
            [*fronts, *bars],
        )
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsc", required=True, help="dsc.csv")
    parser.add_argument("--cost", required=True, help="cost.csv")
    parser.add_argument("--reported", required=True, help="reported.csv")
    add_figure_options(parser)
    arguments = parser.parse_args()
    figure = pareto(
        read_dsc(arguments.dsc),
        read_cost(arguments.cost),
        read_reported(arguments.reported),
        arguments.variants,
        arguments.labels,
        arguments.note,
    )
    save(figure, arguments.output)


if __name__ == "__main__":
    run_command(main)
