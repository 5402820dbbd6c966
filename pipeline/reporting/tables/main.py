"""Table ``main``: DSC by method and dataset, measured beside reported."""

from collections.abc import Mapping

import pandas as pd

from pipeline.evaluation.csv_table import read_table
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_dsc, read_reported
from pipeline.evaluation.runs import listed_runs
from pipeline.reporting.markup import Table, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.tables.scores import (
    DECODER_NOTE,
    DSC_OPTIONS,
    MEASURED_NOTE,
    Scores,
    significance_marks,
    star_note,
)
from pipeline.runtime.errors import run_command


def build(scores: Scores, comparison: pd.DataFrame, labels: Mapping[str, str]) -> tuple[pd.DataFrame, Table]:
    """DSC by variant and dataset, then the methods for which there are reported numbers only.

    Args:
        scores: measured and reported.
        comparison: as comparison.csv (dataset, variant, reference, p_holm), for the marks of significance.
        labels: display names of variants and datasets.

    Returns:
        The machine-readable table (points; one value per column) and the table for print.
    """
    marks = significance_marks(comparison)
    records, printed = [], []
    for row in scores.rows:
        record = {"variant": row, "label": label(labels, row), "reported_only": row in scores.others}
        for column in scores.columns:
            record |= scores.record(row, column)
        records.append(record)
        cells = [scores.cell(row, column, marks.get((row, column), "")) for column in scores.columns]
        printed.append((scores.name(labels, row), cells))
    footnotes = [MEASURED_NOTE, *scores.source_note(scores.columns)]
    if any(scores.reported("end_to_end", column) for column in scores.columns):
        footnotes.append(DECODER_NOTE)
    if any(marks.values()):
        footnotes.append(star_note(label(labels, comparison["reference"].iloc[0])))
    header = ["Method", *(label(labels, column) for column in scores.columns)]
    table = Table("DSC (%) by dataset, measured [reported]", header, printed, footnotes, scores.rules())
    return pd.DataFrame(records), table


def main() -> None:
    options = parse_options(__doc__, *DSC_OPTIONS, "comparison", "reported")
    reported = read_reported(options.reported)
    scores = Scores(read_dsc(options.dsc), options.variants, options.datasets, reported)
    comparison = read_table(options.comparison, ["dataset", "variant", "reference", "p_holm"])
    runs = describe_runs(listed_runs(options.results, options.runs))
    write(*build(scores, comparison, options.labels), options, runs)


if __name__ == "__main__":
    run_command(main)
