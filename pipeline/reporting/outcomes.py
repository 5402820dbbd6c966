"""How tables, figures and pages show the outcome of a comparison (:func:`pipeline.evaluation.compare_methods`)."""

import math
from typing import Any

import pandas as pd

from pipeline.evaluation.methods import BETTER, EQUIVALENT, MOST_SEEDS, NOT_RESOLVED, WORSE
from pipeline.reporting.formats import NOT_AVAILABLE, number

MARKS = {BETTER: "+", WORSE: "−", EQUIVALENT: "=", NOT_RESOLVED: ""}
"""Superscripts of a table's cells."""
RULE = (
    "equivalent: surely less than {margin:g} DSC points apart, even if the difference is significant; better, worse: "
    "significant; else not resolved"
)
"""What the outcomes mean; ``margin`` in DSC points."""
LISTED = "better, worse, equivalent (surely less than {margin:g} points apart), not resolved"
"""The same where a column names them."""

SEEDS_NOTE = (
    "Seeds needed: with so many of each variant, two methods that are equal would be shown to be equivalent in 80% of "
    "studies, given the measured spread between seeds and Holm's correction."
)


def marks(comparison: pd.DataFrame) -> dict[tuple[str, str], str]:
    """:data:`MARKS` by variant and dataset."""
    return {(row.variant, row.dataset): MARKS[row.outcome] for row in comparison.itertuples()}


def mark_note(reference: str, margin: float) -> str:
    """The footnote on :data:`MARKS`; ``reference`` is a display name, ``margin`` is in DSC points."""
    return (
        f"Against {reference}: + better, − worse, = equivalent, no mark: not resolved ({RULE.format(margin=margin)}). "
        "The unit is the training: t-tests of differences paired by seed, at 5% after Holm's correction."
    )


def interval(low: float, high: float) -> str:
    """An interval of differences, DSC points."""
    return NOT_AVAILABLE if math.isnan(low) else f"[{low:+.2f}, {high:+.2f}]"


def difference(row: Any) -> str:
    """The difference of ``row`` (of the comparison) with its 95% interval, if it has one."""
    value = number(row.difference, "+.2f")
    return value if math.isnan(row.low) else f"{value} {interval(row.low, row.high)}"


def seeds_needed(count: float) -> str:
    """The number of seeds that would resolve a comparison."""
    return f"more than {MOST_SEEDS}" if count == math.inf else number(count, ".0f")
