"""Table of a family of variants (an ablation): DSC by dataset, and the difference of each to a reference."""

import argparse

import pandas as pd

from pipeline.evaluation.pairing import pair_cases
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_cost, read_dsc
from pipeline.evaluation.statistics import significance
from pipeline.reporting.formats import number
from pipeline.reporting.markup import Cell, Table, write
from pipeline.reporting.options import add_dsc_options, label
from pipeline.reporting.tables import scores as shared
from pipeline.runtime.errors import PipelineError, run_command


def build(
    dsc: pd.DataFrame,
    cost: pd.DataFrame,
    tests: pd.DataFrame,
    reference: str,
    title: str,
    name: str,
    selection: shared.Selection,
) -> tuple[pd.DataFrame, Table]:
    """DSC of the family by dataset, and the difference of each variant to ``reference`` in the last column's DSC.

    Args:
        dsc: as dsc.csv, of the family's runs.
        cost: as cost.csv, by variant: the trained parameters.
        tests: of each variant against ``reference`` (:func:`pipeline.evaluation.statistics.significance`).
        name: label of the table in LaTeX.

    Returns:
        The machine-readable table (points) and the table for print.

    Raises:
        PipelineError: ``reference`` is not among ``variants``, or a run lacks its per-case scores or its manifest.
    """
    variants, datasets, labels, note, runs = selection
    if reference not in variants:
        raise PipelineError(f"--reference: {reference!r} is not among the variants ({', '.join(variants)})")
    scores = shared.Scores(dsc, variants, datasets)
    marks = shared.significance_marks(tests)
    base = scores.of(reference, scores.columns[-1])
    records, printed = [], []
    for variant in variants:
        score = scores.of(variant, scores.columns[-1])
        difference = None if score is None or base is None else score.mean - base.mean
        parameters = int(cost.loc[variant, "trainable_parameters"]) if variant in cost.index else None
        record = {"variant": variant, "label": label(labels, variant), "trainable_parameters": parameters}
        cells = [Cell(number(parameters, ",d"))]
        for column in scores.columns:
            record |= shared.seeds_record(column, scores.of(variant, column))
            cells.append(scores.cell(variant, column, mark=marks.get((variant, column), "")))
        records.append(record | {"difference": None if difference is None else round(difference, 6)})
        shown = number(difference, f"+.{shared.DECIMALS}f")
        printed.append((label(labels, variant), [*cells, Cell("reference" if variant == reference else shown)]))
    of_average = ", of the average" if len(datasets) > 1 else ""
    footnotes = [
        shared.MEASURED_NOTE,
        f"Difference: from {label(labels, reference)}, DSC points{of_average}.",
        *([shared.star_note(label(labels, reference))] if any(marks.values()) else []),
        describe_runs(runs),
    ]
    header = ["Variant", "Trained parameters", *(label(labels, column) for column in scores.columns), "Difference"]
    table = Table(f"{title}: DSC (%)", header, printed, footnotes, note, name)
    return pd.DataFrame(records).astype({"trainable_parameters": "Int64"}), table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dsc_options(parser)
    parser.add_argument("--cost", required=True, help="cost.csv")
    parser.add_argument("--reference", required=True, help="variant that the others are compared with")
    parser.add_argument("--title", required=True, help="heading")
    arguments = parser.parse_args()
    selection = shared.selected(arguments)
    frame, table = build(
        read_dsc(arguments.dsc),
        read_cost(arguments.cost),
        significance(pair_cases(selection.runs), arguments.reference),
        arguments.reference,
        arguments.title,
        arguments.output.name,
        selection,
    )
    write(frame, table, arguments.output)


if __name__ == "__main__":
    run_command(main)
