"""Figure: is it the depth-aware width that helps? DSC by width schedule, with each schedule drawn beside its name.

python -m pipeline.reporting.figures.ablation_depth --runs '["results/runs/busi/telescopic/seed41"]'
    --variants '["telescopic"]' --reference telescopic --settings '{"telescopic": {"kind": "telescopic"}}'
    --output results/ablation_depth.pdf
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from pipeline.evaluation.intervals import SAMPLES
from pipeline.evaluation.readers import json_value, read_cases
from pipeline.evaluation.runs import chosen_runs
from pipeline.reporting.figures.ablation import ablation, add_family_options
from pipeline.reporting.figures.schedules import LAYERS, Schedule, schedule
from pipeline.reporting.style import BLACK, BLUE, GREY, SKY, SMALL_FONT_SIZE, save
from pipeline.runtime.errors import PipelineError, run_command

SIDE_WIDTH = 1.0
RANGE_AT = LAYERS + 1.5
FLOOR = 4
"""Width at which a bar has no height on the logarithmic scale."""


def _draw(axes, variants: Sequence[str], schedules: Mapping[str, Schedule | None]) -> None:
    widths = [width for drawn in schedules.values() if drawn for width in drawn.widths()]
    top = math.log2(max(widths, default=FLOOR * 2) / FLOOR)
    for row, variant in enumerate(variants):
        drawn = schedules[variant]
        if drawn is None or not drawn.widths():
            axes.text(LAYERS / 2, row, "none", ha="center", va="center", color=GREY, size=SMALL_FONT_SIZE)
            continue
        for place, sign, colour in (("attention", -1, BLUE), ("mlp", 1, SKY)):
            layers = list(drawn.vision[place])
            heights = [sign * 0.42 * math.log2(width / FLOOR) / top for width in drawn.vision[place].values()]
            axes.bar(layers, heights, 1.0, bottom=row, color=colour, linewidth=0)
        axes.plot([0.5, LAYERS + 0.5], [row, row], color=BLACK, linewidth=0.4)
        low, high = min(drawn.widths()), max(drawn.widths())
        text = str(low) if low == high else f"{low}–{high}"
        axes.text(RANGE_AT, row, text, va="center", size=SMALL_FONT_SIZE)
    axes.set_xlim(0, LAYERS * 2)
    axes.set_xticks([1, 6, 12])
    axes.set_xlabel("Layer    width", loc="left")
    axes.spines["bottom"].set_bounds(0.5, LAYERS + 0.5)


def ablation_depth(
    cases: pd.DataFrame,
    variants: Sequence[str],
    reference: str,
    settings: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, str],
    title: str = "",
    note: str = "",
    samples: int = SAMPLES,
) -> Figure:
    """The ablation figure with the vision branch's schedules: widths after attention upward, after the MLP downward.

    Bars are on a logarithmic scale that all schedules share; the range of widths stands beside them.

    Args:
        settings: each variant's entry of config.yaml.

    Raises:
        PipelineError: a variant has no settings, or as :func:`pipeline.reporting.figures.ablation.ablation`.
    """
    absent = [variant for variant in variants if variant not in settings]
    if absent:
        raise PipelineError(f"--settings: {', '.join(absent)} missing; give the settings of every variant")
    schedules = {variant: schedule(variant, settings[variant]) for variant in variants}
    side = (SIDE_WIDTH, lambda axes, rows: _draw(axes, rows, schedules))
    return ablation(cases, variants, reference, labels, title, note, side, samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_family_options(parser)
    parser.add_argument(
        "--settings", type=json_value("--settings", dict), required=True, help="JSON object: settings of each variant"
    )
    arguments = parser.parse_args()
    cases = read_cases([run for run in chosen_runs(arguments) if run.variant in arguments.variants])
    figure = ablation_depth(
        cases,
        arguments.variants,
        arguments.reference,
        arguments.settings,
        arguments.labels,
        arguments.title,
        arguments.note,
        arguments.bootstrap,
    )
    save(figure, arguments.output)


if __name__ == "__main__":
    run_command(main)
