"""Mean ranks, Friedman's test and the critical difference against literal and published values."""

import math

import pandas as pd
import pytest
from scipy.stats import chi2

from pipeline.evaluation.ranks import mean_ranks


def scores(rows) -> pd.DataFrame:
    """DSC of variants a, b, ... in blocks of one dataset with seeds from 41 on."""
    return pd.DataFrame(
        [("busi", chr(97 + at), 41 + block, dsc) for block, row in enumerate(rows) for at, dsc in enumerate(row)],
        columns=["dataset", "variant", "seed", "dsc"],
    )


def test_ranks_by_block_with_ties():
    ranks = mean_ranks(scores([[0.9, 0.8, 0.7, 0.6], [0.8, 0.8, 0.9, 0.1]]), ["a", "b", "c", "d"])
    assert ranks.mean.to_dict() == {"a": 1.75, "b": 2.25, "c": 2.0, "d": 4.0} and ranks.blocks == 2


def test_the_critical_difference_is_nemenyis():
    """Demsar (2006), section 3.2.2: four classifiers on 14 data sets, 1.25; q for ten classifiers is 3.164."""
    names = [chr(97 + at) for at in range(10)]
    ranks = mean_ranks(scores([[0.1 * at for at in range(4)]] * 14), names[:4])
    assert round(ranks.critical, 2) == 1.25
    # All blocks agree: Friedman's statistic is N (k - 1) with k - 1 degrees of freedom.
    assert ranks.p == pytest.approx(chi2.sf(14 * 3, 3))
    ten = mean_ranks(scores([[0.01 * at for at in range(10)]] * 6), names)
    assert ten.critical == pytest.approx(3.164 * math.sqrt(10 * 11 / 36), rel=1e-3)


def test_only_blocks_of_all_count_and_one_is_no_test():
    rows = scores([[0.9, 0.8, 0.7], [0.1, 0.2, 0.3]])
    ranks = mean_ranks(rows[~((rows["variant"] == "c") & (rows["seed"] == 42))], ["a", "b", "c"])
    assert ranks.mean.tolist() == [1, 2, 3] and ranks.blocks == 1
    assert math.isnan(ranks.p) and math.isnan(ranks.critical)
    assert math.isnan(mean_ranks(rows, ["a", "b"]).critical)
