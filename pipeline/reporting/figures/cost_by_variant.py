"""Figure: what each variant costs: parameters, operations in inference and in training, memory, time."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from pipeline.evaluation.demands import read_manifests, time_unit
from pipeline.evaluation.readers import read_cost
from pipeline.reporting.figures.chosen import runs_of
from pipeline.reporting.figures.dots import name_rows
from pipeline.reporting.figures.panels import wrapped_labels
from pipeline.reporting.formats import NOT_AVAILABLE, si
from pipeline.reporting.lettering import SMALL_FONT_SIZE, line_count
from pipeline.reporting.options import parse_options
from pipeline.reporting.palette import BLACK, GREY, marks
from pipeline.reporting.style import COLUMN_WIDTH, TEXT_WIDTH, new_figure, save
from pipeline.runtime.errors import PipelineError, run_command

LABELS_WIDTH = 1.5
LEAST_RATIO = 10.0
"""Each axis spans at least this factor, so that small differences look small."""
COUNTS = {
    "trainable_parameters": "Trained\nparameters",
    "inference_gflops": "Inference,\nGFLOP per image",
    "training_gflops": "Training step,\nGFLOP per image",
}
"""Columns of cost.csv that are drawn, and the titles of their panels."""


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


def _log_axis(axes: Axes, values: pd.DataFrame) -> None:
    """A logarithmic axis that holds all positive ``values``, with ticks at every power of ten, or half of one."""
    ends = values.to_numpy(float)
    low, high = ends[ends > 0].min() / 1.5, ends[ends > 0].max() * 1.5
    widen = max(1.0, LEAST_RATIO * low / high) ** 0.5
    axes.set(xscale="log", xlim=(low / widen, high * widen))
    narrow = high / low * widen**2 < 5 * LEAST_RATIO
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if narrow else (1,), numticks=4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: si(value)))
    axes.xaxis.set_minor_formatter("")
    axes.grid(True, axis="x")


def cost(
    table: pd.DataFrame, runs: pd.DataFrame, variants: Sequence[str], labels: Mapping[str, str], note: str = ""
) -> Figure:
    """A dot for each variant on a log axis, one panel a measure that is known, with its value beside the panel.

    Memory and time are means over runs, with their range. What is zero has no dot.

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
    figure = new_figure(width, 0.95 + (0.08 + 0.115 * line_count(names)) * len(variants), note)
    panels = figure.subplots(1, len(measures), squeeze=False, sharey=True)[0]
    for axes, (title, values) in zip(panels, measures.items(), strict=True):
        name_rows(axes, names)
        _log_axis(axes, values)
        for at, (variant, value, low, high) in enumerate(values.itertuples(name=None)):
            colour, marker = mark[variant]
            if value > 0:
                axes.plot([low, high], [at, at], color=colour, linewidth=1, zorder=2)
                axes.plot(value, at, marker, color=colour, zorder=3)
            known = not pd.isna(value)
            place = {"transform": axes.get_yaxis_transform(), "va": "center", "size": SMALL_FONT_SIZE}
            axes.text(1.03, at, si(value) if known else NOT_AVAILABLE, color=BLACK if known else GREY, **place)
        axes.set_title(title, loc="left")
        axes.set_xlabel("log axis", size=SMALL_FONT_SIZE)
    return figure


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "cost", "variants")
    runs = read_manifests(runs_of(options, options.variants))
    save(cost(read_cost(options.cost), runs, options.variants, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
