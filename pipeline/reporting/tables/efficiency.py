"""Table ``efficiency``: what each variant costs and what it reaches; reported numbers beside."""

import argparse
import dataclasses
import math
from typing import Any

import pandas as pd

from pipeline.evaluation.aggregate import Reported, reported, reported_parameters
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_cost, read_dsc, read_reported
from pipeline.reporting.formats import number
from pipeline.reporting.markup import Cell, Table, ranks, write
from pipeline.reporting.options import add_dsc_options, label
from pipeline.reporting.tables import scores as shared
from pipeline.runtime.errors import run_command

HEADER = ["Method", "Trained parameters", "Trained (%)", "GMAC", "Training GFLOP", "DSC (%)", "DSC per million"]
COST_NOTE = (
    "GMAC: multiply-adds per image in inference (fvcore); training GFLOP: forward and backward pass per image "
    "(PyTorch's counter, two operations per multiply-add); lowest cost marked. DSC per million: DSC points divided by "
    "millions of trained parameters."
)


def _per_million(points: float | None, parameters: float | None) -> float | None:
    return None if points is None or not parameters else round(points / (parameters / 1e6), 6)


def _decimals(values: pd.Series) -> int:
    """Decimals with which the smallest of ``values`` above zero shows three significant digits; at least two."""
    positive = [float(value) for value in values.dropna() if value > 0]
    return max(2, 2 - math.floor(math.log10(min(positive)))) if positive else 2


def _cost_cells(values: pd.Series, decimals: int, largest: bool = False) -> list[Cell]:
    """A column of cells, best and second marked."""
    marks = ranks([None if pd.isna(value) else float(value) for value in values], decimals, largest)
    return [Cell(number(value, f".{decimals}f"), rank=mark) for value, mark in zip(values, marks, strict=True)]


def build(
    dsc: pd.DataFrame,
    cost: pd.DataFrame,
    reported_table: pd.DataFrame,
    selection: shared.Selection,
) -> tuple[pd.DataFrame, Table]:
    """Parameters, operations and DSC by variant, then the methods for which there are reported numbers only.

    Args:
        dsc: as dsc.csv. reported_table: as reported.csv.
        cost: as cost.csv, indexed by variant.

    Returns:
        The machine-readable table (DSC in points) and the table for print.

    Raises:
        PipelineError: a run lacks its per-case scores or its manifest.
    """
    variants, datasets, labels, note, runs = selection
    others = shared.reported_only(reported_table, variants)
    rows = [*variants, *others]
    scores = shared.Scores(dsc, variants, datasets)
    average = scores.columns[-1]
    found: dict[str, Reported | None] = {row: reported(reported_table, row, average) for row in rows}

    def counted(row: str, column: str) -> float | None:
        there = row in cost.index and column in cost.columns and pd.notna(cost.loc[row, column])
        return float(cost.loc[row, column]) if there else None

    records: list[dict[str, Any]] = []
    for row in rows:
        score, source = scores.of(row, average), found[row]
        parameters, reported_count = counted(row, "trainable_parameters"), reported_parameters(reported_table, row)
        records.append(
            {
                "variant": row,
                "label": label(labels, row),
                "reported_only": row in others,
                "trainable_parameters": parameters,
                "trainable_parameters_reported": reported_count,
                "trainable_percent": counted(row, "trainable_percent"),
                "inference_gmacs": counted(row, "inference_gmacs"),
                # Nothing is trained in a variant without trained parameters.
                "training_gflops": counted(row, "training_gflops") if parameters else None,
                **shared.seeds_record("dsc", score),
                **shared.reported_record("dsc", source),
                "dsc_per_million": _per_million(score and score.mean, parameters),
                "dsc_per_million_reported": _per_million(source and source.value, reported_count),
            }
        )
    frame = pd.DataFrame(records).astype({"trainable_parameters": "Int64", "trainable_parameters_reported": "Int64"})
    gmacs, gflops = (
        _cost_cells(frame[name], _decimals(frame[name])) for name in ("inference_gmacs", "training_gflops")
    )
    efficiency = _cost_cells(frame["dsc_per_million"], shared.DECIMALS, largest=True)
    printed = []
    for at, row in enumerate(frame.itertuples()):
        known = pd.notna(row.trainable_parameters_reported)
        parameters = Cell(
            number(row.trainable_parameters, ",d"),
            reported=f"{row.trainable_parameters_reported:,d}" if known else None,
            source=shared.SOURCE_LETTERS["paper"] if known else "",
        )
        per_million = row.dsc_per_million_reported
        cells = [
            *(parameters, Cell(number(row.trainable_percent, ".3g")), gmacs[at], gflops[at]),
            scores.cell(row.variant, average, found[row.variant]),
            dataclasses.replace(
                efficiency[at], reported=None if pd.isna(per_million) else f"{per_million:.{shared.DECIMALS}f}"
            ),
        ]
        printed.append((shared.row_name(labels, row.variant, row.reported_only), cells))
    over = "average over datasets" if len(datasets) > 1 else label(labels, average)
    table = Table(
        title=f"Cost and DSC (%, {over}), measured [reported]",
        header=HEADER,
        rows=printed,
        footnotes=[
            *(shared.MEASURED_NOTE, COST_NOTE, *shared.source_note(found.values())),
            *([shared.DECODER_NOTE] if "end_to_end" in rows else []),
            describe_runs(runs),
        ],
        note=note,
        label="efficiency",
        rules=frozenset({len(variants)} if others else ()),
    )
    return frame, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dsc_options(parser)
    parser.add_argument("--cost", required=True, help="cost.csv")
    parser.add_argument("--reported", required=True, help="reported.csv")
    arguments = parser.parse_args()
    frame, table = build(
        read_dsc(arguments.dsc),
        read_cost(arguments.cost),
        read_reported(arguments.reported),
        shared.selected(arguments),
    )
    write(frame, table, arguments.output)


if __name__ == "__main__":
    run_command(main)
