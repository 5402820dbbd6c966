"""Figure: what each variant costs: parameters, multiply-adds, training operations, memory, time."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from pipeline.evaluation.readers import read_cost
from pipeline.evaluation.runs import Run
from pipeline.reporting.figures.chosen import runs_of
from pipeline.reporting.figures.panels import wrapped_labels
from pipeline.reporting.formats import NOT_AVAILABLE, si
from pipeline.reporting.lettering import SMALL_FONT_SIZE, line_count, text_width
from pipeline.reporting.options import parse_options
from pipeline.reporting.palette import BLACK, GREY, marks
from pipeline.reporting.style import COLUMN_WIDTH, TEXT_WIDTH, new_figure, save
from pipeline.runtime.atomic import read_json
from pipeline.runtime.errors import PipelineError, run_command

LABELS_WIDTH = 1.5
COUNTS = {
    "trainable_parameters": "Trained\nparameters",
    "inference_gmacs": "Inference,\nGMAC per image",
    "training_gflops": "Training step,\nGFLOP per image",
}
"""Columns of cost.csv that are drawn, and the titles of their panels."""


def read_manifests(runs: Sequence[Run]) -> pd.DataFrame:
    """Peak memory and time of each run that trained.

    Returns:
        Columns variant, memory_gib (of the GPU where there is one, else of the host), seconds, on_gpu.

    Raises:
        PipelineError: a run has no usable manifest.json.
    """
    rows = []
    for run in runs:
        path, fix = run.folder / "manifest.json", "train the run again"
        record = read_json(path, dict, fix)
        try:
            memory, seconds = record["peak_memory"], record["training_seconds"]
        except KeyError as error:
            raise PipelineError(f"{path}: no usable manifest ({error} is missing); {fix}") from None
        if seconds > 0:
            mebibytes = memory.get("gpu_mib", memory["host_mib"])
            rows.append((run.variant, mebibytes / 1024, seconds, "gpu_mib" in memory))
    return pd.DataFrame(rows, columns=["variant", "memory_gib", "seconds", "on_gpu"])


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit in which a time is best read, and its length in seconds."""
    return next((unit for unit in (("hours", 3600.0), ("minutes", 60.0)) if seconds >= 2 * unit[1]), ("seconds", 1.0))


def _measures(table: pd.DataFrame, runs: pd.DataFrame, variants: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Value, low and high of each of ``variants`` (rows, in their order) by the title of the panel; known ones only."""
    found = {title: table[column].to_frame("value") for column, title in COUNTS.items() if column in table}
    if len(runs):
        kinds = {"Peak GPU\nmemory, GiB" if on_gpu else "Peak host\nmemory, GiB" for on_gpu in runs["on_gpu"]}
        memory = kinds.pop() if len(kinds) == 1 else "Peak memory,\nGiB"
        unit, length = time_unit(runs["seconds"].max())
        measured = {memory: runs["memory_gib"], f"Training,\n{unit} per run": runs["seconds"] / length}
        for title, values in measured.items():
            grouped = values.groupby(runs["variant"])
            found[title] = pd.DataFrame({"value": grouped.mean(), "low": grouped.min(), "high": grouped.max()})
    found = {title: values.reindex(index=variants, columns=["value", "low", "high"]) for title, values in found.items()}
    return {title: values for title, values in found.items() if values["value"].notna().any()}


def _leave_room(axes: Axes, label: float, width: float) -> None:
    """Leave ``label`` inches of ``width`` free at the right of the longest bar."""
    transform = axes.xaxis.get_transform()
    high = float(transform.transform([axes.dataLim.x1])[0]) or 1.0
    free = min(0.6, (label + 0.08) / width)
    axes.set_xlim(0, float(transform.inverted().transform([high / (1 - free)])[0]))


def cost(
    table: pd.DataFrame, runs: pd.DataFrame, variants: Sequence[str], labels: Mapping[str, str], note: str = ""
) -> Figure:
    """A bar for each variant, one panel a measure that is known; memory and time are means over runs, with their range.

    Args:
        table: as cost.csv, by variant; columns may be missing.
        runs: as :func:`read_manifests` gives them; may be empty.
        variants: rows from top to bottom.
        labels: display names of variants.

    Raises:
        PipelineError: nothing is known of any variant.
    """
    measures = _measures(table, runs, variants)
    if not measures:
        raise PipelineError(f"cost: nothing is known of {', '.join(variants)}; check cost.csv and --variants")
    mark = marks(variants)
    names = wrapped_labels(labels, variants, 1.25)
    width = min(TEXT_WIDTH, max(COLUMN_WIDTH, LABELS_WIDTH + 1.2 * len(measures)))
    figure = new_figure(width, 0.75 + (0.08 + 0.115 * line_count(names)) * len(variants), note)
    panels = figure.subplots(1, len(measures), squeeze=False, sharey=True)[0]
    for axes, (title, values) in zip(panels, measures.items(), strict=True):
        if title == COUNTS["trainable_parameters"]:
            positive = values.loc[values["value"] > 0, "value"]
            axes.set_xscale("symlog", linthresh=float(positive.min()) if len(positive) else 1.0, linscale=0.5)
        texts = [NOT_AVAILABLE if np.isnan(value) else si(value) for value in values["value"]]
        for at, (variant, value, low, high) in enumerate(values.itertuples(name=None)):
            end = np.nan_to_num(value)
            if end:
                axes.barh(at, end, 0.6, color=mark[variant].colour, linewidth=0)
            if not np.isnan(high):
                halo = [withStroke(linewidth=2.2, foreground="white")]
                axes.plot([low, high], [at, at], color=BLACK, linewidth=0.8, path_effects=halo)
                end = high
            offset = {"xytext": (3, 0), "textcoords": "offset points", "size": SMALL_FONT_SIZE, "va": "center"}
            axes.annotate(texts[at], (end, at), color=GREY if np.isnan(value) else BLACK, **offset)
        room = max(text_width(text, SMALL_FONT_SIZE) for text in texts)
        _leave_room(axes, room, (width - LABELS_WIDTH) / len(measures))
        axes.set_title(title)
        axes.tick_params(axis="both", which="both", length=0, labelbottom=False)
        axes.spines["bottom"].set_visible(False)
    panels[0].set(ylim=(len(variants) - 0.5, -0.5), yticks=range(len(variants)), yticklabels=names)
    return figure


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "cost", "variants")
    runs = read_manifests(runs_of(options, options.variants))
    save(cost(read_cost(options.cost), runs, options.variants, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
