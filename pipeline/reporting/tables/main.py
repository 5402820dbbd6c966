"""Table ``main``: DSC by method and dataset, measured beside reported."""

import argparse

import pandas as pd

from pipeline.evaluation.aggregate import reported
from pipeline.evaluation.csv_table import read_table
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_dsc, read_reported
from pipeline.reporting.markup import Table, write
from pipeline.reporting.options import add_dsc_options, label
from pipeline.reporting.tables import scores as shared
from pipeline.runtime.errors import run_command


def build(
    dsc: pd.DataFrame,
    reported_table: pd.DataFrame,
    comparison: pd.DataFrame,
    selection: shared.Selection,
) -> tuple[pd.DataFrame, Table]:
    """DSC by variant and dataset, then the methods for which there are reported numbers only.

    Args:
        dsc: as dsc.csv. reported_table: as reported.csv.
        comparison: as comparison.csv (dataset, variant, reference, p_holm), for the marks of significance.

    Returns:
        The machine-readable table (points; one value per column) and the table for print.

    Raises:
        PipelineError: a run lacks its per-case scores or its manifest.
    """
    variants, datasets, labels, note, runs = selection
    others = shared.reported_only(reported_table, variants)
    scores = shared.Scores(dsc, variants, datasets)
    marks = shared.significance_marks(comparison)
    found = {
        (row, column): reported(reported_table, row, column)
        for row in (*variants, *others)
        for column in scores.columns
    }
    records, printed = [], []
    for row in (*variants, *others):
        record = {"variant": row, "label": label(labels, row), "reported_only": row in others}
        cells = []
        for column in scores.columns:
            record |= shared.seeds_record(column, scores.of(row, column))
            record |= shared.reported_record(column, found[row, column])
            cells.append(scores.cell(row, column, found[row, column], marks.get((row, column), "")))
        records.append(record)
        printed.append((shared.row_name(labels, row, row in others), cells))
    footnotes = [shared.MEASURED_NOTE, *shared.source_note(found.values())]
    if any(found.get(("end_to_end", column)) for column in scores.columns):
        footnotes.append(shared.DECODER_NOTE)
    if any(marks.values()):
        footnotes.append(shared.star_note(label(labels, comparison["reference"].iloc[0])))
    table = Table(
        title="DSC (%) by dataset, measured [reported]",
        header=["Method", *(label(labels, column) for column in scores.columns)],
        rows=printed,
        footnotes=[*footnotes, describe_runs(runs)],
        note=note,
        label="main",
        rules=frozenset({len(variants)} if others else ()),
    )
    return pd.DataFrame(records), table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dsc_options(parser)
    parser.add_argument("--comparison", required=True, help="tables/comparison.csv, for the marks of significance")
    parser.add_argument("--reported", required=True, help="reported.csv")
    arguments = parser.parse_args()
    frame, table = build(
        read_dsc(arguments.dsc),
        read_reported(arguments.reported),
        read_table(arguments.comparison, ["dataset", "variant", "reference", "p_holm"]),
        shared.selected(arguments),
    )
    write(frame, table, arguments.output)


if __name__ == "__main__":
    run_command(main)
