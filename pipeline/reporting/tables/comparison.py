"""Table ``comparison``: is each variant better than, worse than, or as good as the reference?"""

from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.evaluation.intervals import case_intervals
from pipeline.evaluation.methods import compare_methods, mixed_model
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_cases
from pipeline.evaluation.runs import Run, listed_runs
from pipeline.reporting.formats import NOT_AVAILABLE, number
from pipeline.reporting.markup import Cell, Table, rules_between, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.outcomes import difference, interval, seeds_needed
from pipeline.reporting.tables.remarks import explanation, limits
from pipeline.runtime.errors import PipelineError, run_command

HEADER = ["Variant", "Dataset", "Seeds", "Difference [95% CI]", "SD", "p (Holm)", "p (eq., Holm)", "Outcome"]
HEADER += ["Seeds needed", "Mixed model [95% CI]", "These weights [95% CI]"]


def format_p(value: float | None) -> str:
    """A p-value with four decimals."""
    return number(value, ".4f") if pd.isna(value) or value >= 0.0001 else "<0.0001"


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Floats to nine digits, so that the last bits, which differ between processors, do not show in the CSV."""
    floats = [column for column in table if table[column].dtype == float]
    return table.assign(**{column: [float(f"{value:.9g}") for value in table[column]] for column in floats})


def build(
    runs: Sequence[Run], reference: str, margin: float, labels: Mapping[str, str], samples: int
) -> tuple[pd.DataFrame, Table]:
    """The table of ``runs``, machine-readable and for print.

    Args:
        runs: Run folders with per_case.csv; datasets and variants keep their order.
        reference: The variant that all others are compared with; without others the table has no rows.
        margin: Of equivalence, DSC points.
        labels: Display names of variants and datasets.
        samples: Bootstrap resamples.

    Returns:
        Columns dataset, variant, reference, margin, the others of :func:`pipeline.evaluation.compare_methods`, those of
        :func:`pipeline.evaluation.methods.mixed_model`, and cases_low and cases_high: the 95% bootstrap interval over
        cases of the difference between these very runs (points); and the table for print with remarks below it.

    Raises:
        PipelineError: a run's files are missing or damaged, or the reference has no run.
    """
    if reference not in {run.variant for run in runs}:
        raise PipelineError(f"--reference: {reference!r} has no run; name a variant that has runs")
    scores = read_cases(runs)
    table = compare_methods(scores, reference, margin)
    table.insert(2, "reference", reference)
    table.insert(3, "margin", margin)
    for other in (mixed_model(scores, reference), case_intervals(scores, reference, samples)):
        table = table.merge(other, on=["dataset", "variant"], how="left")
    printed = []
    for row in table.itertuples():
        mixed = number(row.mixed_difference, "+.2f")
        cells = [
            *(label(labels, row.dataset), str(row.seeds), difference(row), number(row.seed_sd, ".2f")),
            *(format_p(row.p_holm), format_p(row.p_equivalence_holm), row.outcome, seeds_needed(row.seeds_needed)),
            mixed if mixed == NOT_AVAILABLE else f"{mixed} {interval(row.mixed_low, row.mixed_high)}",
            interval(row.cases_low, row.cases_high),
        ]
        printed.append((label(labels, row.variant), [Cell(cell) for cell in cells]))
    footnotes = [f"There is no other variant to compare {label(labels, reference)} with."]
    if printed:
        footnotes = [
            *explanation(table, labels, samples),
            f"What cannot be concluded: {' '.join(limits(table, labels))}",
        ]
    title = f"DSC against {label(labels, reference)}"
    return _rounded(table), Table(title, HEADER, printed, footnotes, rules_between(table["dataset"]))


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "reference", "margin", "bootstrap")
    runs = listed_runs(options.results, options.runs)
    frame, table = build(runs, options.reference, options.margin, options.labels, options.bootstrap)
    write(frame, table, options, describe_runs(runs), missing="")


if __name__ == "__main__":
    run_command(main)
