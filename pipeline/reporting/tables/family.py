"""Table of a family of variants (an ablation): DSC by dataset, and the difference of each to a reference."""

from collections.abc import Mapping

import pandas as pd

from pipeline.evaluation.pairing import pair_cases
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_cost, read_dsc
from pipeline.evaluation.runs import listed_runs
from pipeline.evaluation.statistics import significance
from pipeline.reporting.formats import number
from pipeline.reporting.markup import Cell, Table, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.tables.scores import (
    DECIMALS,
    DSC_OPTIONS,
    MEASURED_NOTE,
    Scores,
    significance_marks,
    star_note,
)
from pipeline.runtime.errors import PipelineError, run_command


def build(
    scores: Scores, cost: pd.DataFrame, tests: pd.DataFrame, reference: str, title: str, labels: Mapping[str, str]
) -> tuple[pd.DataFrame, Table]:
    """DSC of the family by dataset, and the difference of each variant to ``reference`` in the last column's DSC.

    Args:
        scores: measured, of the family's runs.
        cost: as cost.csv, by variant: the trained parameters.
        tests: of each variant against ``reference`` (:func:`pipeline.evaluation.statistics.significance`).
        labels: display names of variants and datasets.

    Returns:
        The machine-readable table (points) and the table for print.

    Raises:
        PipelineError: ``reference`` is not among the variants.
    """
    if reference not in scores.rows:
        raise PipelineError(f"--reference: {reference!r} is not among the variants ({', '.join(scores.rows)})")
    marks, last = significance_marks(tests), scores.columns[-1]
    base = scores.of(reference, last)
    records, printed = [], []
    for variant in scores.rows:
        score = scores.of(variant, last)
        difference = None if score is None or base is None else score.mean - base.mean
        parameters = int(cost.loc[variant, "trainable_parameters"]) if variant in cost.index else None
        record = {"variant": variant, "label": label(labels, variant), "trainable_parameters": parameters}
        for column in scores.columns:
            record |= scores.record(variant, column)
        records.append(record | {"difference": None if difference is None else round(difference, 6)})
        cells = [scores.cell(variant, column, marks.get((variant, column), "")) for column in scores.columns]
        shown = "reference" if variant == reference else number(difference, f"+.{DECIMALS}f")
        cells = [Cell(number(parameters, ",d")), *cells, *scores.prompt_cells(variant), Cell(shown)]
        printed.append((label(labels, variant), cells))
    of_average = ", of the average" if len(scores.columns) > 1 else ""
    footnotes = [
        MEASURED_NOTE,
        *scores.prompt_note,
        f"Difference: from {label(labels, reference)}, DSC points{of_average}.",
    ]
    if any(marks.values()):
        footnotes.append(star_note(label(labels, reference)))
    columns = (label(labels, column) for column in scores.columns)
    header = ["Variant", "Trained parameters", *columns, *scores.prompt_header, "Difference"]
    table = Table(f"{title}: DSC (%)", header, printed, footnotes)
    return pd.DataFrame(records).astype({"trainable_parameters": "Int64"}), table


def main() -> None:
    options = parse_options(__doc__, *DSC_OPTIONS, "cost", "reference", "title")
    runs = listed_runs(options.results, options.runs)
    scores = Scores(read_dsc(options.dsc), options.variants, options.datasets)
    tests = significance(pair_cases(runs), options.reference)
    cost = read_cost(options.cost)
    frame, table = build(scores, cost, tests, options.reference, options.title, options.labels)
    write(frame, table, options, describe_runs(runs))


if __name__ == "__main__":
    run_command(main)
