"""Measured DSC averaged over seeds, then over datasets, and reported DSC: the numbers of tables and figures."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from pipeline.evaluation.readers import AVERAGE

SOURCES = ("paper", "vlsm-adapter", "medvlsm")
"""Sources of reported numbers, in order of precedence."""


class Score(NamedTuple):
    """Mean and standard deviation over seeds, in DSC points (0..100); ``sd`` is None for a single seed."""

    mean: float
    sd: float | None
    seeds: int


class Reported(NamedTuple):
    """A reported number (points or pixels) and its source."""

    value: float
    source: str


def measured(dsc: pd.DataFrame, variant: str, datasets: Sequence[str]) -> dict[str, Score | None]:
    """Scores of ``variant`` by dataset, and under ``average`` over all of ``datasets``; None where it was not run.

    The average is taken over datasets within each seed that all of them have, then over these seeds.
    """
    table = (
        dsc[dsc["variant"] == variant].pivot(index="seed", columns="dataset", values="dsc").reindex(columns=datasets)
    )
    table = table * 100
    columns = {dataset: table[dataset].dropna() for dataset in datasets}
    columns[AVERAGE] = table.dropna().mean(axis=1)
    return {
        name: Score(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None, len(values))
        if len(values)
        else None
        for name, values in columns.items()
    }


def reported(table: pd.DataFrame, method: str, dataset: str, metric: str = "dsc") -> Reported | None:
    """The reported number of ``method`` (points or pixels), from the first of :data:`SOURCES` that has it."""
    rows = table[(table["method"] == method) & (table["dataset"] == dataset) & (table["metric"] == metric)]
    for source in SOURCES:
        values = rows.loc[rows["source"] == source, "value"]
        if len(values):
            return Reported(float(values.iloc[0]), source)
    return None


def reported_parameters(table: pd.DataFrame, method: str) -> int | None:
    """Trained parameters of ``method`` from the first of :data:`SOURCES` that has them."""
    rows = table[table["method"] == method]
    for source in SOURCES:
        values = rows.loc[rows["source"] == source, "trainable_parameters"]
        if len(values):
            return int(values.iloc[0])
    return None
