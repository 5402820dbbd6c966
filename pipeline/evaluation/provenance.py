"""What a table was made from: runs, code and data, in two sentences that stand below it."""

import hashlib
import json
from collections.abc import Sequence

from pipeline.evaluation.runs import Run
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.manifest import file_sha256

LENGTH = 12


def _hashes(run: Run) -> dict[str, str]:
    path = run.folder / "manifest.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {key: record[f"{key}_sha256"][:LENGTH] for key in ("code", "data", "backbone")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{path}: no usable manifest ({error!r}); train the run again") from None


def describe_runs(runs: Sequence[Run]) -> str:
    """Number of ``runs`` and the first 12 digits of the SHA-256 of their scores, code, data and backbone.

    Raises:
        PipelineError: a run has no manifest.json with these hashes.
    """
    digest = hashlib.sha256()
    for run in sorted(runs):
        digest.update(f"{run} {file_sha256(run.folder / 'per_case.csv')}\n".encode())
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


def _several(values: set[str]) -> str:
    return " and ".join(sorted(values))
