"""Nested subsets of the training cases, for the data-efficiency ablation."""

import hashlib
import math
from collections.abc import Sequence

import numpy as np


def nested_subset(cases: Sequence[str], fraction: float, seed: int) -> np.ndarray:
    """Sorted positions of ``ceil(fraction * len(cases))`` cases.

    A smaller fraction's cases are among a larger one's with the same seed, whatever the order of ``cases``.
    """
    ranks = sorted(range(len(cases)), key=lambda i: (hashlib.sha256(f"{seed}/{cases[i]}".encode()).digest(), i))
    return np.sort(ranks[: math.ceil(fraction * len(cases))])
