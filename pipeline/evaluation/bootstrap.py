"""Percentile bootstrap over test cases (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13)."""

import zlib

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95


def resampled_means(scores: NDArray[np.float64], samples: int, name: str) -> NDArray[np.float64]:
    """Means over cases drawn with replacement, the same cases for each variant.

    Args:
        scores: (cases, variants), finite.
        samples: Number of resamples.
        name: What the scores belong to, e.g. the dataset. The draws depend on it and on nothing else: the same in each
            process, and independent between datasets (with one seed for all, datasets of one size would share their
            draws, and the interval of their average would be too wide).

    Returns:
        (samples, variants). A variant's interval comes from its column, a paired difference's from two columns.
    """
    cases = len(scores)
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    # How often each case is drawn says as much as which are drawn, and turns all means into one matrix product.
    counts = generator.multinomial(cases, np.full(cases, 1 / cases), size=samples)
    return counts @ scores / cases


def interval(draws: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper end of the 95% interval along the first axis of ``draws``."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
