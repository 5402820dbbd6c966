"""What a table was made from: runs, code and data, in two sentences that stand below it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.evaluation.runs import Run
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.manifest import file_sha256

LENGTH = 12
HASHED = ("code", "data", "backbone")


def read_manifest(run: Run) -> dict[str, Any]:
    """A run's manifest.json.

    Raises:
        PipelineError: it is missing, or does not say from which code, data and backbone the run was made.
    """
    path = run.folder / "manifest.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = [f"{key}_sha256" for key in HASHED if f"{key}_sha256" not in record]
    except (OSError, ValueError, TypeError) as error:
        raise PipelineError(f"{path}: no usable manifest ({error!r}); train the run again") from None
    if missing:
        raise PipelineError(f"{path}: no usable manifest ({', '.join(missing)} missing); train the run again")
    return record


def _hashes(run: Run) -> dict[str, str]:
    record = read_manifest(run)
    return {key: record[f"{key}_sha256"][:LENGTH] for key in HASHED}


def describe_runs(runs: Sequence[Run], scores: Callable[[Run], Sequence[Path]] | None = None) -> str:
    """Number of ``runs`` and the first 12 digits of the SHA-256 of their scores, code, data and backbone.

    Args:
        scores: The folders of each run whose per_case.csv the table was made from; its own if not given.

    Raises:
        PipelineError: a run has no manifest.json with these hashes, or no such scores.
    """
    digest = hashlib.sha256()
    for run in sorted(runs):
        folders = scores(run) if scores else [run.folder]
        digest.update(" ".join([str(run), *map(_scores_hash, folders)]).encode() + b"\n")
    records = [_hashes(run) for run in runs]
    data: dict[str, set[str]] = {}
    for run, record in zip(runs, records, strict=True):
        data.setdefault(run.dataset, set()).add(record["data"])
    counts = [
        f"{len(values)} {noun}{'s' if len(values) > 1 else ''}"
        for noun, values in (
            ("dataset", {run.dataset for run in runs}),
            ("variant", {run.variant for run in runs}),
            ("seed", {run.seed for run in runs}),
        )
    ]
    return (
        f"Made from {len(runs)} run{'s' if len(runs) > 1 else ''} ({', '.join(counts)}). SHA-256, first {LENGTH} "
        f"digits: per-case scores {digest.hexdigest()[:LENGTH]}; "
        f"training code {_several({record['code'] for record in records})}; "
        f"backbone {_several({record['backbone'] for record in records})}; "
        + "; ".join(f"data of {dataset} {_several(values)}" for dataset, values in data.items())
        + "."
    )


def _scores_hash(folder: Path) -> str:
    path = folder / "per_case.csv"
    try:
        return file_sha256(path)
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read ({error.strerror}); evaluate the run again") from None


def _several(values: set[str]) -> str:
    return " and ".join(sorted(values))
