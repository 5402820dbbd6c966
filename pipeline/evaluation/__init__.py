"""Scores: case metrics, evaluation of a run, comparison of methods, regression against reported numbers."""

from importlib import import_module
from typing import Any

_MODULES = {"case_metrics": "metrics", "compare_methods": "methods", "judge_reproduction": "reproduction"}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    # Lazy, so that steps which only read tables do not import scipy.
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
