"""What a table was made from: its runs, code and data, in two sentences shown below it."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.evaluation.runs import Run
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.manifest import file_sha256

DIGITS = 12


def read_manifest(run: Run) -> dict[str, Any]:
    """A run's manifest.json.

    Raises:
        PipelineError: it is missing, or lacks the variant's kind or the hash of the run's code, data or backbone.
    """
    path = run.folder / "manifest.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = [f"{name}_sha256" for name in ("code", "data", "backbone") if f"{name}_sha256" not in record]
        record["configuration"]["variant"]["kind"]  # raises KeyError
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PipelineError(f"{path}: no usable manifest ({error!r}); train the run again") from None
    if missing:
        raise PipelineError(f"{path}: no usable manifest ({', '.join(missing)} missing); train the run again")
    return record


def describe_runs(runs: Sequence[Run], scores: Callable[[Run], Sequence[Path]] | None = None) -> str:
    """Number of ``runs`` and the first 12 digits of the SHA-256 of their scores, code, data and backbone.

    Each kind of variant has its own training code, so the hash of the code is one over pairs of kind and code. Kinds
    whose runs were trained by different versions of their code are named.

    Args:
        scores: The folders of each run whose per_case.csv the table was made from; the run's own folder if not given.

    Raises:
        PipelineError: a run has no manifest.json with these hashes, or no such scores.
    """
    digest = hashlib.sha256()
    for run in sorted(runs):
        folders = scores(run) if scores else [run.folder]
        digest.update(" ".join([str(run), *map(_scores_hash, folders)]).encode() + b"\n")
    code, data, backbones = defaultdict(set), defaultdict(set), set()
    for run in runs:
        record = read_manifest(run)
        code[record["configuration"]["variant"]["kind"]].add(record["code_sha256"])
        data[run.dataset].add(record["data_sha256"][:DIGITS])
        backbones.add(record["backbone_sha256"][:DIGITS])
    counts = [
        f"{len(values)} {noun}{'s' if len(values) > 1 else ''}"
        for noun, values in (
            ("dataset", {run.dataset for run in runs}),
            ("variant", {run.variant for run in runs}),
            ("seed", {run.seed for run in runs}),
        )
    ]
    pairs = sorted((kind, value) for kind, values in code.items() for value in values)
    versions = [f"{len(values)} versions of {kind}" for kind, values in sorted(code.items()) if len(values) > 1]
    parts = [
        f"per-case scores {digest.hexdigest()[:DIGITS]}",
        f"training code {hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:DIGITS]}"
        + (f" ({', '.join(versions)})" if versions else ""),
        f"backbone {_several(backbones)}",
        *(f"data of {dataset} {_several(values)}" for dataset, values in data.items()),
    ]
    return (
        f"Made from {len(runs)} run{'s' if len(runs) > 1 else ''} ({', '.join(counts)}). "
        f"SHA-256, first {DIGITS} digits: {'; '.join(parts)}."
    )


def _scores_hash(folder: Path) -> str:
    path = folder / "per_case.csv"
    try:
        return file_sha256(path)
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read ({error.strerror}); score the run again") from None


def _several(values: Iterable[str]) -> str:
    return " and ".join(sorted(values))
