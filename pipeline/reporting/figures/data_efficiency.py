"""Figure: DSC against the share of the training cases, one line a method."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.evaluation.aggregate import measured
from pipeline.evaluation.readers import AVERAGE, dataset_order, read_cases
from pipeline.reporting.figures.chosen import rows_of, runs_of
from pipeline.reporting.figures.panels import panel_grid, title_panels, wrapped_labels
from pipeline.reporting.options import parse_options
from pipeline.reporting.palette import marks
from pipeline.reporting.style import COLUMN_WIDTH, TEXT_WIDTH, legend_height, new_figure, save, top_legend
from pipeline.runtime.errors import run_command


def _methods(points: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[float, str]]:
    """Variant by share of the training cases (0..1), by method."""
    result: dict[str, dict[float, str]] = {}
    for variant, point in points.items():
        result.setdefault(point["method"], {})[float(point["fraction"])] = variant
    return {method: dict(sorted(shares.items())) for method, shares in result.items()}


def data_efficiency(
    dsc: pd.DataFrame, points: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str], note: str = ""
) -> Figure:
    """DSC (%) by share of the training cases (%, log axis): means over seeds with standard deviations, if any.

    One panel a dataset; if there are several, the average over them comes first.

    Args:
        dsc: columns dataset, variant, seed, dsc (0..1), one row a run.
        points: of each variant its ``method`` (a name for the legend) and ``fraction`` of the training cases (0..1).
        labels: display names of datasets.

    Raises:
        PipelineError: there is no run of any of the variants.
    """
    methods = _methods(points)
    dsc = rows_of(dsc, list(points), "data_efficiency")
    datasets = dataset_order(dsc["dataset"])
    shown = [AVERAGE, *datasets] if len(datasets) > 1 else datasets
    # A method looks as its variant with all cases does in every other figure.
    mark = marks([shares[max(shares)] for shares in methods.values()])
    columns = min(3, len(shown))
    width = COLUMN_WIDTH if columns == 1 else TEXT_WIDTH
    figure = new_figure(width, 0.1 + legend_height(list(methods), width) + 1.95 * math.ceil(len(shown) / columns), note)
    panels = panel_grid(figure, len(shown), columns)
    fractions = sorted({fraction for shares in methods.values() for fraction in shares})
    scores = {variant: measured(dsc, variant, datasets) for variant in points}
    spread = any(score and score.sd for by_dataset in scores.values() for score in by_dataset.values())
    handles = {}
    for axes, dataset in zip(panels.all, shown, strict=True):
        axes.set_xscale("log")
        for method, shares in methods.items():
            found = [(fraction, scores[variant][dataset]) for fraction, variant in shares.items()]
            found = [(fraction, score) for fraction, score in found if score is not None]
            if not found:
                continue
            colour, marker = mark[shares[max(shares)]]
            style = {"color": colour, "marker": marker, "markersize": 3.5, "linewidth": 1}
            x, y = [100 * fraction for fraction, _ in found], [score.mean for _, score in found]
            sd = [score.sd or float("nan") for _, score in found]
            axes.errorbar(x, y, sd, elinewidth=0.8, capsize=2, **style)
            handles[method] = Line2D([], [], label=method, **style)
        axes.grid(True, axis="y")
        axes.set_xticks([100 * fraction for fraction in fractions], [f"{100 * fraction:g}" for fraction in fractions])
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_locator(MaxNLocator(5))
    title_panels(panels.all, shown, wrapped_labels(labels, shown, (width - 0.5) / columns))
    for axes in panels.bottom:
        axes.set_xlabel("Training cases, % (log axis)")
    for axes in panels.left:
        axes.set_ylabel("DSC, % (± SD over seeds)" if spread else "DSC, %")
    top_legend(figure, [handles[method] for method in methods if method in handles])
    return figure


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "points")
    cases = read_cases(runs_of(options, options.points))
    dsc = cases.groupby(["dataset", "variant", "seed"], as_index=False, sort=False)["dsc"].mean()
    save(data_efficiency(dsc, options.points, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
