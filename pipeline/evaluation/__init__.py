"""Scores: case metrics, evaluation of a run, statistics, regression against reported numbers."""

from typing import Any

__all__ = ["case_metrics"]


def __getattr__(name: str) -> Any:
    # Lazy, so that steps which only read tables do not import scipy.
    if name in __all__:
        from pipeline.evaluation.metrics import case_metrics

        return case_metrics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
