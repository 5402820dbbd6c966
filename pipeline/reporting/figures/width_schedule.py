"""Figure: widths of the adapters by layer, one panel a variant; vision, text and conditional side by side."""

import math
from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pipeline.models.widths import features_of
from pipeline.reporting.figures.panels import panel_grid, wrapped_labels
from pipeline.reporting.figures.places import LAYERS, READ_LAYERS, Place, adapter_widths
from pipeline.reporting.lettering import line_count
from pipeline.reporting.options import parse_options
from pipeline.reporting.palette import BLACK, BLUE, GREEN, ORANGE, SKY
from pipeline.reporting.style import COLUMN_WIDTH, TEXT_WIDTH, legend_height, new_figure, save, top_legend
from pipeline.runtime.errors import PipelineError, run_command

GAP = 0.8
"""Between the branches, in layers."""
DARK_ORANGE = "#B25900"
BARS = {
    ("vision", "attention"): ("vision, attention", BLUE),
    ("vision", "mlp"): ("vision, MLP", SKY),
    ("text", "attention"): ("text, attention", DARK_ORANGE),
    ("text", "mlp"): ("text, MLP", ORANGE),
    ("conditional", "conditional"): ("conditional (c)", GREEN),
}
"""Name and colour by branch and sub-layer."""
OFFSETS = {"attention": -0.2, "mlp": 0.2, "conditional": 0.0}


def width_schedule(widths: Mapping[str, Mapping[Place, int]], labels: Mapping[str, str], note: str = "") -> Figure:
    """Bottleneck width of each adapter by layer: the vision encoder's, those of adapted text layers, the conditional's.

    Args:
        widths: as :func:`pipeline.reporting.figures.places.adapter_widths` gives them, in the order of the panels;
            variants without adapters have none.
        labels: display names of variants.

    Raises:
        PipelineError: no variant has adapters.
    """
    drawn = {variant: built for variant, built in widths.items() if built}
    if not drawn:
        raise PipelineError("width_schedule: none of the variants is of kind telescopic; nothing to draw")
    columns = min(4, len(drawn))
    width = COLUMN_WIDTH if columns == 1 else TEXT_WIDTH
    titles = wrapped_labels(labels, drawn, (width - 0.6) / columns - 0.1)
    handles = [Patch(color=colour, label=name) for name, colour in BARS.values()]
    style = {"color": BLACK, "marker": "v", "markersize": 3}
    handles.append(Line2D([], [], linestyle="none", label="read by the decoder", **style))
    legend = legend_height([handle.get_label() for handle in handles], width)
    rows = math.ceil(len(drawn) / columns)
    figure = new_figure(width, 0.6 + legend + rows * (1.25 + 0.13 * line_count(titles)), note)
    panels = panel_grid(figure, len(drawn), columns, sharex=True, sharey=True)
    adapted = [place.layer for built in drawn.values() for place in built if place.branch == "text"]
    first = min(adapted, default=LAYERS)
    # Where layer 0 of each branch would stand.
    starts = {"vision": 0.0, "text": LAYERS + GAP + 1 - first}
    starts["conditional"] = starts["text"] + LAYERS + GAP + 1
    for axes, built, title in zip(panels.all, drawn.values(), titles, strict=True):
        axes.grid(True, axis="y")
        for place, size in built.items():
            thickness = 0.8 if place.branch == "conditional" else 0.4
            _, colour = BARS[place.branch, place.sublayer]
            at = starts[place.branch] + place.layer + OFFSETS[place.sublayer]
            axes.bar(at, size, thickness, color=colour, linewidth=0)
        axes.set_title(title)
    high = 1.12 * panels.all[0].get_ylim()[1]
    layers = {float(layer): str(layer) for layer in range(1, LAYERS, 3)}
    layers |= {starts["text"] + layer: str(layer) for layer in range(first, LAYERS + 1, 2)}
    names = {(1 + LAYERS) / 2: "vision", starts["text"] + (first + LAYERS) / 2: "text"}
    for axes in panels.all:
        axes.plot(READ_LAYERS, [high * 0.97] * len(READ_LAYERS), linestyle="none", clip_on=False, **style)
        axes.set(xlim=(0.3, starts["conditional"] + 0.8), ylim=(0, high))
        axes.set_xticks([*layers, starts["conditional"]], [*layers.values(), "c"])
        axes.set_xticks(list(names), list(names.values()), minor=True)
        axes.tick_params(axis="x", which="minor", length=0, pad=13, labelbottom=True)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.tick_params(labelbottom=True)
    for axes in panels.left:
        axes.set_ylabel("Width")
    for axes in panels.bottom:
        axes.set_xlabel("Layer")
    top_legend(figure, handles, handlelength=1.0)
    return figure


def main() -> None:
    options = parse_options(__doc__, "settings", "backbone", "variants")
    widths = adapter_widths(options.settings, options.variants, features_of(options.backbone))
    save(width_schedule(widths, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
