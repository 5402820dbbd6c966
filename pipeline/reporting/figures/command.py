"""The command line of a figure, and what of its inputs it draws."""

import argparse
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pandas as pd

from pipeline.evaluation.runs import Run, listed_runs
from pipeline.reporting.options import add_datasets, add_labels, add_output, add_variants
from pipeline.runtime.errors import PipelineError


def parse_options(
    description: str,
    *more: Callable[[argparse.ArgumentParser], None],
    files: Mapping[str, str] | None = None,
    variants: bool = True,
) -> argparse.Namespace:
    """The options of a figure: ``--labels``, ``--note``, ``--output`` and those asked for.

    Args:
        description: the module's docstring.
        more: each adds further options to the parser.
        files: options that take a CSV each, and which.
        variants: whether there is ``--variants``.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for add in more:
        add(parser)
    for name, file in (files or {}).items():
        parser.add_argument(f"--{name}", required=True, help=file)
    if variants:
        add_variants(parser)
    add_labels(parser)
    add_output(parser, "path without ending: .pdf and .png are written")
    return parser.parse_args()


def add_dataset_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--results`` and ``--datasets``."""
    parser.add_argument("--results", type=Path, required=True, help="results folder")
    add_datasets(parser)


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
