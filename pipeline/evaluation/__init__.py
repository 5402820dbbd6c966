"""Scores: case metrics, evaluation of a run, statistics, regression against reported numbers."""

from pipeline.evaluation.metrics import case_metrics

__all__ = ["case_metrics"]
