"""Figure: the learned residual scale alpha by layer and branch, one row a variant.

python -m pipeline.reporting.figures.alpha_by_depth --runs '["results/runs/busi/telescopic/seed41"]'
    --variants '["telescopic"]' --output results/alpha_by_depth.pdf
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from safetensors import SafetensorError, safe_open

from pipeline.evaluation.readers import add_figure_options, variant_label
from pipeline.evaluation.runs import Run, add_run_options, chosen_runs
from pipeline.reporting.figures.schedules import LAYERS
from pipeline.reporting.style import BLUE, GREEN, GREY, ORANGE, TEXT_WIDTH, new_figure, save, wrap
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.progress import log

SCALE = re.compile(r"adapters\.(?:(?P<branch>vision|text)_(?P<layer>\d+)_(?P<place>attention|mlp)|conditional)\.scale")
STYLES = {"attention": (BLUE, "o"), "mlp": (ORANGE, "s"), "conditional": (GREEN, "D")}
COLUMNS = {"vision": "Vision encoder", "text": "Text encoder", "conditional": "Cond."}


def read_alphas(runs: Sequence[Run]) -> pd.DataFrame:
    """Alpha of every adapter of ``runs``, in the layers' order.

    Returns:
        Columns dataset, variant, seed, branch (vision, text, conditional), place (attention, mlp, conditional), layer
        (from 1; 0 for the conditional adapter), alpha, start (the value before training).

    Raises:
        PipelineError: a weights file is missing or broken.
    """
    rows = []
    for run in runs:
        path = run.folder / "weights.safetensors"
        try:
            with safe_open(path, framework="numpy") as file:
                settings = json.loads((file.metadata() or {}).get("variant", "{}"))
                found = [
                    (match, float(file.get_tensor(match.string).item()))
                    for match in map(SCALE.fullmatch, file.keys())
                    if match
                ]
        except (OSError, SafetensorError, ValueError) as error:
            raise PipelineError(f"{path}: cannot be read as a run's weights ({error}); train the run again") from None
        for match, alpha in found:
            branch = match["branch"] or "conditional"
            rows.append(
                {
                    "dataset": run.dataset,
                    "variant": run.variant,
                    "seed": run.seed,
                    "branch": branch,
                    "place": match["place"] or "conditional",
                    "layer": int(match["layer"] or 0),
                    "alpha": alpha,
                    "start": float(settings.get("alpha", 0.1)),
                }
            )
    columns = ["dataset", "variant", "seed", "branch", "place", "layer", "alpha", "start"]
    return pd.DataFrame(rows, columns=columns).sort_values(columns[:6], ignore_index=True)


def alpha_by_depth(alphas: pd.DataFrame, variants: Sequence[str], labels: Mapping[str, str], note: str = "") -> Figure:
    """Draw it: faint dots are runs (datasets and seeds), lines their mean, the dashed line where training started.

    Args:
        alphas: as :func:`read_alphas` gives them.
        variants: rows; those without a scale in their weights are left out, which the log says.

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
    for row, variant in zip(panels, drawn, strict=True):
        table = alphas[alphas["variant"] == variant]
        for axes, branch in zip(row, COLUMNS, strict=True):
            axes.grid(True, axis="y")
            axes.axhline(table["start"].iloc[0], color=GREY, linewidth=0.8, linestyle="--", zorder=1)
            here = table[table["branch"] == branch]
            for place, (colour, marker) in STYLES.items():
                points = here[here["place"] == place]
                shift = {"attention": -0.12, "mlp": 0.12, "conditional": 0.0}[place]
                style = {"color": colour, "marker": marker, "linestyle": "none"}
                axes.plot(
                    points["layer"] + shift, points["alpha"], markersize=2, alpha=0.35, markeredgewidth=0, **style
                )
                mean = points.groupby("layer")["alpha"].mean()
                # Gaps between adapted layers stay gaps.
                mean = mean.reindex(range(int(mean.index.min()), int(mean.index.max()) + 1)) if len(mean) else mean
                style["linestyle"] = "-"
                axes.plot(mean.index + shift, mean, markersize=3.5, linewidth=1, **style)
            if branch == "conditional":
                axes.set_xlim(-0.6, 0.6)
                axes.set_xticks([])
            else:
                axes.set_xlim(0.4, LAYERS + 0.6)
                axes.set_xticks(range(1, LAYERS + 1))
        row[0].set_ylabel(f"{wrap(variant_label(labels, variant), 1.2)}\nα")
        row[0].yaxis.set_major_locator(MaxNLocator(4))
    for axes, title in zip(panels[0], COLUMNS.values(), strict=True):
        axes.set_title(title)
    for axes in panels[-1][:2]:
        axes.set_xlabel("Layer")
    figure.align_ylabels(panels[:, 0])
    names = {"attention": "after attention", "mlp": "after the MLP", "conditional": "conditional adapter"}
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=3.5, linewidth=1, label=f"{names[place]}, mean")
        for place, (colour, marker) in STYLES.items()
    ]
    handles.append(Line2D([], [], color=GREY, marker="o", markersize=2, linestyle="none", label="one run"))
    handles.append(Line2D([], [], color=GREY, linestyle="--", linewidth=0.8, label="before training"))
    figure.legend(handles=handles, loc="outside upper left", ncols=5, columnspacing=1.2)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_options(parser)
    add_figure_options(parser)
    arguments = parser.parse_args()
    alphas = read_alphas([run for run in chosen_runs(arguments) if run.variant in arguments.variants])
    save(alpha_by_depth(alphas, arguments.variants, arguments.labels, arguments.note), arguments.output)


if __name__ == "__main__":
    run_command(main)
