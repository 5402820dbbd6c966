"""Figure: DSC of all methods against trained parameters, training time and memory, each with its front."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.evaluation.csv_table import read_table
from pipeline.evaluation.demands import time_unit
from pipeline.reporting.figures.chosen import rows_of
from pipeline.reporting.figures.pareto import (
    Point,
    broken_panels,
    draw_front,
    draw_points,
    parts_of,
    scale_parameters,
)
from pipeline.reporting.lettering import FONT_SIZE
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.palette import BLACK, GREY, marks
from pipeline.reporting.style import TEXT_WIDTH, legend_height, new_figure, save, top_legend
from pipeline.reporting.tables.methods import COSTS
from pipeline.runtime.errors import run_command


def methods(table: pd.DataFrame, variants: Sequence[str], labels: Mapping[str, str], on: str, note: str = "") -> Figure:
    """DSC (%) against each cost, with the front; where all is known of a method it stands in three panels.

    Args:
        table: as tables/methods.csv.
        variants: drawn ones, in the legend's order.
        labels: display names of variants.
        on: what the DSC is a mean over, as words.
    """
    rows = rows_of(table, variants, "methods").dropna(subset="dsc")
    rows = rows.assign(dsc_sd=rows["dsc_sd"].fillna(0.0)).set_index("variant").reindex(variants).dropna(subset="dsc")
    mark = marks(variants)
    points = {
        column: {
            variant: Point(row[column], row["dsc"], row["dsc_sd"])
            for variant, row in rows.iterrows()
            if not pd.isna(row[column])
        }
        for column in COSTS
    }
    handles = [Line2D([], [], color=BLACK, linewidth=0.8, label="front")]
    if rows["dsc_sd"].any():
        bar = {"color": GREY, "marker": "|", "markersize": 8, "markeredgewidth": 0.8, "linestyle": "none"}
        handles.append(Line2D([], [], label="± SD over seeds", **bar))
    for variant in rows.index:
        style = {"color": mark[variant].colour, "marker": mark[variant].marker, "linestyle": "none"}
        handles.append(Line2D([], [], label=label(labels, variant), **style))
    legend = legend_height([handle.get_label() for handle in handles], TEXT_WIDTH)
    figure = new_figure(TEXT_WIDTH, 2.9 + legend, note)
    panels = broken_panels(
        figure, parts_of([Point(0.0, row.dsc, row.dsc_sd) for row in rows.itertuples()]), (1.5, 1, 1)
    )
    unit, length = time_unit(rows["seconds"].max())
    points["seconds"] = {name: point._replace(x=point.x / length) for name, point in points["seconds"].items()}
    titles = ("Trained parameters (symmetric log axis)", f"Training, {unit} per run", "Peak memory, GiB")
    for column, name, title in zip(panels.T, COSTS, titles, strict=True):
        values, right = [point.x for point in points[name].values()], 1.0
        if name == "trainable_parameters":
            right = scale_parameters(column, values)
        elif values:
            low, high = min(values), max(values)
            margin = 0.12 * (high - low) or 0.1 * high
            right = high + margin
            column[-1].set_xlim(low - margin if low > margin else -0.05 * right, right)
            column[-1].xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=2))
        draw_front(column, points[name], right)
        draw_points(column, points[name], mark)
        column[-1].set_xlabel(title)
    figure.supylabel(f"DSC, % ({on})", fontsize=FONT_SIZE)
    top_legend(figure, handles)
    return figure


def main() -> None:
    options = parse_options(__doc__, "table", "datasets", "variants")
    table = read_table(options.table, ["variant", "dsc", "dsc_sd", *COSTS])
    count = len(options.datasets)
    on = f"mean over {count} datasets" if count > 1 else label(options.labels, options.datasets[0])
    save(methods(table, options.variants, options.labels, on, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
