"""per_case.csv: reading it, and its summary."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.evaluation.csv_table import read_table
from pipeline.runtime.errors import PipelineError

COLUMNS = ("case", "prompt", "dsc", "iou", "hd95", "target_pixels", "predicted_pixels")
SCORES = ("dsc", "iou", "hd95")
_UPPER = {"dsc": 1, "iou": 1, "hd95": float("inf"), "target_pixels": float("inf"), "predicted_pixels": float("inf")}


def read_per_case(run: str | Path, keys: Sequence[str] = ()) -> pd.DataFrame:
    """Read ``per_case.csv`` of the run folder ``run``, or of one that mirrors it.

    Args:
        keys: Text columns that identify a row beside the case, where cases were scored more than once.

    Returns:
        One row per scored case, columns ``keys`` and :data:`COLUMNS`; dsc and iou in 0..1, hd95 in pixels.

    Raises:
        PipelineError: the file is missing, lacks a column, is empty, or holds a score out of its range.
    """
    path = Path(run) / "per_case.csv"
    columns = [*keys, *COLUMNS]
    text = read_table(path, columns, as_text=True)
    fix = "delete the file and run its rule again"
    if text.empty:
        raise PipelineError(f"{path}: holds no case; {fix}")
    frame = text[columns].copy()
    for column, upper in _UPPER.items():
        try:
            frame[column] = text[column].astype(int if column.endswith("_pixels") else float)
            wrong = ~frame[column].between(0, upper)
        except ValueError:
            wrong = pd.to_numeric(text[column], errors="coerce").isna()
        if wrong.any():
            row = text.loc[wrong.idxmax()]
            allowed = "0 or more" if upper == float("inf") else f"0..{upper}"
            raise PipelineError(f"{path}: {column} of case {row['case']} is {row[column]!r}, not {allowed}; {fix}")
    return frame


def summarise(per_case: pd.DataFrame) -> dict[str, Any]:
    """The figures of a test set in dsc.csv.

    Args:
        per_case: One row per case, columns dsc, iou (0..1), hd95 (pixels), target_pixels, predicted_pixels.

    Returns:
        ``cases``; the means ``dsc``, ``iou`` (0..1) and ``hd95`` (pixels) over all cases; ``misses``, the number of
        cases with a target and an empty prediction. HD95 counts each of them as the image's diagonal.
    """
    means = {score: float(per_case[score].mean()) for score in SCORES}
    misses = (per_case["target_pixels"] > 0) & (per_case["predicted_pixels"] == 0)
    return {"cases": len(per_case), **means, "misses": int(misses.sum())}
