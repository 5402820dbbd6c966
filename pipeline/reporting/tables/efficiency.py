"""Table ``efficiency``: what each variant costs, counted and measured, and what it reaches; reported numbers beside."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.evaluation.aggregate import reported_parameters
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.readers import read_cost, read_dsc, read_reported, read_speed
from pipeline.evaluation.runs import Run, listed_runs
from pipeline.reporting.formats import number
from pipeline.reporting.markup import Cell, Table, ranks, write
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.tables.scores import DECODER_NOTE, DSC_OPTIONS, MEASURED_NOTE, SOURCE_LETTERS, Scores
from pipeline.runtime.atomic import read_json
from pipeline.runtime.errors import run_command

COUNTS = ["trainable_parameters", "trainable_percent", "inference_gmacs", "training_gflops"]
"""Columns of cost.csv that are shown."""
BATCHES = (1, 32)
"""Batch sizes of speed.csv that are shown."""
UNTOLD = "—"
"""In place of what the device does not tell."""
HEADER = ["Method", "Trained parameters", "Trained (%)", "Weights, MB", "GMAC", "Training GFLOP", "Energy, kJ"]
HEADER += [*(f"Images/s at {size}" for size in BATCHES), f"MiB at {BATCHES[-1]}", "DSC (%)"]
COST_NOTE = (
    "Weights: what a run stores. GMAC: multiply-adds per image in inference (fvcore); training GFLOP: forward and "
    "backward pass per image (PyTorch's counter, two operations per multiply-add). Energy: of the whole GPU during a "
    "training, mean over runs (those that were resumed left out). Lowest count marked."
)


def _decimals(values: pd.Series) -> int:
    """Decimals with which the smallest of ``values`` above zero shows three significant digits; at least two."""
    positive = [float(value) for value in values.dropna() if value > 0]
    return max(2, 2 - math.floor(math.log10(min(positive)))) if positive else 2


def _cost_cells(values: pd.Series, decimals: int) -> list[Cell]:
    """A column of cells, best and second marked."""
    marks = ranks([None if pd.isna(value) else float(value) for value in values], decimals, largest=False)
    return [Cell(number(value, f".{decimals}f"), rank=mark) for value, mark in zip(values, marks, strict=True)]


def read_run_costs(runs: Sequence[Run]) -> pd.DataFrame:
    """Size of the stored weights (MB) and energy of the training (kJ) by variant, from the manifests.

    Means over runs; NaN where no manifest has them.
    """
    rows = []
    for run in runs:
        record = read_json(run.folder / "manifest.json", dict, "train the run again")
        size, energy = record.get("weights_bytes"), record.get("energy_joules")
        rows.append((run.variant, size and size / 1e6, energy and energy / 1e3))
    table = pd.DataFrame(rows, columns=["variant", "weights_mb", "energy_kj"])
    return table.astype({"weights_mb": float, "energy_kj": float}).groupby("variant").mean()


def pace(speed: pd.DataFrame) -> pd.DataFrame:
    """speed.csv by variant: images_per_second_{batch}, the same with ``_merged``, and peak_mib of the largest batch."""
    columns = {}
    for merged, ending in ((False, ""), (True, "_merged")):
        for size in BATCHES:
            rows = speed[(speed["merged"] == merged) & (speed["batch_size"] == size)].set_index("variant")
            columns[f"images_per_second_{size}{ending}"] = rows["images_per_second"]
            if size == BATCHES[-1] and not merged:
                columns["peak_mib"] = rows["peak_mib"]
    return pd.DataFrame(columns).astype(float)


def build(
    scores: Scores,
    cost: pd.DataFrame,
    speed: pd.DataFrame,
    by_run: pd.DataFrame,
    reported_table: pd.DataFrame,
    labels: Mapping[str, str],
) -> tuple[pd.DataFrame, Table]:
    """Parameters, operations, measured costs and DSC by variant, then the methods that are reported only.

    Args:
        scores: measured and reported; the DSC is that of the last column.
        cost: as cost.csv, by variant.
        speed: as speed.csv.
        by_run: as :func:`read_run_costs`.
        reported_table: as reported.csv: the reported parameters.
        labels: display names of variants and datasets.

    Returns:
        The machine-readable table (DSC in points) and the table for print.
    """
    last, paces = scores.columns[-1], pace(speed)
    counts = cost.reindex(index=scores.rows, columns=COUNTS)
    records: list[dict[str, Any]] = []
    for row, (parameters, *counted) in zip(scores.rows, counts.itertuples(index=False, name=None), strict=True):
        records.append(
            {
                "variant": row,
                "label": label(labels, row),
                "reported_only": row in scores.others,
                "trainable_parameters": parameters,
                "trainable_parameters_reported": reported_parameters(reported_table, row),
                **dict(zip(COUNTS[1:], counted, strict=True)),
                **scores.record(row, last, "dsc"),
            }
        )
    frame = pd.DataFrame(records).join(by_run, on="variant").join(paces, on="variant")
    # Nothing is trained in a variant without trained parameters.
    frame.loc[frame["trainable_parameters"] == 0, ["training_gflops", "energy_kj"]] = None
    frame = frame.astype({"trainable_parameters": "Int64", "trainable_parameters_reported": "Int64"})
    columns = [_measured(frame["weights_mb"], 2)]
    columns += [_cost_cells(frame[name], _decimals(frame[name])) for name in COUNTS[2:]]
    columns.append(_measured(frame["energy_kj"], _decimals(frame["energy_kj"])))
    for name in (f"images_per_second_{size}" for size in BATCHES):
        columns.append(_measured(frame[name], _decimals(frame[name]), frame[f"{name}_merged"]))
    columns.append(_measured(frame["peak_mib"], 0))
    for at, measured in ((3, by_run["energy_kj"]), (-1, paces["peak_mib"])):
        if measured.isna().all():
            columns[at] = [Cell(UNTOLD)] * len(frame)
    printed = []
    for row, *costs in zip(frame.itertuples(), *columns, strict=True):
        known = pd.notna(row.trainable_parameters_reported)
        parameters = Cell(
            number(row.trainable_parameters, ",d"),
            reported=f"{row.trainable_parameters_reported:,d}" if known else None,
            source=SOURCE_LETTERS["paper"] if known else "",
        )
        cells = [parameters, Cell(number(row.trainable_percent, ".3g")), *costs]
        cells += [scores.cell(row.variant, last), *scores.prompt_cells(row.variant)]
        printed.append((scores.name(labels, row.variant), cells))
    footnotes = [MEASURED_NOTE, *scores.prompt_note, COST_NOTE, _speed_note(speed), *scores.source_note([last])]
    if "end_to_end" in scores.rows:
        footnotes.append(DECODER_NOTE)
    over = "average over datasets" if len(scores.columns) > 1 else label(labels, last)
    title = f"Cost and DSC (%, {over}), measured [reported]"
    return frame, Table(title, [*HEADER, *scores.prompt_header], printed, footnotes, scores.rules())


def _measured(values: pd.Series, decimals: int, merged: pd.Series | None = None) -> list[Cell]:
    """A column without marks, as measurements vary; in parentheses what merging makes of them."""
    texts = [number(value, f".{decimals}f") for value in values]
    if merged is not None:
        others = ["" if pd.isna(other) else f" ({other:.{decimals}f})" for other in merged]
        texts = [text + other for text, other in zip(texts, others, strict=True)]
    return [Cell(text) for text in texts]


def _speed_note(speed: pd.DataFrame) -> str:
    devices = speed[["device", "precision"]].drop_duplicates().itertuples(index=False, name=None)
    where = " and ".join(", ".join(pair) for pair in devices)
    return (
        f"Images/s: inference on {where}, from pixels and a prompt of full length to logits, by batch size; in "
        "parentheses with adapters merged into CLIPSeg, where they can be. MiB: peak GPU memory of that. "
        f"{UNTOLD}: the device does not tell."
    )


def main() -> None:
    options = parse_options(__doc__, *DSC_OPTIONS, "cost", "speed", "reported")
    reported = read_reported(options.reported)
    scores = Scores(read_dsc(options.dsc), options.variants, options.datasets, reported)
    runs = listed_runs(options.results, options.runs)
    measured = (read_speed(options.speed), read_run_costs(runs))
    frame, table = build(scores, read_cost(options.cost), *measured, reported, options.labels)
    write(frame, table, options, describe_runs(runs))


if __name__ == "__main__":
    run_command(main)
