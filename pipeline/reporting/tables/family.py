"""Table of a family of variants (an ablation): DSC by dataset, and the difference of each to a reference."""

from collections.abc import Mapping

import pandas as pd

from pipeline.evaluation.methods import compare_methods
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_cases, read_cost, read_dsc
from pipeline.evaluation.runs import listed_runs
from pipeline.reporting.formats import NOT_AVAILABLE, number
from pipeline.reporting.markup import Cell, Table, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.outcomes import SEEDS_NOTE, difference, mark_note, marks, seeds_needed
from pipeline.reporting.tables.scores import DSC_OPTIONS, MEASURED_NOTE, Scores
from pipeline.runtime.errors import PipelineError, run_command

COMPARED = ("difference", "low", "high", "outcome", "seeds_needed")
"""Columns of the comparison that the CSV has of each dataset."""


def build(
    scores: Scores,
    cost: pd.DataFrame,
    comparison: pd.DataFrame,
    reference: str,
    margin: float,
    title: str,
    labels: Mapping[str, str],
) -> tuple[pd.DataFrame, Table]:
    """DSC of the family by dataset, and how each variant compares with ``reference``; in full for the last column.

    Args:
        scores: measured, of the family's runs.
        cost: as cost.csv, by variant: the trained parameters.
        comparison: with ``reference`` at ``margin`` (:func:`pipeline.evaluation.compare_methods`).
        labels: display names of variants and datasets.

    Returns:
        The machine-readable table (points; of each column :data:`COMPARED` too) and the table for print.

    Raises:
        PipelineError: ``reference`` is not among the variants.
    """
    if reference not in scores.rows:
        raise PipelineError(f"--reference: {reference!r} is not among the variants ({', '.join(scores.rows)})")
    outcomes, last = marks(comparison), scores.columns[-1]
    compared = comparison.set_index(["variant", "dataset"])
    records, printed = [], []
    for variant in scores.rows:
        parameters = int(cost.loc[variant, "trainable_parameters"]) if variant in cost.index else None
        record = {"variant": variant, "label": label(labels, variant), "trainable_parameters": parameters}
        for column in scores.columns:
            there = (variant, column) in compared.index
            record |= scores.record(variant, column)
            record |= {f"{column}_{name}": compared.at[(variant, column), name] if there else None for name in COMPARED}
        records.append(record)
        cells = [scores.cell(variant, column, outcomes.get((variant, column), "")) for column in scores.columns]
        shown = ["reference", "", ""] if variant == reference else [NOT_AVAILABLE] * 3
        if (variant, last) in compared.index:
            row = compared.loc[(variant, last)]
            shown = [difference(row), row["outcome"], seeds_needed(row["seeds_needed"])]
        cells = [Cell(number(parameters, ",d")), *cells, *scores.prompt_cells(variant), *map(Cell, shown)]
        printed.append((label(labels, variant), cells))
    of_average = ", of the average" if len(scores.columns) > 1 else ""
    footnotes = [
        MEASURED_NOTE,
        *scores.prompt_note,
        f"Difference: from {label(labels, reference)}, DSC points{of_average}, over the seeds that both have.",
        mark_note(label(labels, reference), margin),
        SEEDS_NOTE,
    ]
    columns = (label(labels, column) for column in scores.columns)
    header = ["Variant", "Trained parameters", *columns, *scores.prompt_header]
    header += ["Difference [95% CI]", "Outcome", "Seeds needed"]
    frame = pd.DataFrame(records).astype({"trainable_parameters": "Int64"})
    floats = [column for column in frame if column.endswith(("_difference", "_low", "_high"))]
    frame[floats] = frame[floats].astype(float).round(6)
    return frame, Table(f"{title}: DSC (%)", header, printed, footnotes)


def main() -> None:
    options = parse_options(__doc__, *DSC_OPTIONS, "cost", "reference", "margin", "title")
    runs = listed_runs(options.results, options.runs)
    scores = Scores(read_dsc(options.dsc), options.variants, options.datasets)
    comparison = compare_methods(read_cases(runs), options.reference, options.margin)
    cost = read_cost(options.cost)
    settings = options.reference, options.margin, options.title, options.labels
    frame, table = build(scores, cost, comparison, *settings)
    write(frame, table, options, describe_runs(runs))


if __name__ == "__main__":
    run_command(main)
