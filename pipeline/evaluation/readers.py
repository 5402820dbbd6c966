"""Readers of result tables and of the per-case scores of runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.evaluation.per_case import read_per_case
from pipeline.runtime.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.evaluation.runs import Run

AVERAGE = "average"


def read_table(path: str | Path, columns: Iterable[str]) -> pd.DataFrame:
    """Read a CSV that has at least ``columns``; other columns are kept.

    Raises:
        PipelineError: the file is absent, empty, not CSV, or lacks a column.
    """
    path = Path(path)
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; run the rule that makes it, or mend the path") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path}: not a readable CSV ({error}); delete it and run its rule again") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise PipelineError(
            f"{path}: column {', '.join(missing)} is missing (found: {', '.join(map(str, table.columns))}); "
            "delete the file and run its rule again"
        )
    return table


def read_dsc(path: str | Path) -> pd.DataFrame:
    """dsc.csv: one row a run, DSC in 0..1."""
    table = read_table(path, ["dataset", "variant", "seed", "dsc"])
    twice = table[table.duplicated(["dataset", "variant", "seed"])]
    if len(twice):
        row = twice.iloc[0]
        raise PipelineError(f"{path}: {row.dataset}/{row.variant}/seed{row.seed} stands there twice; make it anew")
    return table


def read_cost(path: str | Path) -> pd.DataFrame:
    """cost.csv by variant; columns beyond the count of trained parameters may be absent."""
    return read_table(path, ["variant", "trainable_parameters"]).drop_duplicates("variant").set_index("variant")


def read_reported(path: str | Path) -> pd.DataFrame:
    """reported.csv: method, dataset, metric, value (points or pixels), trainable_parameters, source."""
    return read_table(path, ["method", "dataset", "metric", "value", "trainable_parameters", "source"])


def read_cases(runs: Sequence[Run]) -> pd.DataFrame:
    """The per-case scores of ``runs``: dataset, variant, seed and the columns of per_case.csv (DSC and IoU in 0..1)."""
    tables = [read_per_case(run.folder).assign(dataset=run.dataset, variant=run.variant, seed=run.seed) for run in runs]
    return pd.concat(tables, ignore_index=True)


def dataset_order(datasets: Iterable[str]) -> list[str]:
    """``datasets`` once each, in the order in which they first appear."""
    return list(dict.fromkeys(datasets))
