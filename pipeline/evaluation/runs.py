"""Which runs a step reads: runs as identities, the table that lists them, and the options that name it."""

import argparse
from pathlib import Path
from typing import NamedTuple

from pipeline.evaluation.csv_table import read_table
from pipeline.runtime.errors import PipelineError

IDENTITY = ("dataset", "variant", "seed")


class Run(NamedTuple):
    """One training: ``{results}/runs/{dataset}/{variant}/seed{seed}``."""

    dataset: str
    variant: str
    seed: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.dataset}/{self.variant}/seed{self.seed}"

    def within(self, root: str | Path) -> Path:
        """The folder of this run in ``root``, which holds further scores laid out as ``runs`` is."""
        return Path(root) / str(self)


def run_of(results: str | Path, dataset: str, variant: str, seed: int) -> Run:
    """The run of ``variant`` on ``dataset`` with ``seed`` in a results folder."""
    return Run(dataset, variant, int(seed), Path(results, "runs", dataset, variant, f"seed{seed}"))


def listed_runs(results: str | Path, table: str | Path) -> list[Run]:
    """The runs that ``table`` lists (dsc.csv or ablations/{family}.csv), in its order.

    Raises:
        PipelineError: the table is missing or broken, lists no run, or lists one more than once.
    """
    rows = read_table(table, IDENTITY, unique=IDENTITY)
    if rows.empty:
        raise PipelineError(f"{table}: lists no run; delete the file and run its rule again")
    return [run_of(results, row.dataset, row.variant, row.seed) for row in rows.itertuples()]


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--results`` and ``--runs``; :func:`listed_runs` reads what they name."""
    parser.add_argument("--results", type=Path, required=True, help="results folder, in which runs/ lies")
    parser.add_argument("--runs", type=Path, required=True, help="CSV that lists the runs: dataset, variant, seed")
