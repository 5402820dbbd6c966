"""Ranks of methods over trainings: mean ranks, Friedman's test, Nemenyi's critical difference (Demsar, JMLR 2006).

A block is a dataset with a seed. Ranks within blocks need no common spread of all methods, as pooled intervals would,
and no more trainings than the few seeds of a study, as a bootstrap would. Blocks of one dataset share its cases: what
further trainings would show again is the order on these datasets, not on others.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from scipy.stats import friedmanchisquare, studentized_range

from pipeline.evaluation.methods import LEVEL


class Ranks(NamedTuple):
    """Mean ranks over blocks.

    Attributes:
        mean: by variant; 1 is the best.
        blocks: how many there are.
        p: of Friedman's test that all variants are alike; NaN where there is a single block, or fewer than three
            variants.
        critical: Nemenyi's difference of two mean ranks at 5%; NaN where ``p`` is.
    """

    mean: pd.Series
    blocks: int
    p: float
    critical: float


def mean_ranks(dsc: pd.DataFrame, variants: Sequence[str]) -> Ranks:
    """Ranks of ``variants`` within each dataset and seed that all of them have; equal scores share a rank.

    Args:
        dsc: columns dataset, variant, seed, dsc.
    """
    table = dsc.pivot(index=["dataset", "seed"], columns="variant", values="dsc").reindex(columns=variants).dropna()
    mean = table.rank(axis=1, ascending=False).mean()
    blocks, count = table.shape
    if blocks < 2 or count < 3:
        return Ranks(mean, blocks, math.nan, math.nan)
    p = float(friedmanchisquare(*(table[variant] for variant in variants)).pvalue)
    quantile = studentized_range.ppf(1 - LEVEL, count, math.inf) / math.sqrt(2)
    return Ranks(mean, blocks, p, float(quantile * math.sqrt(count * (count + 1) / (6 * blocks))))
