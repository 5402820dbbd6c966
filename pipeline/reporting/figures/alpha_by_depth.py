"""Figure: the learned residual scale alpha by layer and branch."""

import json
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from safetensors import SafetensorError, safe_open

from pipeline.evaluation.runs import Run
from pipeline.reporting.figures.chosen import runs_of
from pipeline.reporting.figures.places import LAYERS, parse_place
from pipeline.reporting.lettering import wrap
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.palette import BLUE, GREEN, GREY, ORANGE
from pipeline.reporting.style import TEXT_WIDTH, new_figure, save, top_legend
from pipeline.runtime.errors import PipelineError, run_command

STYLES = {
    "attention": ("after attention", BLUE, "o", -0.12),
    "mlp": ("after the MLP", ORANGE, "s", 0.12),
    "conditional": ("conditional adapter", GREEN, "D", 0.0),
}
"""Name, colour, marker and shift from the layer's tick, by sub-layer."""
BRANCHES = {"vision": "Vision encoder", "text": "Text encoder", "conditional": "Cond."}
COLUMNS = ["dataset", "variant", "seed", "branch", "sublayer", "layer", "alpha", "start"]


def read_alphas(runs: Sequence[Run]) -> pd.DataFrame:
    """Alpha of every adapter of ``runs``, in the layers' order.

    Returns:
        Columns dataset, variant, seed, branch (vision, text, conditional), sublayer (attention, mlp, conditional),
        layer (from 1; 0 for the conditional adapter), alpha, start (the value before training).

    Raises:
        PipelineError: a weights file is missing or broken.
    """
    rows = []
    for run in runs:
        path = run.folder / "weights.safetensors"
        try:
            with safe_open(path, framework="numpy") as file:
                settings = json.loads((file.metadata() or {}).get("variant", "{}"))
                for name in file.keys():  # noqa: SIM118, not a mapping
                    place = parse_place(name.removeprefix("adapters.").removesuffix(".scale"))
                    if place is not None:
                        alpha, start = float(file.get_tensor(name).item()), float(settings.get("alpha", 0.1))
                        rows.append((run.dataset, run.variant, run.seed, *place, alpha, start))
        except (OSError, SafetensorError, ValueError) as error:
            raise PipelineError(f"{path}: cannot be read as a run's weights ({error}); train the run again") from None
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(COLUMNS[:6], ignore_index=True)


def alpha_by_depth(alphas: pd.DataFrame, name: str, note: str = "") -> Figure:
    """Alpha by layer: faint dots are runs (datasets and seeds), lines their mean, dashed the value before training.

    Args:
        alphas: of one variant, as :func:`read_alphas` gives them.
        name: display name of the variant.

    Raises:
        PipelineError: no run has a scale.
    """
    if alphas.empty:
        raise PipelineError(f"alpha_by_depth: no run of {name} has a residual scale; give runs of kind telescopic")
    figure = new_figure(TEXT_WIDTH, 1.8, note)
    panels = figure.subplots(1, 3, sharey=True, width_ratios=[1, 1, 0.14])
    for axes, (branch, title) in zip(panels, BRANCHES.items(), strict=True):
        axes.grid(True, axis="y")
        axes.axhline(alphas["start"].iloc[0], color=GREY, linewidth=0.8, linestyle="--", zorder=1)
        for sublayer, points in alphas[alphas["branch"] == branch].groupby("sublayer"):
            _, colour, marker, shift = STYLES[sublayer]
            style = {"color": colour, "marker": marker}
            faint = {"markersize": 2, "alpha": 0.35, "markeredgewidth": 0, "linestyle": "none"}
            axes.plot(points["layer"] + shift, points["alpha"], **faint, **style)
            mean = points.groupby("layer")["alpha"].mean()
            # Gaps between adapted layers stay gaps.
            mean = mean.reindex(range(mean.index.min(), mean.index.max() + 1))
            axes.plot(mean.index + shift, mean, markersize=3.5, linewidth=1, **style)
        if branch == "conditional":
            axes.set(xlim=(-0.6, 0.6), xticks=[])
        else:
            axes.set(xlim=(0.4, LAYERS + 0.6), xticks=range(1, LAYERS + 1), xlabel="Layer")
        axes.set_title(title)
    panels[0].set_ylabel(f"{wrap(name, 1.2)}\nα")
    panels[0].yaxis.set_major_locator(MaxNLocator(4))
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=3.5, linewidth=1, label=f"{name}, mean")
        for name, colour, marker, _ in STYLES.values()
    ]
    handles.append(Line2D([], [], color=GREY, marker="o", markersize=2, linestyle="none", label="one run"))
    handles.append(Line2D([], [], color=GREY, linestyle="--", linewidth=0.8, label="before training"))
    top_legend(figure, handles)
    return figure


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "variants")
    alphas = read_alphas(runs_of(options, options.variants))
    save(alpha_by_depth(alphas, label(options.labels, options.variants[0]), options.note), options.output)


if __name__ == "__main__":
    run_command(main)
