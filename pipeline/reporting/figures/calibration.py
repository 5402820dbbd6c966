"""Figure: reliability diagram by dataset: share of foreground by predicted probability, and the pixels of each bin."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MultipleLocator, NullLocator
from numpy.typing import NDArray

from pipeline.evaluation.calibration import BINS, read_bin_sums
from pipeline.evaluation.readers import dataset_order
from pipeline.evaluation.runs import Run
from pipeline.reporting.figures.chosen import runs_of
from pipeline.reporting.figures.panels import title_panels, wrapped_labels
from pipeline.reporting.lettering import line_count
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.palette import GREY, marks
from pipeline.reporting.style import COLUMN_WIDTH, TEXT_WIDTH, legend_height, new_figure, save, top_legend
from pipeline.runtime.errors import run_command


def pooled_bins(runs: Sequence[Run]) -> dict[tuple[str, str], NDArray[np.float64]]:
    """By dataset and variant, the mean over seeds of :func:`pipeline.evaluation.calibration.bin_sums`.

    Raises:
        PipelineError: calibration.csv of a run is missing or broken.
    """
    by_seed: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    for run in runs:
        by_seed.setdefault((run.dataset, run.variant), []).append(read_bin_sums(run.folder))
    return {key: np.mean(sums, axis=0) for key, sums in by_seed.items()}


def calibration(
    bins: Mapping[tuple[str, str], NDArray[np.float64]],
    variants: Sequence[str],
    labels: Mapping[str, str],
    note: str = "",
) -> Figure:
    """Reliability diagrams above the pixels of each bin on a logarithmic axis; empty bins have no point.

    Args:
        bins: as :func:`pooled_bins` gives them.
        variants: in the legend's order.
        labels: display names of variants and datasets.
    """
    datasets = dataset_order(dataset for dataset, _ in bins)
    mark = marks(variants)
    width = TEXT_WIDTH if len(datasets) > 2 else COLUMN_WIDTH
    handles = [Line2D([], [], color=GREY, linewidth=0.8, linestyle=(0, (3, 2)), label="calibrated")]
    for variant in variants:
        style = {"color": mark[variant].colour, "marker": mark[variant].marker, "markersize": 3}
        handles.append(Line2D([], [], linewidth=1.0, label=label(labels, variant), **style))
    legend = legend_height([handle.get_label() for handle in handles], width)
    side = (width - 0.55) / len(datasets)
    titles = wrapped_labels(labels, datasets, side)
    figure = new_figure(width, 1.25 * min(side, 1.9) + 1.15 + 0.12 * line_count(titles) + legend, note)
    panels = figure.subplots(2, len(datasets), squeeze=False, sharex=True, sharey="row", height_ratios=(2.2, 1))
    edges = np.linspace(0, 100, BINS + 1)
    for (above, below), dataset in zip(panels.T, datasets, strict=True):
        above.plot([0, 100], [0, 100], color=GREY, linewidth=0.8, linestyle=(0, (3, 2)))
        for variant in (name for name in variants if (dataset, name) in bins):
            pixels, foreground, probability = bins[dataset, variant]
            some, colour = pixels > 0, mark[variant].colour
            x, y = (100 * values[some] / pixels[some] for values in (probability, foreground))
            above.plot(x, y, color=colour, marker=mark[variant].marker, markersize=2.2, linewidth=0.9)
            below.stairs(pixels, edges, color=colour, linewidth=0.9, baseline=None)
        for axes in (above, below):
            axes.grid(True, axis="y")
        below.set_xlabel("Predicted, %")
    panels[0][0].set_ylabel("Foreground, %")
    panels[0][0].set_ylim(-3, 103)
    panels[1][0].set_xlim(-3, 103)
    panels[0][0].yaxis.set_major_locator(MultipleLocator(25))
    panels[1][0].xaxis.set_major_locator(MultipleLocator(50))
    panels[1][0].set_ylabel("Pixels\n(log axis)")
    panels[1][0].set_yscale("log")
    counts = np.concatenate([sums[0][sums[0] > 0] for sums in bins.values()])
    low, high = np.floor(np.log10(counts.min())), np.ceil(np.log10(counts.max()))
    panels[1][0].set_ylim(10**low, 10 ** max(high, low + 1))
    panels[1][0].yaxis.set_major_locator(LogLocator(numticks=4))
    panels[1][0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"1e{np.log10(value):.0f}"))
    panels[1][0].yaxis.set_minor_locator(NullLocator())
    title_panels(panels[0], datasets, titles)
    figure.align_ylabels(panels[:, 0])
    top_legend(figure, handles)
    return figure


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "variants")
    bins = pooled_bins(runs_of(options, options.variants))
    save(calibration(bins, options.variants, options.labels, options.note), options.output)


if __name__ == "__main__":
    run_command(main)
