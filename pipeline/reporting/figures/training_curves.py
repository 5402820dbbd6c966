"""Figure: validation DSC, losses and learning rate by epoch, one column a dataset and one line a variant.

python -m pipeline.reporting.figures.training_curves --runs '["results/runs/busi/telescopic/seed41"]'
    --variants '["telescopic"]' --output results/training_curves.pdf
"""

import argparse
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.evaluation.readers import (
    add_figure_options,
    dataset_label,
    dataset_order,
    read_table,
    variant_label,
)
from pipeline.evaluation.runs import Run, add_run_options, chosen_runs
from pipeline.reporting.style import COLUMN_WIDTH, TEXT_WIDTH, legend_columns, looks, new_figure, save
from pipeline.runtime.errors import PipelineError, run_command

QUANTITIES = {
    "val_dsc": "Validation\nDSC, %",
    "val_loss": "Validation\nloss",
    "train_loss": "Training\nloss",
    "learning_rate": "Learning\nrate",
}


def _histories(runs: Sequence[Run]) -> dict[tuple[str, str], list[pd.DataFrame]]:
    """History of each run that trained, by dataset and variant."""
    result: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for run in runs:
        history = read_table(run.folder / "history.csv", ["epoch", *QUANTITIES])
        if len(history):
            result.setdefault((run.dataset, run.variant), []).append(history.set_index("epoch"))
    return result


def _draw(axes, histories: Sequence[pd.DataFrame], quantity: str, colour: str) -> None:
    factor = 100 if quantity == "val_dsc" else 1
    table = factor * pd.concat([history[quantity] for history in histories], axis=1)
    # A mean over fewer seeds would jump where one stops early: from there on each seed has its own thin line.
    common = table.dropna()
    style = "steps-post" if quantity == "learning_rate" else "default"
    axes.plot(common.index, common.mean(axis=1), color=colour, linewidth=1.1, drawstyle=style)
    if table.shape[1] > 1:
        axes.fill_between(common.index, common.min(axis=1), common.max(axis=1), color=colour, alpha=0.22, linewidth=0)
        for column in range(table.shape[1]):
            rest = table.iloc[max(0, len(common) - 1) :, column].dropna()
            axes.plot(rest.index, rest, color=colour, linewidth=0.4, alpha=0.8, drawstyle=style)


def training_curves(runs: Sequence[Run], variants: Sequence[str], labels: Mapping[str, str], note: str = "") -> Figure:
    """Draw it: lines are means over seeds, bands their range; variants that train nothing have no line.

    Raises:
        PipelineError: a history is missing or damaged, or none of the runs trained.
    """
    histories = _histories([run for run in runs if run.variant in variants])
    if not histories:
        raise PipelineError("none of the runs has a training history; give runs of variants that train")
    datasets = dataset_order(dataset for dataset, _ in histories)
    drawn = [variant for variant in variants if any(variant == name for _, name in histories)]
    look = looks(variants)
    width = TEXT_WIDTH if len(datasets) > 1 else COLUMN_WIDTH
    names = [variant_label(labels, variant) for variant in drawn]
    columns = legend_columns(names, width)
    height = 0.95 * len(QUANTITIES) + 0.35 + 0.14 * -(-len(drawn) // columns)
    figure = new_figure(width, height, note)
    panels = figure.subplots(len(QUANTITIES), len(datasets), squeeze=False, sharex="col", sharey="row")
    for row, (quantity, name) in enumerate(QUANTITIES.items()):
        panels[row, 0].set_ylabel(name)
        for axes, dataset in zip(panels[row], datasets, strict=True):
            axes.grid(True, axis="y")
            for variant in drawn:
                if (dataset, variant) in histories:
                    _draw(axes, histories[dataset, variant], quantity, look[variant].colour)
        _scale(panels[row], quantity, [history for group in histories.values() for history in group])
    for axes, dataset in zip(panels[0], datasets, strict=True):
        axes.set_title(dataset_label(dataset))
    for axes in panels[-1]:
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.align_ylabels(panels[:, 0])
    handles = [
        Line2D([], [], color=look[variant].colour, label=label) for variant, label in zip(drawn, names, strict=True)
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, columnspacing=1.2)
    return figure


def _power(value: float, _: int) -> str:
    """``0.0003`` as ``3e-4``."""
    exponent = math.floor(math.log10(value) + 1e-9)
    return f"{value / 10**exponent:.0f}e{exponent}"


def _scale(panels, quantity: str, histories: Sequence[pd.DataFrame]) -> None:
    values = np.concatenate([history[quantity].to_numpy(dtype=float) for history in histories])
    values = values[np.isfinite(values)] * (100 if quantity == "val_dsc" else 1)
    if not len(values):
        return
    if quantity == "learning_rate" and (values > 0).all():
        axis = panels[0].yaxis
        panels[0].set_yscale("log")
        panels[0].set_ylim(values.min() / 1.6, values.max() * 1.6)
        axis.set_major_locator(LogLocator(subs=(1, 3) if values.max() / values.min() < 50 else (1,)))
        axis.set_major_formatter(FuncFormatter(_power))
        axis.set_minor_locator(NullLocator())
        return
    # The first epochs may be far from the rest and would flatten everything else.
    low, high = np.nanquantile(values, [0.04, 1.0] if quantity == "val_dsc" else [0.0, 0.97])
    margin = 0.06 * max(high - low, 1e-6)
    panels[0].set_ylim(low - margin, high + margin)
    panels[0].yaxis.set_major_locator(MaxNLocator(4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_options(parser)
    add_figure_options(parser)
    arguments = parser.parse_args()
    save(
        training_curves(chosen_runs(arguments), arguments.variants, arguments.labels, arguments.note), arguments.output
    )


if __name__ == "__main__":
    run_command(main)
