"""Bootstrap intervals over cases."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from pipeline.evaluation.intervals import case_intervals, interval, resampled_means
from pipeline.evaluation.readers import AVERAGE


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


def _scores(**runs: dict[tuple[str, int], list[float]]) -> pd.DataFrame:
    """Long scores from {(variant, seed): scores} by dataset."""
    rows = [
        {"dataset": dataset, "variant": variant, "seed": seed, "case": f"c{index}", "dsc": value}
        for dataset, group in runs.items()
        for (variant, seed), values in group.items()
        for index, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def _ends(scores: pd.DataFrame, samples: int = 500) -> dict[tuple[str, str], list[float]]:
    table = case_intervals(scores, "a", samples)
    assert list(table) == ["dataset", "variant", "cases_low", "cases_high"]
    return {(row.dataset, row.variant): [row.cases_low, row.cases_high] for row in table.itertuples()}


def test_cases_count_with_their_mean_over_seeds():
    busi = {("a", 1): [0.2, 0.4], ("a", 2): [0.4, 0.6], ("b", 1): [0.5, 0.7]}
    ends = _ends(_scores(busi=busi, isic16={("a", 1): [0.8, 0.9, 1.0], ("b", 1): [0.7, 0.8, 0.9], ("c", 1): [0.1] * 3}))
    assert set(ends) == {("busi", "b"), ("isic16", "b"), ("isic16", "c"), (AVERAGE, "b")}
    # All cases differ by the same amount: resampling cannot change the difference.
    assert ends["busi", "b"] == pytest.approx([20, 20]) and ends["isic16", "b"] == pytest.approx([-10, -10])
    assert ends[AVERAGE, "b"] == pytest.approx([5, 5])


def test_intervals_agree_with_scipy():
    generator = np.random.default_rng(3)
    a, b = generator.beta(8, 2, 60), generator.beta(7, 2, 60)
    ends = _ends(_scores(busi={("a", 1): a, ("b", 1): b}), 10_000)["busi", "b"]
    gaps = 100 * (b - a)
    expected = scipy.stats.bootstrap((gaps,), np.mean, n_resamples=20_000, method="percentile", rng=generator)
    low, high = expected.confidence_interval
    assert ends == pytest.approx([low, high], abs=0.03 * (high - low))


def test_datasets_are_resampled_independently():
    # Two datasets with the same scores: the average of two independent differences has 1 / sqrt(2) of their spread,
    # while shared draws would leave it as it is.
    group = {("a", 1): np.full(30, 0.5), ("b", 1): np.random.default_rng(8).uniform(0.4, 0.8, 30)}
    width = {dataset: high - low for (dataset, _), (low, high) in _ends(_scores(bkai=group, busi=group), 4000).items()}
    assert width[AVERAGE] / width["bkai"] == pytest.approx(np.sqrt(0.5), rel=0.05)
    assert width["busi"] == pytest.approx(width["bkai"], rel=0.05)
