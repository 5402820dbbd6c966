"""Figure: is it the depth-aware width that helps? DSC by width schedule, with each schedule drawn beside its name."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from pipeline.evaluation.runs import Run
from pipeline.models.widths import features_of
from pipeline.reporting.figures.ablation import FAMILY_OPTIONS, Side, render
from pipeline.reporting.figures.chosen import runs_of
from pipeline.reporting.figures.places import LAYERS, Place, adapter_widths
from pipeline.reporting.lettering import SMALL_FONT_SIZE
from pipeline.reporting.options import parse_options
from pipeline.reporting.palette import BLACK, BLUE, GREY, SKY
from pipeline.runtime.atomic import read_json
from pipeline.runtime.errors import run_command

SIDE_WIDTH = 1.0
RANGE_AT = LAYERS + 1.5
FLOOR = 4
"""Width at which a bar has no height on the logarithmic scale."""


def schedule_column(widths: Mapping[str, Mapping[Place, int]]) -> Side:
    """A column of small bar charts: widths of a variant's vision adapters by layer, and their range as text.

    Dark bars are widths after attention, light ones after the MLP, on a logarithmic scale that all variants share.

    Args:
        widths: as :func:`pipeline.reporting.figures.places.adapter_widths` gives them.
    """
    vision = {
        variant: {place: width for place, width in built.items() if place.branch == "vision"}
        for variant, built in widths.items()
    }
    top = math.log2(max((width for built in vision.values() for width in built.values()), default=FLOOR * 2) / FLOOR)

    def draw(axes: Axes, variants: Sequence[str]) -> None:
        for row, variant in enumerate(variants):
            built = vision[variant]
            if not built:
                axes.text(LAYERS / 2, row, "none", ha="center", va="center", color=GREY, size=SMALL_FONT_SIZE)
                continue
            for place, width in built.items():
                shift, colour = (-0.25, BLUE) if place.sublayer == "attention" else (0.25, SKY)
                # The vertical axis points downward.
                height = -0.8 * math.log2(width / FLOOR) / top
                axes.bar(place.layer + shift, height, 0.5, bottom=row + 0.4, color=colour, linewidth=0)
            axes.plot([0.5, LAYERS + 0.5], [row + 0.4] * 2, color=BLACK, linewidth=0.4)
            low, high = min(built.values()), max(built.values())
            text = str(low) if low == high else f"{low}–{high}"
            axes.text(RANGE_AT, row, text, va="center", size=SMALL_FONT_SIZE)
        axes.set(xlim=(0, LAYERS * 2), xticks=[1, 6, 12])
        axes.set_xlabel("Layer    width", loc="left")
        axes.spines["bottom"].set_bounds(0.5, LAYERS + 0.5)

    return Side(SIDE_WIDTH, draw)


def learned_schedule(runs: Sequence[Run]) -> list[int]:
    """The mean of the schedules that were learned for ``runs``, rounded to whole widths.

    Raises:
        PipelineError: a run has no widths.json.
    """
    fix = "run the rule learn_widths again"
    schedules = [read_json(run.folder / "widths.json", dict, fix)["schedule"] for run in runs]
    return [round(sum(widths) / len(widths)) for widths in zip(*schedules, strict=True)]


def main() -> None:
    options = parse_options(__doc__, *FAMILY_OPTIONS, "settings", "backbone", "learned")
    for variant in options.learned:
        options.settings[variant] |= {"schedule": learned_schedule(runs_of(options, [variant])), "width_sum": None}
    widths = adapter_widths(options.settings, options.variants, features_of(options.backbone))
    render(options, schedule_column(widths))


if __name__ == "__main__":
    run_command(main)
