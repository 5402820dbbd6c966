"""Table ``calibration``: how far probabilities are frequencies, and the threshold that validation chooses."""

from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.evaluation.calibration import calibration_error, read_best_threshold, read_bin_sums
from pipeline.evaluation.csv_table import read_table
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.runs import IDENTITY, Run, listed_runs
from pipeline.reporting.markup import Table, rules_between, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.tables.scores import DSC_OPTIONS, rows_by_metric
from pipeline.runtime.errors import run_command

METRICS = {"ece": "ECE, %", "pooled_ece": "Pooled ECE, %", "threshold": "Threshold"}
NOTE = (
    "Mean ± standard deviation over seeds. ECE: expected calibration error of the pixels' foreground probability in 15 "
    "bins of equal width (Naeini et al., 2015), at the model's input size, by case and prompt type, then their mean. "
    "Pooled: of the pixels of all cases and prompt types together, so that errors of cases in opposite directions "
    "cancel. Most pixels are background that no method doubts: compare methods within a dataset. Threshold: that with "
    "the best DSC on the validation cases, each under one prompt, of 0.05, 0.10, ..., 0.95; evaluation_choices has the "
    "test DSC at it. Best value bold, second best underlined; values equal as shown share the mark."
)


def build(
    dsc: pd.DataFrame, runs: Sequence[Run], variants: Sequence[str], datasets: Sequence[str], labels: Mapping[str, str]
) -> tuple[pd.DataFrame, Table]:
    """The table, machine-readable (one row per quantity and method) and for print.

    Args:
        dsc: as dsc.csv (ece 0..1).
        runs: those that it lists.
        labels: display names of variants and datasets.

    Raises:
        PipelineError: a run has no calibration.csv or no thresholds.csv.
    """
    own = [(*run[:3], calibration_error(read_bin_sums(run.folder)), read_best_threshold(run.folder)) for run in runs]
    frame = dsc.merge(pd.DataFrame(own, columns=[*IDENTITY, "pooled_ece", "threshold"]), on=list(IDENTITY))
    records, printed, _ = rows_by_metric(frame, METRICS, variants, datasets, labels, unranked=("threshold",))
    header = ["Method", "Quantity", *(label(labels, dataset) for dataset in datasets)]
    title = "Calibration of the pixels' probabilities, and the threshold chosen on validation"
    return records, Table(title, header, printed, [NOTE], rules_between(records["metric"]))


def main() -> None:
    options = parse_options(__doc__, *DSC_OPTIONS)
    dsc = read_table(options.dsc, [*IDENTITY, "ece"], unique=IDENTITY)
    runs = listed_runs(options.results, options.runs)
    table = build(dsc, runs, options.variants, options.datasets, options.labels)
    files = ("per_case.csv", "calibration.csv", "thresholds.csv")
    write(*table, options, describe_runs(runs, lambda run: [run.folder / name for name in files]))


if __name__ == "__main__":
    run_command(main)
