"""Bootstrap intervals of means and paired differences."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from pipeline.evaluation.intervals import interval, resampled_means, summarise_family
from pipeline.evaluation.readers import AVERAGE
from pipeline.runtime.errors import PipelineError


def test_bootstrap_of_two_cases_is_the_binomial_distribution():
    # Means of two draws from (0, 1): 0, 0.5 and 1 with probabilities 1/4, 1/2 and 1/4.
    draws = resampled_means(np.array([[0.0], [1.0]]), 40_000, "busi")[:, 0]
    values, counts = np.unique(draws, return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert counts / 40_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.01)
    assert interval(draws) == (0, 1)


def test_interval_is_the_percentiles():
    low, high = interval(np.arange(1001.0)[:, None] * [1, 10])
    assert low.tolist() == pytest.approx([25, 250])
    assert high.tolist() == pytest.approx([975, 9750])


def test_bootstrap_covers_the_mean_at_its_nominal_rate():
    # 400 data sets of 80 cases; the mean of the beta distribution (8, 2) is 0.8.
    generator = np.random.default_rng(43)
    inside = 0
    for index in range(400):
        low, high = interval(resampled_means(generator.beta(8, 2, size=(80, 1)), 1000, str(index)))
        inside += bool(low[0] <= 0.8 <= high[0])
    assert 0.92 <= inside / 400 <= 0.97


def test_draws_repeat_and_are_paired_within_and_independent_between_datasets():
    scores = np.random.default_rng(0).random((50, 1))
    both = resampled_means(np.hstack([scores, scores + 0.25]), 500, "bkai")
    np.testing.assert_array_equal(both, resampled_means(np.hstack([scores, scores + 0.25]), 500, "bkai"))
    np.testing.assert_allclose(both[:, 1] - both[:, 0], 0.25)  # the same cases: a constant gap has no spread
    other = resampled_means(scores, 500, "kvasir_seg")
    assert abs(np.corrcoef(both[:, 0], other[:, 0])[0, 1]) < 0.15


# Families of variants


def _family(scores: dict[tuple[str, str, int], list[float]], variants: str, reference: str, samples: int = 500):
    """The summary by dataset and variant, from {(dataset, variant, seed): scores}."""
    cases = pd.DataFrame(
        [
            {"dataset": dataset, "variant": variant, "seed": seed, "case": f"c{index}", "dsc": value}
            for (dataset, variant, seed), values in scores.items()
            for index, value in enumerate(values)
        ]
    )
    return summarise_family(cases, list(variants), reference, samples).set_index(["dataset", "variant"])


def test_family_means_and_differences_by_hand():
    busi = {("busi", "a", 1): [0.2, 0.4], ("busi", "a", 2): [0.4, 0.6], ("busi", "b", 1): [0.5, 0.7]}
    table = _family(busi | {("isic16", "a", 1): [0.8, 0.9, 1.0], ("isic16", "b", 1): [0.7, 0.7, 0.7]}, "ba", "a")
    assert list(table.index) == [(dataset, variant) for dataset in ("busi", "isic16", AVERAGE) for variant in "ba"]
    assert table.loc[("busi", "a"), "mean"] == pytest.approx(0.4)
    assert table.loc[(AVERAGE, "a"), "mean"] == pytest.approx((0.4 + 0.9) / 2)
    assert table.loc[(AVERAGE, "b"), "difference"] == pytest.approx((0.2 - 0.2) / 2, abs=1e-12)
    # Both cases of BUSI differ by the same amount: resampling cannot change the difference.
    gaps = ["difference", "difference_low", "difference_high"]
    assert table.loc[("busi", "b"), gaps].tolist() == pytest.approx([0.2] * 3)
    assert table.loc[("busi", "a"), gaps].tolist() == [0] * 3
    assert table.loc[("busi", "b"), ["low", "high"]].tolist() == pytest.approx([0.5, 0.7])


def test_intervals_agree_with_scipy():
    generator = np.random.default_rng(3)
    a, b = generator.beta(8, 2, 60), generator.beta(7, 2, 60)
    row = _family({("busi", "a", 1): a, ("busi", "b", 1): b}, "ab", "a", 10_000).loc["busi", "b"]
    for low, high, sample in (("low", "high", b), ("difference_low", "difference_high", b - a)):
        oracle = scipy.stats.bootstrap((sample,), np.mean, n_resamples=20_000, method="percentile", rng=generator)
        expected = oracle.confidence_interval
        tolerance = 0.03 * (expected.high - expected.low)
        assert (row[low], row[high]) == pytest.approx((expected.low, expected.high), abs=tolerance)


def test_a_variant_without_a_run_is_nan_and_leaves_the_others_unchanged():
    scores = {("busi", "a", 1): [0.2, 0.4], ("isic16", "a", 1): [0.5, 0.7], ("isic16", "b", 1): [0.6, 0.6]}
    table = _family(scores, "ab", "a")
    for dataset in ("busi", AVERAGE):
        assert table.loc[(dataset, "b")].isna().all()
    assert table.loc[(AVERAGE, "a"), "mean"] == pytest.approx(0.45)


def test_wrong_families_are_refused():
    scores = {("busi", "a", 1): [0.2, 0.4], ("busi", "b", 1): [0.6]}
    with pytest.raises(PipelineError, match="busi/b/seed1: no score for case 'c1'"):
        _family(scores, "ab", "a")
    with pytest.raises(PipelineError, match="'c' is not among the variants"):
        _family(scores, "ab", "c")


def test_datasets_are_resampled_independently():
    # Two datasets with the same scores: the average of two independent means has 1 / sqrt(2) of their spread, while
    # shared draws would leave it as it is.
    scores = np.random.default_rng(8).uniform(0.4, 0.8, 30)
    result = _family({("bkai", "a", 41): scores, ("kvasir_seg", "a", 41): scores}, "a", "a", 4000)
    width = (result["high"] - result["low"]).droplevel("variant")
    assert width[AVERAGE] / width["bkai"] == pytest.approx(np.sqrt(0.5), rel=0.05)
    assert width["kvasir_seg"] == pytest.approx(width["bkai"], rel=0.05)
