"""What trainings took: memory and time."""

from collections.abc import Sequence

import pandas as pd

from pipeline.evaluation.runs import Run
from pipeline.runtime.atomic import read_json
from pipeline.runtime.errors import PipelineError


def read_manifests(runs: Sequence[Run]) -> pd.DataFrame:
    """Peak memory and time of each run that trained.

    Returns:
        Columns variant, memory_gib (of the GPU where there is one, else of the host), seconds, on_gpu.

    Raises:
        PipelineError: a run has no usable manifest.json.
    """
    rows = []
    for run in runs:
        path, fix = run.folder / "manifest.json", "train the run again"
        record = read_json(path, dict, fix)
        try:
            memory, seconds = record["peak_memory"], record["training_seconds"]
        except KeyError as error:
            raise PipelineError(f"{path}: no usable manifest ({error} is missing); {fix}") from None
        if seconds > 0:
            mebibytes = memory.get("gpu_mib", memory["host_mib"])
            rows.append((run.variant, mebibytes / 1024, seconds, "gpu_mib" in memory))
    return pd.DataFrame(rows, columns=["variant", "memory_gib", "seconds", "on_gpu"])


def time_unit(seconds: float) -> tuple[str, float]:
    """The unit in which a time is best read, and its length in seconds."""
    return next((unit for unit in (("hours", 3600.0), ("minutes", 60.0)) if seconds >= 2 * unit[1]), ("seconds", 1.0))
