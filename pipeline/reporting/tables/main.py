"""Table ``main``: DSC by method and dataset, measured beside reported."""

from collections.abc import Mapping

import pandas as pd

from pipeline.evaluation.csv_table import read_table
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_dsc, read_reported
from pipeline.evaluation.runs import listed_runs
from pipeline.reporting.markup import Table, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.outcomes import mark_note, marks
from pipeline.reporting.tables.scores import DECODER_NOTE, DSC_OPTIONS, MEASURED_NOTE, Scores
from pipeline.runtime.errors import run_command

TARGET_NOTE = (
    "With target: over the test cases whose target is not empty. The others score 1 if nothing is predicted, else 0, "
    "and in BUSI their prompts give them away: they say that there is no tumor."
)
COMPARISON = ["dataset", "variant", "reference", "margin", "outcome"]


def build(scores: Scores, comparison: pd.DataFrame, labels: Mapping[str, str]) -> tuple[pd.DataFrame, Table]:
    """DSC by variant and dataset, then the methods for which there are reported numbers only.

    Args:
        scores: measured and reported.
        comparison: as comparison.csv, columns :data:`COMPARISON`, for the marks of outcomes.
        labels: display names of variants and datasets.

    Returns:
        The machine-readable table (points; one value per column) and the table for print.
    """
    outcomes = marks(comparison)
    partly = scores.with_target.datasets if scores.with_target else []
    records, printed = [], []
    for row in scores.rows:
        record = {"variant": row, "label": label(labels, row), "reported_only": row in scores.others}
        cells = []
        for column in scores.columns:
            record |= scores.record(row, column)
            cells.append(scores.cell(row, column, outcomes.get((row, column), "")))
            if column in partly:
                record |= scores.with_target.record(row, column, f"{column}_with_target")
                cells.append(scores.with_target.cell(row, column))
        records.append(record)
        printed.append((scores.name(labels, row), [*cells, *scores.prompt_cells(row)]))
    footnotes = [
        MEASURED_NOTE,
        *scores.prompt_note,
        *([TARGET_NOTE] if partly else []),
        *scores.source_note(scores.columns),
    ]
    if any(scores.reported("end_to_end", column) for column in scores.columns):
        footnotes.append(DECODER_NOTE)
    if len(comparison):
        first = comparison.iloc[0]
        footnotes.append(mark_note(label(labels, first["reference"]), first["margin"]))
    header = ["Method"]
    for column in scores.columns:
        name = label(labels, column)
        header += [name, f"{name}, with target"] if column in partly else [name]
    header += scores.prompt_header
    table = Table("DSC (%) by dataset, measured [reported]", header, printed, footnotes, scores.rules())
    return pd.DataFrame(records), table


def main() -> None:
    options = parse_options(__doc__, *DSC_OPTIONS, "comparison", "reported")
    reported = read_reported(options.reported)
    scores = Scores(read_dsc(options.dsc), options.variants, options.datasets, reported)
    comparison = read_table(options.comparison, COMPARISON)
    runs = describe_runs(listed_runs(options.results, options.runs))
    write(*build(scores, comparison, options.labels), options, runs)


if __name__ == "__main__":
    run_command(main)
