"""Figure: what each variant costs: parameters, multiply-adds, training operations, memory, time.

python -m pipeline.reporting.figures.cost_by_variant --cost results/cost.csv --runs '["results/runs/busi/telescopic/seed41"]'
    --variants '["telescopic"]' --output results/cost.pdf
"""

import argparse
import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator

from pipeline.evaluation.readers import add_figure_options, read_cost, variant_label
from pipeline.evaluation.runs import Run, add_run_options, chosen_runs
from pipeline.reporting.style import (
    BLACK,
    COLUMN_WIDTH,
    GREY,
    SMALL_FONT_SIZE,
    TEXT_WIDTH,
    looks,
    new_figure,
    save,
    text_width,
    wrap,
)
from pipeline.runtime.errors import PipelineError, run_command

LABELS_WIDTH = 1.5
MEASURES = {
    "trainable_parameters": "Trained\nparameters",
    "inference_gmacs": "Inference,\nGMAC an image",
    "training_gflops": "Training step,\nGFLOP an image",
    "memory_gib": "Peak memory,\nGiB",
}


def read_manifests(runs: Sequence[Run]) -> pd.DataFrame:
    """Peak memory and time of each run that trained.

    Returns:
        Columns variant, memory_gib (of the GPU where there is one, else of the host), seconds, on_gpu.

    Raises:
        PipelineError: a manifest is missing or broken.
    """
    rows = []
    for run in runs:
        path = run.folder / "manifest.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            memory, seconds = content["peak_memory"], float(content["training_seconds"])
            mebibytes = float(memory.get("gpu_mib", memory["host_mib"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PipelineError(f"{path}: not a run's manifest ({error!r}); train the run again") from None
        if seconds > 0:
            rows.append(
                {
                    "variant": run.variant,
                    "memory_gib": mebibytes / 1024,
                    "seconds": seconds,
                    "on_gpu": "gpu_mib" in memory,
                }
            )
    return pd.DataFrame(rows, columns=["variant", "memory_gib", "seconds", "on_gpu"])


def _shown(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def cost(
    table: pd.DataFrame, runs: pd.DataFrame, variants: Sequence[str], labels: Mapping[str, str], note: str = ""
) -> Figure:
    """Draw it: one panel a measure that is known; memory and time are means over runs, with their range.

    Args:
        table: as cost.csv, by variant; columns may be missing.
        runs: as :func:`read_manifests` gives them; may be empty.

    Raises:
        PipelineError: nothing is known of any variant.
    """
    known = {
        column: table[column].reindex(variants)
        for column in ("trainable_parameters", "inference_gmacs", "training_gflops")
        if column in table and table[column].reindex(variants).notna().any()
    }
    ranges = {}
    if len(runs):
        unit, length = _unit(runs["seconds"].max())
        measured = {"memory_gib": runs["memory_gib"], unit: runs["seconds"] / length}
        for column, values in measured.items():
            grouped = values.groupby(runs["variant"])
            known[column] = grouped.mean().reindex(variants)
            ranges[column] = (grouped.min().reindex(variants), grouped.max().reindex(variants))
    if not known:
        raise PipelineError(f"cost: nothing is known of {', '.join(variants)}; check cost.csv and --variants")
    look = looks(variants)
    names = [wrap(variant_label(labels, variant), 1.25) for variant in variants]
    row = 0.08 + 0.115 * max(len(name.splitlines()) for name in names)
    width = min(TEXT_WIDTH, max(COLUMN_WIDTH, LABELS_WIDTH + 1.2 * len(known)))
    figure = new_figure(width, 0.75 + row * len(variants), note)
    panels = figure.subplots(1, len(known), squeeze=False, sharey=True)[0]
    share = (width - LABELS_WIDTH) / len(known)
    for axes, (column, values) in zip(panels, known.items(), strict=True):
        if column == "trainable_parameters":
            positive = values[values > 0]
            axes.set_xscale("symlog", linthresh=float(positive.min()) if len(positive) else 1.0, linscale=0.5)
        texts = [_shown(value) if not np.isnan(value) else "n/a" for value in values]
        for at, (variant, value, text) in enumerate(zip(variants, values, texts, strict=True)):
            end = 0.0 if np.isnan(value) else value
            if end:
                axes.barh(at, value, 0.6, color=look[variant].colour, linewidth=0)
            if column in ranges and not np.isnan(value):
                low, high = (bound.iloc[at] for bound in ranges[column])
                halo = [withStroke(linewidth=2.2, foreground="white")]
                axes.plot([low, high], [at, at], color=BLACK, linewidth=0.8, path_effects=halo)
                end = high
            offset = {"xytext": (3, 0), "textcoords": "offset points", "size": SMALL_FONT_SIZE, "va": "center"}
            axes.annotate(text, (end, at), color=GREY if text == "n/a" else "black", **offset)
        _room(axes, max(text_width(text, SMALL_FONT_SIZE) for text in texts), share)
        axes.set_title(_title(column, runs))
        axes.xaxis.set_major_locator(NullLocator())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_ylim(len(variants) - 0.5, -0.5)
    panels[0].set_yticks(range(len(variants)), names)
    return figure


def _unit(seconds: float) -> tuple[str, float]:
    """The unit in which a time is best read, and its length in seconds."""
    return next((unit for unit in (("hours", 3600.0), ("minutes", 60.0)) if seconds >= 2 * unit[1]), ("seconds", 1.0))


def _title(column: str, runs: pd.DataFrame) -> str:
    if column in ("hours", "minutes", "seconds"):
        return f"Training,\n{column} a run"
    if column != "memory_gib" or runs["on_gpu"].nunique() != 1:
        return MEASURES[column]
    return f"Peak {'GPU' if runs['on_gpu'].iloc[0] else 'host'}\nmemory, GiB"


def _room(axes, label: float, width: float) -> None:
    """Leave ``label`` inches of ``width`` free at the right of the longest bar."""
    transform = axes.xaxis.get_transform()
    high = float(transform.transform([axes.dataLim.x1])[0]) or 1.0
    free = min(0.6, (label + 0.08) / width)
    axes.set_xlim(0, float(transform.inverted().transform([high / (1 - free)])[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cost", required=True, help="cost.csv")
    add_run_options(parser, required=False)
    add_figure_options(parser)
    arguments = parser.parse_args()
    runs = read_manifests([run for run in chosen_runs(arguments) if run.variant in arguments.variants])
    table = read_cost(arguments.cost)
    save(cost(table, runs, arguments.variants, arguments.labels, arguments.note), arguments.output)


if __name__ == "__main__":
    run_command(main)
