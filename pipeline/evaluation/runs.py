"""Which runs a step reads: run folders as identities, and the options that name them."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from pipeline.runtime.errors import PipelineError

Value = TypeVar("Value", list, dict)


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


def parse_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Run folders as runs, in the order given.

    Raises:
        PipelineError: no folder is given, one has not the form ``.../DATASET/VARIANT/seedN``, or a run stands there
            twice.
    """
    runs: dict[tuple[str, str, int], Run] = {}
    for folder in map(Path, folders):
        seed = folder.name.removeprefix("seed")
        if len(folder.parts) < 3 or not folder.name.startswith("seed") or not seed.isdigit():
            raise PipelineError(f"{folder}: not a run folder; give .../runs/DATASET/VARIANT/seedN")
        run = Run(folder.parts[-3], folder.parts[-2], int(seed), folder)
        if run[:3] in runs:
            raise PipelineError(f"{run}: given twice ({runs[run[:3]].folder} and {folder}); leave one out")
        runs[run[:3]] = run
    if not runs:
        raise PipelineError("no run given; name at least one run folder")
    return list(runs.values())


def add_run_options(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add ``--runs`` and ``--runs-file`` to ``parser``; :func:`chosen_runs` reads them."""
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument("--runs", help="JSON list of run folders")
    group.add_argument("--runs-file", help="text file with one run folder a line")


def chosen_runs(arguments: argparse.Namespace) -> list[Run]:
    """The runs that the options of :func:`add_run_options` name, in their order; none if neither is given."""
    if arguments.runs is not None:
        return parse_runs(json_option("--runs", arguments.runs, list))
    if arguments.runs_file is None:
        return []
    try:
        text = Path(arguments.runs_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"--runs-file {arguments.runs_file}: cannot be read ({error}); give a text file") from None
    return parse_runs([line.strip() for line in text.splitlines() if line.strip()])


def json_option(option: str, text: str, kind: type[Value]) -> Value:
    """The JSON ``text`` of ``option``, which must be of type ``kind`` (list or dict)."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise PipelineError(f"{option}: not valid JSON ({error}): {text[:80]!r}") from None
    if not isinstance(value, kind):
        raise PipelineError(f"{option}: must be a JSON {'object' if kind is dict else 'list'}, got {text[:80]!r}")
    return value
