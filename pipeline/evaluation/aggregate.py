"""Measured DSC averaged over seeds, then over datasets, reported DSC, and the Pareto front."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from pipeline.evaluation.readers import AVERAGE

SHARES = ("dsc", "iou", "nsd", "ece", "pooled_ece")
"""Metrics in 0..1 that are shown in points."""
SOURCES = ("paper", "vlsm-adapter", "medvlsm")
"""Sources of reported numbers, in order of precedence."""


class Score(NamedTuple):
    """Mean and standard deviation over seeds, in points (0..100), pixels or cases; ``sd`` is None for a single seed.

    ``prompt_sd``: the standard deviation over prompt types of the test set's mean, points, averaged over seeds and
    datasets; None where that is not known.
    """

    mean: float
    sd: float | None
    seeds: int
    prompt_sd: float | None = None


class Reported(NamedTuple):
    """A reported number (points or pixels) and its source."""

    value: float
    source: str


def measured(dsc: pd.DataFrame, variant: str, datasets: Sequence[str], metric: str = "dsc") -> dict[str, Score | None]:
    """Scores of ``variant`` by dataset, and under ``average`` over all of ``datasets``; None where it was not run.

    The average is taken over datasets within each seed that all of them have, then over these seeds.

    Args:
        dsc: columns dataset, variant, seed, dsc (0..1) and, if known, prompt_sd (0..1).
        metric: another column of ``dsc``: one of :data:`SHARES` (0..1, as points), hd95 (pixels) or misses (cases).
    """
    share = metric in SHARES
    rows = dsc[dsc["variant"] == variant]

    def by_column(values: str) -> dict[str, pd.Series]:
        table = (100 if share else 1) * rows.pivot(index="seed", columns="dataset", values=values).reindex(
            columns=datasets
        )
        return {**{name: table[name].dropna() for name in datasets}, AVERAGE: table.dropna().mean(axis=1)}

    spreads = by_column("prompt_sd") if metric == "dsc" and "prompt_sd" in rows else {}

    def score(name: str, values: pd.Series) -> Score | None:
        if not len(values):
            return None
        sd = float(values.std(ddof=1)) if len(values) > 1 else None
        spread = spreads.get(name, ())
        return Score(float(values.mean()), sd, len(values), float(spread.mean()) if len(spread) else None)

    return {name: score(name, values) for name, values in by_column(metric).items()}


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
