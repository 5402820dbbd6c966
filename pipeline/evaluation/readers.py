"""The tables that tables and figures are made from: dsc.csv, cost.csv, speed.csv, reported.csv, per-case scores."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from pipeline.evaluation.csv_table import read_table
from pipeline.evaluation.per_case import COLUMNS, read_per_case
from pipeline.evaluation.runs import IDENTITY, Run

AVERAGE = "average"
"""In place of a dataset: the mean over datasets."""
OVERALL = "overall"
"""In place of a dataset: a method's verdict over all its reported rows."""


def read_dsc(path: str | Path) -> pd.DataFrame:
    """dsc.csv: one row per run, DSC in 0..1."""
    return read_table(path, [*IDENTITY, "dsc"], unique=IDENTITY)


def read_cost(path: str | Path) -> pd.DataFrame:
    """cost.csv by variant; columns beyond the count of trained parameters may be absent."""
    return read_table(path, ["variant", "trainable_parameters"]).drop_duplicates("variant").set_index("variant")


def read_speed(path: str | Path) -> pd.DataFrame:
    """speed.csv: variant, merged, batch_size, images_per_second, peak_mib (NaN on a CPU), device, precision."""
    columns = ["variant", "merged", "batch_size", "images_per_second", "peak_mib", "device", "precision"]
    return read_table(path, columns, unique=["variant", "merged", "batch_size"])


def read_reported(path: str | Path) -> pd.DataFrame:
    """reported.csv: method, dataset, metric, value (points or pixels), trainable_parameters, source."""
    return read_table(path, ["method", "dataset", "metric", "value", "trainable_parameters", "source"])


def read_cases(runs: Sequence[Run], columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
    """The per-case scores of ``runs``: dataset, variant, seed and ``columns`` of per_case.csv (DSC and IoU in 0..1)."""
    tables = (read_per_case(run.folder, columns=columns) for run in runs)
    named = zip(tables, runs, strict=True)
    return pd.concat(
        [table.assign(dataset=run.dataset, variant=run.variant, seed=run.seed) for table, run in named],
        ignore_index=True,
    )


def dataset_order(datasets: Iterable[str]) -> list[str]:
    """``datasets`` once each, in the order of first appearance."""
    return list(dict.fromkeys(datasets))
