"""Tests, effect sizes and the comparison of variants with a reference."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.pairing import Paired
from pipeline.evaluation.readers import AVERAGE
from pipeline.evaluation.statistics import (
    COLUMNS,
    average_ranks,
    compare,
    friedman_p,
    holm,
    paired_test,
    smallest_p,
)
from pipeline.runtime.errors import PipelineError


def _paired(seeds: int = 3, **scores: dict[str, list[float]]) -> dict[str, Paired]:
    return {name: Paired(pd.DataFrame(values), dict.fromkeys(values, seeds)) for name, values in scores.items()}


# Tests and effect sizes


def test_holm_by_hand():
    # Sorted 0.01 0.02 0.03 0.04 times 4 3 2 1 = 0.04 0.06 0.06 0.04, then never below the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6, 0.001]).tolist() == pytest.approx([1.0, 1.0, 0.003])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for step, index in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[index] * (len(p_values) - step) > level:
                break
            rejected.add(int(index))
        assert {index for index, value in enumerate(adjusted) if value <= level} == rejected


def test_paired_test_by_hand():
    # Ranks of 1 2 3 4 5: the only negative difference has rank 2, so W- = 2 and W+ = 13. Of the 32 sign patterns 3 have
    # a smaller sum of at most 2 on one side (0, 1, 2): p = 2 * 3 / 32.
    result = paired_test(np.array([1.0, -2.0, 3.0, 4.0, 5.0]))
    assert result.p == pytest.approx(0.1875)
    assert result.rank_biserial == pytest.approx((13 - 2) / 15)
    assert result.cohens_dz == pytest.approx(2.2 / math.sqrt(7.7))
    one_sided = paired_test(np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert (one_sided.p, one_sided.rank_biserial) == (0.0625, 1.0)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([0.0] * 10, (1.0, 0.0)),
        ([1e-17, -1e-16, 1e-15], (1.0, 0.0)),  # means over seeds in another order
        ([0.1], (1.0, 1.0)),
    ],
)
def test_paired_test_without_spread(differences, expected):
    result = paired_test(np.array(differences))
    assert (result.p, result.rank_biserial) == expected
    assert math.isnan(result.cohens_dz)


@pytest.mark.parametrize("pairs", [7, 30, 61, 379])
def test_paired_test_is_scipys_wilcoxon(pairs):
    generator = np.random.default_rng(pairs)
    first, second = generator.beta(8, 2, size=(2, pairs))
    result = paired_test(first - second)
    expected = scipy.stats.wilcoxon(first, second)
    assert result.p == pytest.approx(expected.pvalue, rel=1e-9)
    # scipy's statistic is the smaller rank sum; the two of them add up to n (n + 1) / 2.
    assert abs(result.rank_biserial) == pytest.approx(1 - 2 * expected.statistic / (pairs * (pairs + 1) / 2))
    opposite = paired_test(second - first)
    assert (opposite.p, opposite.rank_biserial) == (pytest.approx(result.p), pytest.approx(-result.rank_biserial))
    assert opposite.cohens_dz == pytest.approx(-result.cohens_dz)
    assert result.p >= smallest_p(pairs)


def test_ranks_across_datasets():
    means = np.array([[0.9, 0.8, 0.7], [0.6, 0.7, 0.5], [0.5, 0.5, 0.1]])
    # Ranks: (1, 2, 3), (2, 1, 3), (1.5, 1.5, 3).
    assert average_ranks(means).tolist() == pytest.approx([1.5, 1.5, 3])
    assert friedman_p(means) == pytest.approx(scipy.stats.friedmanchisquare(*means.T).pvalue)
    assert friedman_p(means[:, :2]) is None
    assert friedman_p(means[:2]) is None
    assert friedman_p(np.full((4, 3), 0.5)) is None


def test_smallest_p():
    assert [smallest_p(pairs) for pairs in (0, 1, 5, 6)] == [1.0, 1.0, 0.0625, 0.03125]
    assert scipy.stats.wilcoxon(np.arange(1, 7)).pvalue == smallest_p(6)


# The comparison


def _compare(paired: dict[str, Paired], reference: str) -> pd.DataFrame:
    """The comparison by dataset and variant."""
    return compare(paired, reference, 500).set_index(["dataset", "variant"])


def test_comparison_of_literal_scores():
    scores = {
        "bkai": {"telescopic": [0.8, 0.6, 0.7, 0.9, 0.5], "lora": [0.7, 0.5, 0.6, 0.8, 0.4]},
        "busi": {"telescopic": [0.2, 0.4], "lora": [0.6, 0.4]},
    }
    rows = _compare(_paired(**scores), "telescopic")
    assert list(rows.reset_index().columns) == COLUMNS
    order = [(dataset, variant) for dataset in ("bkai", "busi", AVERAGE) for variant in ("telescopic", "lora")]
    assert list(rows.index) == order
    lora = rows.loc[("bkai", "lora")]
    assert (lora["cases"], lora["seeds"], lora["reference"]) == (5, 3, "telescopic")
    assert lora["mean"] == pytest.approx(60)
    # Each case differs by ten points: no resample has another mean difference.
    assert list(lora[["difference", "difference_low", "difference_high"]]) == pytest.approx([-10, -10, -10])
    assert 40 < lora["mean_low"] < 60 < lora["mean_high"] < 80
    # Exact test of five equal signs: 1/16. With the other dataset's p = 1 the family has two: 2/16.
    assert (lora["p"], lora["p_holm"], lora["rank_biserial"]) == pytest.approx((0.0625, 0.125, -1))
    busi = rows.loc[("busi", "lora")]
    assert (busi["difference"], busi["p"], busi["p_holm"]) == pytest.approx((20, 1, 1))
    average = rows.loc[(AVERAGE, "lora")]
    # Datasets count alike, whatever their number of cases.
    assert (average["mean"], average["difference"], average["cases"]) == pytest.approx((55, 5, 7))
    # Two datasets, one won by each: ranks average to 1.5, and the family of the average has one comparison.
    assert (average["average_rank"], average["p"], average["p_holm"]) == pytest.approx((1.5, 1, 1))
    own = rows.loc[("bkai", "telescopic")]
    assert own["mean"] == pytest.approx(70)
    assert own[["difference", "difference_low", "p", "p_holm", "rank_biserial", "cohens_dz"]].isna().all()
    alone = _compare(_paired(bkai={"telescopic": [0.8, 0.6]}), "telescopic")
    assert alone["mean"].tolist() == pytest.approx([70]) and alone["p_holm"].isna().all()


def test_a_variant_without_all_datasets_has_no_average():
    paired = _paired(
        bkai={"telescopic": [0.8, 0.6], "lora": [0.7, 0.5]},
        busi={"telescopic": [0.2, 0.4], "uniform": [0.6, 0.4], "lora": [0.1, 0.1]},
    )
    assert list(_compare(paired, "telescopic").loc[AVERAGE].index) == ["telescopic", "lora"]
    assert set(_compare({"bkai": paired["bkai"]}, "telescopic").index.unique("dataset")) == {"bkai"}
    with pytest.raises(PipelineError, match="bkai: the reference 'uniform' has no run"):
        compare(paired, "uniform", 200)
