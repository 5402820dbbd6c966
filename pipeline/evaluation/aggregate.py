"""Measured DSC averaged over seeds, then over datasets, reported DSC, and the Pareto front."""

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


def _first(rows: pd.DataFrame, column: str) -> Reported | None:
    for source in SOURCES:
        values = rows.loc[rows["source"] == source, column]
        if len(values):
            return Reported(float(values.iloc[0]), source)
    return None


def reported(table: pd.DataFrame, method: str, dataset: str, metric: str = "dsc") -> Reported | None:
    """The reported number of ``method`` (points or pixels), from the first of :data:`SOURCES` that has it."""
    rows = table[(table["method"] == method) & (table["dataset"] == dataset) & (table["metric"] == metric)]
    return _first(rows, "value")


def reported_parameters(table: pd.DataFrame, method: str) -> int | None:
    """Trained parameters of ``method`` from the first of :data:`SOURCES` that has them."""
    found = _first(table[table["method"] == method], "trainable_parameters")
    return None if found is None else int(found.value)


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both fewer parameters (first) and higher DSC (second), by parameters."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best
