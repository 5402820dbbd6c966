"""Figure: DSC against the share of the training cases, one line a method.

python -m pipeline.reporting.figures.data_efficiency --runs '["results/runs/busi/lora_data_05/seed41"]'
    --points '{"lora_data_05": {"method": "LoRA", "fraction": 0.05}}' --output results/data_efficiency.pdf
"""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from pipeline.evaluation.aggregate import measured
from pipeline.evaluation.readers import (
    AVERAGE,
    FIGURE_SUFFIXES,
    add_output,
    dataset_label,
    dataset_order,
    json_value,
    read_cases,
)
from pipeline.evaluation.runs import add_run_options, chosen_runs
from pipeline.reporting.style import COLUMN_WIDTH, TEXT_WIDTH, legend_columns, looks, new_figure, save
from pipeline.runtime.errors import PipelineError, run_command

SPREAD = 0.05
"""How far the methods stand apart at one share, as a part of a factor of e: error bars must not hide each other."""


def _methods(points: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[float, str]]:
    """Variant by share of the training cases (0..1), by method."""
    result: dict[str, dict[float, str]] = {}
    for variant, point in points.items():
        if not {"method", "fraction"} <= set(point) or not 0 < point["fraction"] <= 1:
            raise PipelineError(f"--points: {variant}: give method and fraction (above 0, at most 1); found {point}")
        result.setdefault(point["method"], {})[float(point["fraction"])] = variant
    return {method: dict(sorted(shares.items())) for method, shares in result.items()}


def data_efficiency(dsc: pd.DataFrame, points: Mapping[str, Mapping[str, Any]], note: str = "") -> Figure:
    """Draw it: means over seeds with standard deviations; the average over datasets first, if there are several.

    Args:
        dsc: columns dataset, variant, seed, dsc (0..1), one row a run.
        points: of each variant its ``method`` (a name for the legend) and ``fraction`` of the training cases (0..1).

    Raises:
        PipelineError: a point is incomplete, or there is no run of any of the variants.
    """
    methods = _methods(points)
    dsc = dsc[dsc["variant"].isin(points)]
    datasets = dataset_order(dsc["dataset"])
    if not datasets:
        raise PipelineError("data_efficiency: none of the runs belongs to the variants of --points")
    panels_of = [AVERAGE, *datasets] if len(datasets) > 1 else datasets
    # A method looks as its variant with all cases does in every other figure.
    look = looks([shares[max(shares)] for shares in methods.values()])
    columns = min(3, len(panels_of))
    rows = -(-len(panels_of) // columns)
    width = COLUMN_WIDTH if columns == 1 else TEXT_WIDTH
    legend = legend_columns(list(methods), width)
    figure = new_figure(width, 0.1 + 0.15 * -(-len(methods) // legend) + rows * 1.95, note)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(panels_of) :]:
        axes.remove()
    fractions = sorted({fraction for shares in methods.values() for fraction in shares})
    scores = {variant: measured(dsc, variant, datasets) for variant in points}
    for axes, dataset in zip(panels, panels_of, strict=False):
        axes.set_xscale("log")
        for at, (method, shares) in enumerate(methods.items()):
            shift = np.exp(SPREAD * (at - (len(methods) - 1) / 2))
            found = [(fraction, scores[variant][dataset]) for fraction, variant in shares.items()]
            found = [(fraction, score) for fraction, score in found if score is not None]
            if not found:
                continue
            style = look[shares[max(shares)]]
            axes.errorbar(
                [100 * fraction * shift for fraction, _ in found],
                [score.mean for _, score in found],
                [score.sd or 0 for _, score in found],
                color=style.colour,
                marker=style.marker,
                markersize=3.5,
                linewidth=1,
                elinewidth=0.8,
                capsize=1.5,
                label=method,
            )
        axes.grid(True, axis="y")
        axes.set_title(dataset_label(dataset), weight="bold" if dataset == AVERAGE else "normal")
        axes.xaxis.set_major_locator(FixedLocator([100 * fraction for fraction in fractions]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
    for index in range(len(panels_of)):
        if index + columns >= len(panels_of):
            panels[index].set_xlabel("Training cases, % (log axis)")
        if index % columns == 0:
            panels[index].set_ylabel("DSC, %")
    # The first panel may lack a method that another has.
    entries = {
        label: handle
        for axes in panels[: len(panels_of)]
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(entries.values(), entries.keys(), loc="outside upper left", ncols=legend, columnspacing=1.2)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_options(parser)
    parser.add_argument(
        "--points",
        type=json_value("--points", dict),
        required=True,
        help="JSON object: method and fraction of each variant",
    )
    add_output(parser, FIGURE_SUFFIXES)
    arguments = parser.parse_args()
    cases = read_cases([run for run in chosen_runs(arguments) if run.variant in arguments.points])
    dsc = cases.groupby(["dataset", "variant", "seed"], as_index=False)["dsc"].mean()
    save(data_efficiency(dsc, arguments.points, arguments.note), arguments.output)


if __name__ == "__main__":
    run_command(main)
