"""The scores of a run by case: per_case.csv, and per_prompt.csv, from which it is made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.data.conventions import CONVENTIONS
from pipeline.evaluation.csv_table import read_table
from pipeline.runtime.errors import PipelineError

SCORES = ("dsc", "iou", "hd95", "nsd", "ece")
CHOICES = ("dsc_input_size", *(f"dsc_{name}" for name in CONVENTIONS))
"""DSC by other choices of the evaluation: at the model's input size, and against masks read by either convention."""
SCORED = ("case", "prompt", *SCORES, "target_pixels", "predicted_pixels", *CHOICES)
"""Columns of a case under one prompt; per_prompt.csv has these after ``prompt_type``."""
FURTHER = ("dsc_prompt_ensemble", "dsc_tuned_threshold")
"""DSC of the mean of the maps under all prompt types, and at the threshold that is best on the validation cases."""
COLUMNS = (*SCORED, "dsc_prompt_sd", "missed", *FURTHER)
"""Columns of per_case.csv: see :func:`over_prompts`."""
EMPTY = "p0"
"""The prompt type without words; a run with ``random`` prompts is scored under it, but it does not count."""
_INFINITE = float("inf")
_UPPER = dict.fromkeys(("dsc", "iou", "nsd", "ece", "dsc_prompt_sd", "missed", *CHOICES, *FURTHER), 1.0)
_UPPER |= dict.fromkeys(("hd95", "target_pixels", "predicted_pixels"), _INFINITE)
MAY_BE_EMPTY = ("dsc_prompt_sd", "dsc_tuned_threshold")
"""Where there is one prompt type; where no threshold was tuned."""


def read_per_case(run: str | Path, keys: Sequence[str] = (), columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
    """Read ``per_case.csv`` of the run folder ``run``, or of one that mirrors it.

    Args:
        keys: Text columns that identify a row beside the case, where cases were scored more than once.
        columns: Those that are needed; other versions of this project have others.

    Returns:
        One row per scored case, columns ``keys`` and ``columns``.

    Raises:
        PipelineError: the file is missing, lacks a column, is empty, or holds a score out of its range.
    """
    return _read(Path(run) / "per_case.csv", [*keys, *columns])


def read_per_prompt(run: str | Path) -> pd.DataFrame:
    """Read ``per_prompt.csv`` of the run folder ``run``.

    Returns:
        One row per prompt type and scored case, columns ``prompt_type`` and :data:`SCORED`; hd95 in pixels, other
        scores and :data:`CHOICES` in 0..1.

    Raises:
        PipelineError: as :func:`read_per_case`, and if a case is not scored under each type.
    """
    path = Path(run) / "per_prompt.csv"
    table = _read(path, ["prompt_type", *SCORED])
    cases = table.groupby("prompt_type")["case"].agg(list)
    for name, listed in cases.items():
        if listed != cases.iloc[0]:
            raise PipelineError(f"{path}: other cases under {name} than under {cases.index[0]}; score the run again")
    return table


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    text = read_table(path, columns, as_text=True)
    fix = "delete the file and run its rule again"
    if text.empty:
        raise PipelineError(f"{path}: holds no case; {fix}")
    frame = text[list(columns)].copy()
    for column in _UPPER.keys() & set(columns):
        upper, cells = _UPPER[column], text[column]
        if column in MAY_BE_EMPTY:
            cells = cells.replace("", "nan")
        try:
            frame[column] = cells.astype(int if column == "target_pixels" else float)
            wrong = ~frame[column].between(0, upper)
        except ValueError:
            wrong = pd.to_numeric(cells, errors="coerce").isna()
        if column in MAY_BE_EMPTY:
            wrong &= cells != "nan"
        if wrong.any():
            row = text.loc[wrong.idxmax()]
            allowed = "0 or more" if upper == _INFINITE else f"0..{upper:g}"
            raise PipelineError(f"{path}: {column} of case {row['case']} is {row[column]!r}, not {allowed}; {fix}")
    return frame


def over_prompts(tables: Sequence[pd.DataFrame], types: Sequence[str]) -> pd.DataFrame:
    """per_case.csv of a run that was scored under several prompt types, each of which counts equally.

    Args:
        tables: For each of ``types`` one row per case, in the same order, columns :data:`SCORED` and
            :data:`FURTHER`.

    Returns:
        One row per case, columns :data:`COLUMNS`. :data:`SCORES`, predicted_pixels, :data:`CHOICES` and
        :data:`FURTHER`: means over prompt types, so that predicted_pixels is 0 only if nothing was predicted under any
        of them. dsc_prompt_sd: standard deviation of the case's DSC over them (0..1,
        ddof 1); empty for a single type. missed: share of the types under which there is a target and nothing was
        predicted, 0..1. prompt: the prompt itself for a single type; else the types.
    """
    every = pd.concat(tables, keys=range(len(tables)), names=["type", "row"])
    every["missed"] = ((every["target_pixels"] > 0) & (every["predicted_pixels"] == 0)).astype(float)
    by_row = every.groupby("row", sort=True)
    result = tables[0][["case", "prompt", "target_pixels"]].copy()
    for column in (*SCORES, "predicted_pixels", "missed", *CHOICES, *FURTHER):
        result[column] = by_row[column].mean().to_numpy()
    result["dsc_prompt_sd"] = by_row["dsc"].std(ddof=1).to_numpy()
    if len(tables) > 1:
        result["prompt"] = " ".join(types)
    return result[list(COLUMNS)]


def summarise(per_case: pd.DataFrame) -> dict[str, Any]:
    """The figures of a test set in dsc.csv.

    Args:
        per_case: One row per case, columns :data:`SCORES`, target_pixels and missed (0..1).

    Returns:
        ``cases``; the means of :data:`SCORES` (0..1; ``hd95`` in pixels) over all cases; ``misses``, the number of
        cases with a target and an empty prediction, on average over prompt types, each of which HD95 counts as the
        image's diagonal; ``cases_with_target`` and ``dsc_with_target``: how many cases have a target, and the mean over
        these alone (NaN if there are none).
    """
    means = {score: float(per_case[score].mean()) for score in SCORES}
    target = per_case["target_pixels"] > 0
    return {
        "cases": len(per_case),
        **means,
        "misses": float(per_case["missed"].sum()),
        "cases_with_target": int(target.sum()),
        "dsc_with_target": float(per_case.loc[target, "dsc"].mean()),
    }


def prompt_sd(per_prompt: pd.DataFrame) -> float:
    """Standard deviation (ddof 1) of the test set's mean DSC over prompt types but the empty one, 0..1; NaN for one.

    Args:
        per_prompt: As :func:`read_per_prompt` returns it.
    """
    means = per_prompt.groupby("prompt_type")["dsc"].mean()
    return float(means.drop(EMPTY, errors="ignore").std(ddof=1))
