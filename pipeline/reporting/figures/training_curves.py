"""Figure: validation DSC, losses and learning rate by epoch, one column a dataset and one line a variant."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.evaluation.readers import dataset_order, read_table
from pipeline.evaluation.runs import Run
from pipeline.reporting.figures.chosen import runs_of
from pipeline.reporting.figures.panels import title_panels, wrapped_labels
from pipeline.reporting.lettering import line_count
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.palette import GREY, marks
from pipeline.reporting.style import COLUMN_WIDTH, TEXT_WIDTH, legend_height, new_figure, save, top_legend
from pipeline.runtime.errors import PipelineError, run_command

QUANTITIES = {
    "val_dsc": "Validation\nDSC, %",
    "val_loss": "Validation\nloss",
    "train_loss": "Training\nloss",
    "learning_rate": "Learning\nrate",
}


def read_histories(runs: Sequence[Run]) -> dict[tuple[str, str], list[pd.DataFrame]]:
    """history.csv of each run that trained, by epoch, for each dataset and variant; validation DSC in percent.

    Raises:
        PipelineError: a history is missing or broken.
    """
    result: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for run in runs:
        history = read_table(run.folder / "history.csv", ["epoch", *QUANTITIES])
        if len(history):
            history["val_dsc"] *= 100
            result.setdefault((run.dataset, run.variant), []).append(history.set_index("epoch"))
    return result


def _draw(axes: Axes, histories: Sequence[pd.DataFrame], quantity: str, colour: str) -> None:
    """``quantity`` by epoch: the mean over seeds in their range."""
    table = pd.concat([history[quantity] for history in histories], axis=1)
    # A mean over fewer seeds would jump where one stops early: from there on each seed has its own thin line.
    common = table.dropna()
    style = {"color": colour, "drawstyle": "steps-post" if quantity == "learning_rate" else "default"}
    axes.plot(common.index, common.mean(axis=1), linewidth=1.1, **style)
    if table.shape[1] > 1:
        axes.fill_between(common.index, common.min(axis=1), common.max(axis=1), color=colour, alpha=0.22, linewidth=0)
        for column in range(table.shape[1]):
            rest = table.iloc[max(0, len(common) - 1) :, column].dropna()
            axes.plot(rest.index, rest, linewidth=0.4, alpha=0.8, **style)


def training_curves(
    histories: Mapping[tuple[str, str], Sequence[pd.DataFrame]],
    variants: Sequence[str],
    labels: Mapping[str, str],
    note: str = "",
) -> Figure:
    """Validation DSC (%), losses and learning rate by epoch: lines are means over seeds, bands their range.

    Args:
        histories: as :func:`read_histories` gives them; variants that train nothing have none, and no line.
        variants: in the legend's order.
        labels: display names of variants and datasets.

    Raises:
        PipelineError: there is no history.
    """
    if not histories:
        raise PipelineError("none of the runs has a training history; give runs of variants that train")
    datasets = dataset_order(dataset for dataset, _ in histories)
    drawn = [variant for variant in variants if any(variant == name for _, name in histories)]
    mark = marks(variants)
    width = TEXT_WIDTH if len(datasets) > 1 else COLUMN_WIDTH
    titles = wrapped_labels(labels, datasets, (width - 0.6) / len(datasets))
    handles = [Line2D([], [], color=mark[variant].colour, label=label(labels, variant)) for variant in drawn]
    lengths = [{len(history) for history in group} for group in histories.values() if len(group) > 1]
    if lengths:
        handles.append(Patch(color=GREY, alpha=0.3, linewidth=0, label="range over seeds"))
    if any(len(found) > 1 for found in lengths):
        handles.append(Line2D([], [], color=GREY, linewidth=0.4, label="one seed, where others have stopped"))
    legend = legend_height([handle.get_label() for handle in handles], width)
    figure = new_figure(width, 0.95 * len(QUANTITIES) + 0.23 + 0.12 * line_count(titles) + legend, note)
    panels = figure.subplots(len(QUANTITIES), len(datasets), squeeze=False, sharex="col", sharey="row")
    for row, (quantity, name) in zip(panels, QUANTITIES.items(), strict=True):
        row[0].set_ylabel(name)
        for axes, dataset in zip(row, datasets, strict=True):
            axes.grid(True, axis="y")
            for variant in drawn:
                if (dataset, variant) in histories:
                    _draw(axes, histories[dataset, variant], quantity, mark[variant].colour)
        _scale(row[0], quantity, np.concatenate([run[quantity] for group in histories.values() for run in group]))
    title_panels(panels[0], datasets, titles)
    for axes in panels[-1]:
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.align_ylabels(panels[:, 0])
    top_legend(figure, handles)
    return figure


def _power(value: float, _: int) -> str:
    """``0.0003`` as ``3e-4``."""
    exponent = math.floor(math.log10(value) + 1e-9)
    return f"{value / 10**exponent:.0f}e{exponent}"


def _scale(axes: Axes, quantity: str, values: np.ndarray) -> None:
    """The vertical axis of a row: limits that fit all ``values`` but outliers, logarithmic for learning rates."""
    values = values[np.isfinite(values)]
    if not len(values):
        return
    if quantity == "learning_rate" and (values > 0).all():
        axes.set_yscale("log")
        axes.set_ylim(values.min() / 1.6, values.max() * 1.6)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3) if values.max() / values.min() < 50 else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(_power))
        axes.yaxis.set_minor_locator(NullLocator())
        return
    # The first epochs may be far from the rest and would flatten everything else.
    low, high = np.nanquantile(values, [0.04, 1.0] if quantity == "val_dsc" else [0.0, 0.97])
    margin = 0.06 * max(high - low, 1e-6)
    axes.set_ylim(low - margin, high + margin)
    axes.yaxis.set_major_locator(MaxNLocator(4))


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "variants")
    histories = read_histories(runs_of(options, options.variants))
    save(training_curves(histories, options.variants, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
