"""What a table was made from: its runs, code and data, in two sentences shown below it."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.evaluation.runs import IDENTITY, Run
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.manifest import file_sha256

DIGITS = 12


class Origin(NamedTuple):
    """Kind of variant, SHA-256 of a run's training code, data and backbone, and the numerical mode if recorded."""

    kind: str
    code: str
    data: str
    backbone: str
    mode: str | None


def read_origin(run: Run) -> Origin:
    """Read a run's manifest.json.

    Raises:
        PipelineError: it is missing, or lacks the variant's kind or one of the hashes.
    """
    path = run.folder / "manifest.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        hashes = (record[f"{name}_sha256"] for name in ("code", "data", "backbone"))
        return Origin(record["configuration"]["variant"]["kind"], *hashes, record.get("mode"))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PipelineError(f"{path}: no usable manifest ({error!r}); train the run again") from None


def describe_runs(
    runs: Sequence[Run], scores: Callable[[Run], Sequence[Path]] | None = None, what: str = "per-case scores"
) -> str:
    """Number of ``runs`` and the first 12 digits of the SHA-256 of their scores, code, data and backbone.

    Each kind of variant has its own training code, so the hash of the code is one over pairs of kind and code. Kinds
    whose runs were trained by different versions of their code are named.

    Args:
        scores: The files with scores of each run that the table was made from; its per_case.csv if not given.
        what: What these files are called.

    Raises:
        PipelineError: a run has no manifest.json with these hashes, or no such scores.
    """
    digest = hashlib.sha256()
    for run in sorted(runs):
        try:
            hashes = [file_sha256(path) for path in (scores(run) if scores else [run.folder / "per_case.csv"])]
        except OSError as error:
            raise PipelineError(f"{error.filename}: cannot be read ({error.strerror}); score the run again") from None
        digest.update(" ".join([str(run), *hashes]).encode() + b"\n")
    origins = {run: read_origin(run) for run in runs}
    code = sorted({(origin.kind, origin.code) for origin in origins.values()})
    versions = [f"{count} versions of {kind}" for kind, count in Counter(kind for kind, _ in code).items() if count > 1]
    parts = [
        f"{what} {digest.hexdigest()[:DIGITS]}",
        f"training code {hashlib.sha256(json.dumps(code).encode()).hexdigest()[:DIGITS]}"
        + (f" ({', '.join(versions)})" if versions else ""),
        f"backbone {_digits(origin.backbone for origin in origins.values())}",
        *(
            f"data of {dataset} {_digits(origin.data for run, origin in origins.items() if run.dataset == dataset)}"
            for dataset in dict.fromkeys(run.dataset for run in runs)
        ),
    ]
    counts = [_count(len({getattr(run, noun) for run in runs}), noun) for noun in IDENTITY]
    return (
        f"Made from {_count(len(runs), 'run')} ({', '.join(counts)}). "
        f"SHA-256, first {DIGITS} digits: {'; '.join(parts)}."
    )


def _digits(hashes: Iterable[str]) -> str:
    return " and ".join(sorted({value[:DIGITS] for value in hashes}))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"
