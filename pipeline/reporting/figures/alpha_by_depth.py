"""Figure: the learned residual scale alpha by layer and branch, one row a variant."""

import json
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from safetensors import SafetensorError, safe_open

from pipeline.evaluation.runs import Run
from pipeline.reporting.figures.chosen import runs_of
from pipeline.reporting.figures.panels import wrapped_labels
from pipeline.reporting.figures.places import LAYERS, parse_place
from pipeline.reporting.options import parse_options
from pipeline.reporting.palette import BLUE, GREEN, GREY, ORANGE
from pipeline.reporting.style import TEXT_WIDTH, new_figure, save, top_legend
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.progress import log

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


def alpha_by_depth(alphas: pd.DataFrame, variants: Sequence[str], labels: Mapping[str, str], note: str = "") -> Figure:
    """Alpha by layer: faint dots are runs (datasets and seeds), lines their mean, dashed the value before training.

    Args:
        alphas: as :func:`read_alphas` gives them.
        variants: rows; those without a scale in their weights are left out, which the log says.
        labels: display names of variants.

    Raises:
        PipelineError: no run has a scale.
    """
    drawn = [variant for variant in variants if (alphas["variant"] == variant).any()]
    for variant in variants:
        if variant not in drawn:
            log(f"alpha_by_depth: {variant} left out: its weights hold no residual scale")
    if not drawn:
        raise PipelineError("alpha_by_depth: none of the runs has a residual scale; give runs of kind telescopic")
    figure = new_figure(TEXT_WIDTH, 0.45 + 1.35 * len(drawn), note)
    panels = figure.subplots(len(drawn), 3, squeeze=False, sharey="row", width_ratios=[1, 1, 0.14])
    for row, variant, name in zip(panels, drawn, wrapped_labels(labels, drawn, 1.2), strict=True):
        table = alphas[alphas["variant"] == variant]
        for axes, branch in zip(row, BRANCHES, strict=True):
            axes.grid(True, axis="y")
            axes.axhline(table["start"].iloc[0], color=GREY, linewidth=0.8, linestyle="--", zorder=1)
            for sublayer, points in table[table["branch"] == branch].groupby("sublayer"):
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
                axes.set(xlim=(0.4, LAYERS + 0.6), xticks=range(1, LAYERS + 1))
        row[0].set_ylabel(f"{name}\nα")
        row[0].yaxis.set_major_locator(MaxNLocator(4))
    for axes, title in zip(panels[0], BRANCHES.values(), strict=True):
        axes.set_title(title)
    for axes in panels[-1][:2]:
        axes.set_xlabel("Layer")
    figure.align_ylabels(panels[:, 0])
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
    save(alpha_by_depth(alphas, options.variants, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
