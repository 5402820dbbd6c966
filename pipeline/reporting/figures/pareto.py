"""Figure: DSC against trained parameters, with the Pareto front."""

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.evaluation.aggregate import front, measured, reported, reported_parameters
from pipeline.evaluation.readers import AVERAGE, dataset_order, read_cost, read_dsc, read_reported
from pipeline.reporting.formats import si
from pipeline.reporting.lettering import FONT_SIZE
from pipeline.reporting.options import REPORTED_ONLY, label, parse_options
from pipeline.reporting.palette import BLACK, GREY, Mark, marks
from pipeline.reporting.style import TEXT_WIDTH, legend_height, new_figure, save, top_legend
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.progress import log


class Point(NamedTuple):
    """A method: trained parameters, DSC (%) and its standard deviation over seeds, 0 where there is none."""

    x: float
    y: float
    sd: float = 0.0


def parts_of(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Ranges of the vertical axis, top first: two where a gap takes more than a third of the range, else one."""
    ordered = sorted(end for _, y, sd in points for end in (y - sd, y + sd))
    low, high = ordered[0], ordered[-1]
    _, below, above = max((upper - lower, lower, upper) for lower, upper in itertools.pairwise(ordered))
    if high - low > 20 and above - below > (high - low) / 3:
        margin = max(1.0, 0.08 * max(high - above, below - low))
        return [(above - margin, high + margin), (low - margin, below + margin)]
    margin = max(1.0, 0.05 * (high - low))
    return [(low - margin, high + margin)]


def _measured_points(
    dsc: pd.DataFrame, cost: pd.DataFrame, variants: Sequence[str], datasets: Sequence[str]
) -> dict[str, Point]:
    """The point of each of ``variants``; one that lacks a dataset or its cost is left out, which the log says."""
    points = {}
    for variant in variants:
        score = measured(dsc, variant, datasets)[AVERAGE]
        if score is None or variant not in cost.index:
            reason = f"no run on some of {', '.join(datasets)}" if score is None else "no row in cost.csv"
            log(f"pareto: {variant} left out: {reason}")
            continue
        points[variant] = Point(float(cost.loc[variant, "trainable_parameters"]), score.mean, score.sd or 0.0)
    if not points:
        raise PipelineError("pareto: no variant has a run on every dataset and a row in cost.csv; nothing to draw")
    return points


def _reported_points(table: pd.DataFrame | None, methods: Sequence[str]) -> dict[str, Point]:
    """The point of each of ``methods`` whose average DSC and parameters the paper states."""
    points = {}
    for method in methods if table is not None else ():
        score, parameters = reported(table, method, AVERAGE), reported_parameters(table, method)
        if score is not None and score.source == "paper" and parameters is not None:
            points[method] = Point(float(parameters), score.value)
    return points


def _keys(
    ours: Collection[str], published: Collection[str], spread: bool, mark: Mapping[str, Mark], labels: Mapping[str, str]
) -> list[Line2D]:
    """Entries of the legend: both fronts, then the methods; a method that is measured and reported has one."""
    style = {"marker": "o", "linewidth": 0.8}
    text = "measured (± SD over seeds)" if spread else "measured"
    keys = [Line2D([], [], color=BLACK, linestyle="-", label=f"{text} and its front", **style)]
    if published:
        hollow = {"color": GREY, "markerfacecolor": "white", "linestyle": ":"}
        keys.append(Line2D([], [], label="reported and its front", **hollow, **style))
    for method in dict.fromkeys([*ours, *published]):
        colour, marker = mark[method]
        face, text = (colour, "") if method in ours else ("white", ", reported")
        style = {"color": colour, "marker": marker, "markerfacecolor": face, "linestyle": "none"}
        keys.append(Line2D([], [], label=f"{label(labels, method)}{text}", **style))
    return keys


def scale_parameters(panels: Sequence[Axes], values: Sequence[float]) -> float:
    """A symmetric log axis from zero with a tick at each power of ten that ``values`` span; returns its right end."""
    decade = max(0, math.floor(math.log10(min((value for value in values if value > 0), default=1.0))))
    last = max(decade + 1, math.floor(math.log10(max(*values, 1.0))))
    right = 3 * max(*values, 10**last)
    for axes in panels:
        axes.set_xscale("symlog", linthresh=10**decade, linscale=0.6)
        axes.set_xlim(-(10**decade) * 0.3, right)
    ticks = [0, *(10**power for power in range(decade, last + 1))]
    panels[-1].set_xticks(ticks, map(si, ticks))
    panels[-1].set_xticks([], minor=True)
    return right


def broken_panels(figure: Figure, parts: Sequence[tuple[float, float]], widths: Sequence[float] = (1,)) -> NDArray[Any]:
    """A row of panels for each of ``parts`` (top first), columns of relative ``widths``, with the marks of breaks."""
    spans = [high - low for low, high in parts]
    shares = [max(span, 0.22 * max(spans)) for span in spans]
    grid = {"sharex": "col", "sharey": "row", "squeeze": False, "height_ratios": shares, "width_ratios": widths}
    panels = figure.subplots(len(parts), len(widths), **grid)
    for row, (low, high) in zip(panels, parts, strict=True):
        for axes in row:
            axes.grid(True, axis="y")
            axes.set_ylim(max(0, low) if low > -5 else low, high)
            ticks = max(2, round(7 * (high - low) / max(spans)))
            axes.yaxis.set_major_locator(MaxNLocator(ticks, steps=(1, 2, 5, 10), min_n_ticks=1))
    for upper, lower in zip(*panels, strict=True) if len(panels) > 1 else ():
        upper.spines["bottom"].set_visible(False)
        upper.tick_params(axis="x", bottom=False)
        slant = {"marker": [(-1, -0.6), (1, 0.6)], "markersize": 6, "linestyle": "none", "color": BLACK}
        upper.plot([0], [0], transform=upper.transAxes, clip_on=False, **slant)
        lower.plot([0], [1], transform=lower.transAxes, clip_on=False, **slant)
    return panels


def draw_front(
    panels: Sequence[Axes], points: Mapping[str, Point], right: float, style: str = "-", colour: str = BLACK
) -> None:
    """The front of ``points`` as a step line that ends at ``right``; nothing without points."""
    if points:
        line = front([point[:2] for point in points.values()])
        steps = tuple(zip(*line, (right, line[-1][1]), strict=True))
        for axes in panels:
            axes.plot(*steps, drawstyle="steps-post", linestyle=style, color=colour, linewidth=0.8, zorder=1)


def draw_points(panels: Sequence[Axes], points: Mapping[str, Point], mark: Mapping[str, Mark]) -> None:
    """Measured points with their standard deviations."""
    for axes in panels:
        for variant, (x, y, sd) in points.items():
            style = {"color": mark[variant].colour, "markersize": 5.5, "capsize": 2, "elinewidth": 0.8}
            axes.errorbar(x, y, sd or None, fmt=mark[variant].marker, zorder=3, **style)


def pareto(
    dsc: pd.DataFrame,
    cost: pd.DataFrame,
    reported_table: pd.DataFrame | None,
    variants: Sequence[str],
    labels: Mapping[str, str],
    note: str = "",
) -> Figure:
    """DSC (%), averaged over datasets, against trained parameters (symmetric log axis), measured and reported.

    Lines are the fronts of both; the vertical axis is broken where a gap would take most of it.

    Args:
        dsc: as dsc.csv.
        cost: as cost.csv, by variant.
        reported_table: as reported.csv; without it no reported point is shown.
        variants: measured variants; one that lacks a dataset is left out, which the log says.
        labels: display names of variants and datasets.

    Raises:
        PipelineError: no variant is complete.
    """
    datasets = dataset_order(dsc.loc[dsc["variant"].isin(variants), "dataset"])
    methods = list(dict.fromkeys([*variants, *REPORTED_ONLY]))
    mark = marks(methods)
    ours, published = _measured_points(dsc, cost, variants, datasets), _reported_points(reported_table, methods)
    points = [*ours.values(), *published.values()]
    parts = parts_of(points)

    handles = _keys(ours, published, any(point.sd for point in ours.values()), mark, labels)
    legend = legend_height([handle.get_label() for handle in handles], TEXT_WIDTH)
    figure = new_figure(TEXT_WIDTH, 3.2 + legend, note)
    panels = broken_panels(figure, parts)[:, 0]
    right = scale_parameters(panels, [point.x for point in points])
    draw_front(panels, ours, right)
    draw_front(panels, published, right, ":", GREY)
    for axes in panels:
        for method, (x, y, _) in published.items():
            axes.plot(x, y, mark[method].marker, markeredgecolor=mark[method].colour, markerfacecolor="white", zorder=2)
    draw_points(panels, ours, mark)
    panels[-1].set_xlabel("Trained parameters (symmetric log axis)")
    over = f"mean over {len(datasets)} datasets" if len(datasets) > 1 else label(labels, datasets[0])
    figure.supylabel(f"DSC, % ({over})", fontsize=FONT_SIZE)
    top_legend(figure, handles)
    return figure


def main() -> None:
    options = parse_options(__doc__, "dsc", "cost", "published", "variants")
    published = read_reported(options.published) if options.published else None
    dsc, cost = read_dsc(options.dsc), read_cost(options.cost)
    save(pareto(dsc, cost, published, options.variants, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
