"""Table ``secondary_metrics``: IoU, HD95 and NSD by method and dataset, measured beside reported, and missed cases."""

from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.evaluation.csv_table import read_table
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_reported
from pipeline.evaluation.runs import IDENTITY, listed_runs
from pipeline.reporting.markup import Table, rules_between, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.tables.scores import DECODER_NOTE, DSC_OPTIONS, rows_by_metric
from pipeline.runtime.errors import run_command

METRICS = {"iou": "IoU, %", "hd95": "HD95, pixels", "nsd": "NSD, %", "misses": "Missed cases"}
NOTE = (
    "Mean ± standard deviation over seeds. HD95 is in pixels of the original images, so its size differs between "
    "datasets. NSD is the normalised surface distance at a tolerance of 2 of these pixels: the share of both "
    "boundaries that is at most so far from the other; 100 where both masks are empty, 0 where one is. Best measured "
    "value bold, second best underlined; values equal as shown share the mark."
)
HD95_NOTE = (
    "HD95 is not measured alike on both sides: the reported numbers come from MONAI, which has none (nan) for a missed "
    "case and leaves it out of the mean, so that a method gains by missing hard cases. Here a missed case (a target, "
    "and nothing predicted) counts as the image's diagonal, and the last rows count these cases."
)


def build(
    dsc: pd.DataFrame,
    reported: pd.DataFrame,
    variants: Sequence[str],
    datasets: Sequence[str],
    labels: Mapping[str, str],
) -> tuple[pd.DataFrame, Table]:
    """The table, machine-readable (one row per metric and method) and for print.

    Args:
        dsc: as dsc.csv (iou and nsd 0..1, hd95 pixels, misses cases).
        reported: as reported.csv (points and pixels).
        labels: display names of variants and datasets.
    """
    frame, printed, scores = rows_by_metric(dsc, METRICS, variants, datasets, labels, reported)
    footnotes = [NOTE, HD95_NOTE, *scores["iou"].source_note(datasets)]
    if any(scores["iou"].reported("end_to_end", dataset) for dataset in datasets):
        footnotes.append(DECODER_NOTE)
    header = ["Method", "Metric", *(label(labels, dataset) for dataset in datasets)]
    title = "IoU, HD95 and NSD by dataset, measured [reported]"
    return frame, Table(title, header, printed, footnotes, rules_between(frame["metric"]))


def main() -> None:
    options = parse_options(__doc__, *DSC_OPTIONS, "reported")
    dsc = read_table(options.dsc, [*IDENTITY, *METRICS], unique=IDENTITY)
    shown = (options.variants, options.datasets, options.labels)
    runs = describe_runs(listed_runs(options.results, options.runs))
    write(*build(dsc, read_reported(options.reported), *shown), options, runs)


if __name__ == "__main__":
    run_command(main)
