"""Table ``comparison``: each variant against a reference, with intervals, tests and what they cannot show."""

from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.evaluation.pairing import pair_cases
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.runs import Run, listed_runs
from pipeline.evaluation.statistics import compare
from pipeline.reporting.formats import number
from pipeline.reporting.markup import Cell, Table, rules_between, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.tables.remarks import explanation, format_p, limits
from pipeline.runtime.errors import PipelineError, run_command

HEADER = ["Variant", "Dataset", "Cases", "DSC (%) [95% CI]", "Difference [95% CI]", "p", "p (Holm)", "r", "d_z"]


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Floats to nine digits, so that the last bits, which differ between processors, do not show in the CSV."""
    floats = [column for column in table if table[column].dtype == float]
    return table.assign(**{column: [float(f"{value:.9g}") for value in table[column]] for column in floats})


def build(runs: Sequence[Run], reference: str, labels: Mapping[str, str], samples: int) -> tuple[pd.DataFrame, Table]:
    """The table of ``runs``, machine-readable and for print.

    Args:
        runs: Run folders with per_case.csv; datasets and variants keep their order.
        reference: The variant that all others are compared with.
        labels: Display names of variants and datasets.
        samples: Bootstrap resamples.

    Returns:
        As :func:`pipeline.evaluation.statistics.compare`, and the table for print with remarks below it.

    Raises:
        PipelineError: a run's files are missing or damaged, or the reference has no run.
    """
    if reference not in {run.variant for run in runs}:
        raise PipelineError(f"--reference: {reference!r} has no run; name a variant that has runs")
    paired = pair_cases(runs)
    table = compare(paired, reference, samples)
    printed = []
    for row in table.itertuples():
        gap = f"{row.difference:+.2f} [{row.difference_low:+.2f}, {row.difference_high:+.2f}]"
        cells = [
            label(labels, row.dataset),
            str(row.cases),
            f"{row.mean:.2f} [{row.mean_low:.2f}, {row.mean_high:.2f}]",
            "reference" if row.variant == reference else gap,
            *(format_p(row.p), format_p(row.p_holm)),
            *(number(row.rank_biserial, "+.2f"), number(row.cohens_dz, "+.2f")),
        ]
        printed.append((label(labels, row.variant), [Cell(cell) for cell in cells]))
    cautions = "What cannot be concluded: " + " ".join(limits(paired, labels, reference))
    footnotes = [*explanation(table, paired, labels, samples), cautions]
    title = f"DSC against {label(labels, reference)}, paired by case"
    return _rounded(table), Table(title, HEADER, printed, footnotes, rules_between(table["dataset"]))


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "reference", "bootstrap")
    runs = listed_runs(options.results, options.runs)
    frame, table = build(runs, options.reference, options.labels, options.bootstrap)
    write(frame, table, options, describe_runs(runs), missing="")


if __name__ == "__main__":
    run_command(main)
