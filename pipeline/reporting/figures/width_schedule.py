"""Figure: widths of the adapters by layer, one panel a variant; vision upward, text and conditional downward.

python -m pipeline.reporting.figures.width_schedule --settings '{"telescopic": {"kind": "telescopic"}}'
    --variants '["telescopic"]' --output results/width_schedule.pdf
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.evaluation.readers import (
    add_figure_options,
    json_value,
    variant_label,
)
from pipeline.reporting.figures.schedules import LAYERS, READ_LAYERS, Schedule, schedule
from pipeline.reporting.style import (
    BLACK,
    BLUE,
    COLUMN_WIDTH,
    GREEN,
    ORANGE,
    SKY,
    TEXT_WIDTH,
    new_figure,
    save,
    wrap,
)
from pipeline.runtime.errors import PipelineError, run_command

CONDITIONAL_AT = LAYERS + 1.6
PLACES = {"attention": -0.2, "mlp": 0.2}
VISION_COLOURS = {"attention": BLUE, "mlp": SKY}
TEXT_COLOURS = {"attention": "#B25900", "mlp": ORANGE}


def _draw(axes, drawn: Schedule) -> None:
    for place, offset in PLACES.items():
        for branch, sign, colours in ((drawn.vision, 1, VISION_COLOURS), (drawn.text, -1, TEXT_COLOURS)):
            layers = [layer + offset for layer in branch[place]]
            axes.bar(layers, [sign * width for width in branch[place].values()], 0.4, color=colours[place], linewidth=0)
    if drawn.conditional is not None:
        axes.bar(CONDITIONAL_AT, -drawn.conditional, 0.8, color=GREEN, linewidth=0)
    axes.axhline(0, color=BLACK, linewidth=0.6)


def width_schedule(
    settings: Mapping[str, Mapping[str, Any]], variants: Sequence[str], labels: Mapping[str, str], note: str = ""
) -> Figure:
    """Draw it; variants without telescopic adapters have no panel.

    Args:
        settings: each variant's entry of config.yaml.

    Raises:
        PipelineError: a variant has no settings, or none has telescopic adapters.
    """
    absent = [variant for variant in variants if variant not in settings]
    if absent:
        raise PipelineError(f"--settings: {', '.join(absent)} missing; give the settings of every variant")
    found = {variant: schedule(variant, settings[variant]) for variant in variants}
    panels_of = {variant: drawn for variant, drawn in found.items() if drawn is not None}
    if not panels_of:
        raise PipelineError("width_schedule: none of the variants is of kind telescopic; nothing to draw")
    columns = min(4, len(panels_of))
    rows = -(-len(panels_of) // columns)
    width = COLUMN_WIDTH if columns == 1 else TEXT_WIDTH
    titles = {variant: wrap(variant_label(labels, variant), (width - 0.6) / columns - 0.1) for variant in panels_of}
    lines = max(len(title.splitlines()) for title in titles.values())
    figure = new_figure(width, 0.75 + rows * (1.25 + 0.13 * lines), note)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (variant, drawn) in zip(panels, panels_of.items(), strict=False):
        axes.grid(True, axis="y")
        _draw(axes, drawn)
        axes.set_title(titles[variant])
    for axes in panels[len(panels_of) :]:
        axes.remove()
    low, high = panels[0].get_ylim()
    high *= 1.12
    for axes in panels[: len(panels_of)]:
        axes.set_ylim(low, high)
        axes.plot(READ_LAYERS, [high * 0.97] * len(READ_LAYERS), "v", color=BLACK, markersize=3, clip_on=False)
        axes.set_xlim(0.3, CONDITIONAL_AT + 0.8)
        axes.set_xticks([1, 3, 5, 7, 9, 11, CONDITIONAL_AT], ["1", "3", "5", "7", "9", "11", "c"])
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
        axes.tick_params(labelbottom=True)
    for index in range(len(panels_of)):
        if index % columns == 0:
            panels[index].set_ylabel("Width\n↓ text   vision ↑")
        if index + columns >= len(panels_of):
            panels[index].set_xlabel("Layer (c: conditional)")
    handles = [
        Patch(color=VISION_COLOURS["attention"], label="vision, attention"),
        Patch(color=VISION_COLOURS["mlp"], label="vision, MLP"),
        Patch(color=TEXT_COLOURS["attention"], label="text, attention"),
        Patch(color=TEXT_COLOURS["mlp"], label="text, MLP"),
        Patch(color=GREEN, label="conditional"),
        Line2D([], [], color=BLACK, marker="v", markersize=3, linestyle="none", label="read by the decoder"),
    ]
    ncols = 6 if width == TEXT_WIDTH else 2
    figure.legend(handles=handles, loc="outside upper left", ncols=ncols, columnspacing=1.0, handlelength=1.0)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--settings", type=json_value("--settings", dict), required=True, help="JSON object: settings of each variant"
    )
    add_figure_options(parser)
    arguments = parser.parse_args()
    figure = width_schedule(arguments.settings, arguments.variants, arguments.labels, arguments.note)
    save(figure, arguments.output)


if __name__ == "__main__":
    run_command(main)
