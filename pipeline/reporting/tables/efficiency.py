"""Table ``efficiency``: what each variant costs and what it reaches; reported numbers beside."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.evaluation.aggregate import reported_parameters
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_cost, read_dsc, read_reported
from pipeline.evaluation.runs import listed_runs
from pipeline.reporting.formats import number
from pipeline.reporting.markup import Cell, Table, ranks, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.tables.scores import (
    DECIMALS,
    DECODER_NOTE,
    DSC_OPTIONS,
    MEASURED_NOTE,
    SOURCE_LETTERS,
    Scores,
)
from pipeline.runtime.errors import run_command

COUNTS = ["trainable_parameters", "trainable_percent", "inference_gmacs", "training_gflops"]
"""Columns of cost.csv that are shown."""
HEADER = ["Method", "Trained parameters", "Trained (%)", "GMAC", "Training GFLOP", "DSC (%)"]
COST_NOTE = (
    "GMAC: multiply-adds per image in inference (fvcore); training GFLOP: forward and backward pass per image "
    "(PyTorch's counter, two operations per multiply-add); lowest cost marked. DSC per million: DSC points divided by "
    "millions of trained parameters."
)


def _per_million(points: float | None, parameters: float | None) -> float | None:
    return None if points is None or not parameters or pd.isna(parameters) else round(points / (parameters / 1e6), 6)


def _decimals(values: pd.Series) -> int:
    """Decimals with which the smallest of ``values`` above zero shows three significant digits; at least two."""
    positive = [float(value) for value in values.dropna() if value > 0]
    return max(2, 2 - math.floor(math.log10(min(positive)))) if positive else 2


def _cost_cells(values: pd.Series, decimals: int, largest: bool = False) -> list[Cell]:
    """A column of cells, best and second marked."""
    marks = ranks([None if pd.isna(value) else float(value) for value in values], decimals, largest)
    return [Cell(number(value, f".{decimals}f"), rank=mark) for value, mark in zip(values, marks, strict=True)]


def build(
    scores: Scores, cost: pd.DataFrame, reported_table: pd.DataFrame, labels: Mapping[str, str]
) -> tuple[pd.DataFrame, Table]:
    """Parameters, operations and DSC by variant, then the methods for which there are reported numbers only.

    Args:
        scores: measured and reported; the DSC is that of the last column.
        cost: as cost.csv, by variant.
        reported_table: as reported.csv: the reported parameters.
        labels: display names of variants and datasets.

    Returns:
        The machine-readable table (DSC in points) and the table for print.
    """
    last = scores.columns[-1]
    counts = cost.reindex(index=scores.rows, columns=COUNTS)
    records: list[dict[str, Any]] = []
    for row, (parameters, *counted) in zip(scores.rows, counts.itertuples(index=False, name=None), strict=True):
        score, source = scores.of(row, last), scores.reported(row, last)
        reported_count = reported_parameters(reported_table, row)
        records.append(
            {
                "variant": row,
                "label": label(labels, row),
                "reported_only": row in scores.others,
                "trainable_parameters": parameters,
                "trainable_parameters_reported": reported_count,
                **dict(zip(COUNTS[1:], counted, strict=True)),
                **scores.record(row, last, "dsc"),
                "dsc_per_million": _per_million(score and score.mean, parameters),
                "dsc_per_million_reported": _per_million(source and source.value, reported_count),
            }
        )
    frame = pd.DataFrame(records)
    # Nothing is trained in a variant without trained parameters.
    frame.loc[frame["trainable_parameters"] == 0, "training_gflops"] = None
    frame = frame.astype({"trainable_parameters": "Int64", "trainable_parameters_reported": "Int64"})
    gmacs, gflops = (
        _cost_cells(frame[name], _decimals(frame[name])) for name in ("inference_gmacs", "training_gflops")
    )
    efficiency = _cost_cells(frame["dsc_per_million"], DECIMALS, largest=True)
    printed = []
    for at, row in enumerate(frame.itertuples()):
        known, per_million = pd.notna(row.trainable_parameters_reported), row.dsc_per_million_reported
        parameters = Cell(
            number(row.trainable_parameters, ",d"),
            reported=f"{row.trainable_parameters_reported:,d}" if known else None,
            source=SOURCE_LETTERS["paper"] if known else "",
        )
        reported = None if pd.isna(per_million) else f"{per_million:.{DECIMALS}f}"
        cells = [
            *(parameters, Cell(number(row.trainable_percent, ".3g")), gmacs[at], gflops[at]),
            *(scores.cell(row.variant, last), *scores.prompt_cells(row.variant)),
            dataclasses.replace(efficiency[at], reported=reported),
        ]
        printed.append((scores.name(labels, row.variant), cells))
    footnotes = [MEASURED_NOTE, *scores.prompt_note, COST_NOTE, *scores.source_note([last])]
    if "end_to_end" in scores.rows:
        footnotes.append(DECODER_NOTE)
    over = "average over datasets" if len(scores.columns) > 1 else label(labels, last)
    header = [*HEADER, *scores.prompt_header, "DSC per million"]
    title = f"Cost and DSC (%, {over}), measured [reported]"
    return frame, Table(title, header, printed, footnotes, scores.rules())


def main() -> None:
    options = parse_options(__doc__, *DSC_OPTIONS, "cost", "reported")
    reported = read_reported(options.reported)
    scores = Scores(read_dsc(options.dsc), options.variants, options.datasets, reported)
    runs = describe_runs(listed_runs(options.results, options.runs))
    write(*build(scores, read_cost(options.cost), reported, options.labels), options, runs)


if __name__ == "__main__":
    run_command(main)
