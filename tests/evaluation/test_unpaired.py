"""Comparison of trainings whose test sets are not the same cases."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from pipeline.evaluation.unpaired import compare_datasets

BEFORE, AFTER = [0.80, 0.82, 0.81], [0.70, 0.74, 0.73]


def table(**scores):
    """dsc.csv from lists of DSC by ``variant__dataset``."""
    rows = [
        (*reversed(name.split("__")), 41 + at, dsc) for name, values in scores.items() for at, dsc in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["dataset", "variant", "seed", "dsc"])


def test_welchs_interval_and_test_in_points():
    row = compare_datasets(table(lora__a=BEFORE, lora__b=AFTER), {"a": "b"}).iloc[0]
    assert row["difference"] == pytest.approx(100 * (np.mean(AFTER) - np.mean(BEFORE)))
    test = scipy.stats.ttest_ind(100 * np.array(AFTER), 100 * np.array(BEFORE), equal_var=False)
    assert row["p"] == row["p_holm"] == pytest.approx(test.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert (row["before_sd"], row["seeds"], row["outcome"]) == (pytest.approx(1.0), 3, "worse")


def test_equivalence_is_two_one_sided_tests():
    one, two = [0.800, 0.801, 0.802], [0.802, 0.803, 0.801]
    row = compare_datasets(table(lora__a=one, lora__b=two), {"a": "b"}, margin=1.0).iloc[0]
    samples = 100 * np.array(two), 100 * np.array(one)
    upper = scipy.stats.ttest_ind(samples[0] - 1, samples[1], equal_var=False, alternative="less").pvalue
    lower = scipy.stats.ttest_ind(samples[0] + 1, samples[1], equal_var=False, alternative="greater").pvalue
    assert row["p_equivalence"] == pytest.approx(max(upper, lower))
    assert row["outcome"] == "equivalent"


def test_a_single_seed_resolves_nothing_and_equal_seeds_are_no_error():
    scores = table(lora__a=[0.8], lora__b=[0.2], zero_shot__a=[0.5, 0.5], zero_shot__b=[0.4, 0.4], uniform__a=[0.8])
    found = compare_datasets(scores, {"a": "b"}).set_index("variant")
    assert list(found.index) == ["lora", "zero_shot"]
    assert found.loc["lora", "outcome"] == "not resolved" and np.isnan(found.loc["lora", "low"])
    assert found.loc["zero_shot", ["difference", "low", "high"]].tolist() == pytest.approx([-10, -10, -10])
    assert found.loc["zero_shot", "outcome"] == "worse"


def test_holms_correction_counts_all_rows():
    scores = table(lora__a=BEFORE, lora__b=AFTER, uniform__a=BEFORE, uniform__b=AFTER)
    found = compare_datasets(scores, {"a": "b"})
    assert found["p_holm"].tolist() == pytest.approx((2 * found["p"]).tolist())
