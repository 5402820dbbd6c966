"""Figure: validation DSC of the trials of each method against its learning rate, and the trial that was taken."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.evaluation.readers import AVERAGE
from pipeline.reporting.figures.panels import panel_grid, title_panels, wrapped_labels
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.palette import GREY, marks
from pipeline.reporting.style import COLUMN_WIDTH, TEXT_WIDTH, legend_height, new_figure, save, top_legend
from pipeline.runtime.atomic import read_json
from pipeline.runtime.errors import PipelineError, run_command

RING = 7.5
"""Size of the ring around the trial that was taken, points."""


def _best_by_factor(trials: Sequence[Mapping[str, Any]], dataset: str) -> dict[float, float]:
    """Validation DSC (%) by factor, the best over weight decays; trials that diverged have none."""
    found: dict[float, float] = {}
    for trial in trials:
        value = trial["mean"] if dataset == AVERAGE else trial["val_dsc"][dataset]
        if value is not None:
            found[trial["factor"]] = max(100 * value, found.get(trial["factor"], -math.inf))
    return dict(sorted(found.items()))


def tuning_budget(
    tuning: Mapping[str, Any], variants: Sequence[str], labels: Mapping[str, str], note: str = ""
) -> Figure:
    """Validation DSC (%) by the factor to the method's own learning rates (log axis), one line a method.

    One panel a dataset; if there are several, the mean over them, which decides, comes first.

    Args:
        tuning: as tuning.json.
        variants: the methods, in the legend's order.
        labels: display names of methods and datasets.

    Raises:
        PipelineError: a method has no trials.
    """
    methods = tuning["methods"]
    if missing := [name for name in variants if name not in methods]:
        raise PipelineError(f"tuning.json: no trials of {', '.join(missing)}; run the rule tuning again")
    datasets = list(tuning["datasets"])
    shown = [AVERAGE, *datasets] if len(datasets) > 1 else datasets
    factors = sorted({trial["factor"] for name in variants for trial in methods[name]["trials"]})
    mark, columns = marks(variants), min(3, len(shown))
    width = COLUMN_WIDTH if columns == 1 else TEXT_WIDTH
    ring = {"marker": "o", "linestyle": "none", "markersize": RING, "markerfacecolor": "none", "color": GREY}
    handles = [
        Line2D([], [], color=mark[name].colour, marker=mark[name].marker, label=label(labels, name))
        for name in variants
    ]
    handles.append(Line2D([], [], **ring, label="taken"))
    legend = legend_height([handle.get_label() for handle in handles], width)
    figure = new_figure(width, 0.1 + legend + 2.2 * math.ceil(len(shown) / columns), note)
    panels = panel_grid(figure, len(shown), columns)
    for axes, dataset in zip(panels.all, shown, strict=True):
        axes.set_xscale("log")
        for name in variants:
            points = _best_by_factor(methods[name]["trials"], dataset)
            colour, marker = mark[name]
            axes.plot(points.keys(), points.values(), color=colour, marker=marker, markersize=3.5, linewidth=1)
            taken = methods[name]["chosen"]["factor"]
            axes.plot([taken], [points[taken]], **ring | {"color": colour})
        axes.grid(True, axis="y")
        axes.set_xticks(factors, [f"{factor:g}" for factor in factors])
        axes.set_xticks([], minor=True)
        axes.margins(x=0.08)
        axes.yaxis.set_major_locator(MaxNLocator(5))
    title_panels(panels.all, shown, wrapped_labels(labels, shown, (width - 0.5) / columns))
    for axes in panels.bottom:
        axes.set_xlabel("Learning rate, × the protocol's")
    for axes in panels.left:
        axes.set_ylabel("Validation DSC, %")
    top_legend(figure, handles)
    return figure


def main() -> None:
    options = parse_options(__doc__, "tuning", "variants")
    tuning = read_json(options.tuning, dict, "run the rule tuning again")
    save(tuning_budget(tuning, options.variants, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
