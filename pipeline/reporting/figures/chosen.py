"""What a figure draws of its inputs: the runs or rows of its variants."""

import argparse
from collections.abc import Collection

import pandas as pd

from pipeline.evaluation.runs import Run, listed_runs
from pipeline.runtime.errors import PipelineError


def runs_of(options: argparse.Namespace, variants: Collection[str]) -> list[Run]:
    """The runs of ``variants`` among those that ``--results`` and ``--runs`` name.

    Raises:
        PipelineError: there are none, or the list is missing or broken.
    """
    runs = [run for run in listed_runs(options.results, options.runs) if run.variant in variants]
    if not runs:
        raise PipelineError(f"{options.runs}: no run of {', '.join(variants)}; check --runs and the variants")
    return runs


def rows_of(table: pd.DataFrame, variants: Collection[str], figure: str) -> pd.DataFrame:
    """The rows of ``table`` that belong to ``variants``.

    Raises:
        PipelineError: there are none; the message names ``figure``.
    """
    rows = table[table["variant"].isin(variants)]
    if rows.empty:
        raise PipelineError(f"{figure}: no row for {', '.join(variants)}; check --variants and the table")
    return rows
