"""What cannot be concluded follows from the numbers of datasets, cases, seeds and comparisons."""

import pandas as pd

from pipeline.evaluation.pairing import Paired
from pipeline.reporting.tables.remarks import limits


def _limits(datasets: dict[str, int], seeds: int, variants: int = 3) -> str:
    names = [f"v{index}" for index in range(variants)]
    paired = {
        dataset: Paired(pd.DataFrame({name: [0.5] * cases for name in names}), dict.fromkeys(names, seeds))
        for dataset, cases in datasets.items()
    }
    return " ".join(limits(paired, {"v0": "V0", "bkai": "BKAI"}, "v0"))


def test_five_datasets_and_three_seeds():
    text = _limits({"kvasir_seg": 100, "clinicdb": 61, "bkai": 100, "isic16": 379, "busi": 78}, 3, variants=7)
    assert "With 5 datasets no test across datasets can give p below 0.0625" in text
    # The chi-squared interval with 2 degrees of freedom and t_0.975(2) / sqrt(3) = 4.303 / 1.732.
    assert "between 0.52 and 6.3 times the observed one" in text and "within ±2.48 of it" in text
    assert "29 videos" in text and "does not show that a variant equals V0" in text
    assert "no comparison can reach" not in text


def test_few_datasets_cases_and_seeds():
    text = _limits({"bkai": 6, "busi": 24}, 1)
    assert "With 2 datasets no test across datasets can give p below 0.5," in text
    # 4 comparisons: 4 * 2/64 is not below 0.05 on BKAI, 4 * 2/2^24 is on BUSI.
    assert "On BKAI (6 cases) no comparison can reach p (Holm) below 0.05 by itself" in text
    assert "the smallest p is 0.031, times 4 comparisons" in text
    assert "With one seed the variation between trainings is unknown" in text and "29 videos" not in text
    assert "One dataset: nothing can be concluded about other datasets." in _limits({"busi": 50}, 2)


def test_six_datasets_are_enough_for_significance():
    six = _limits({f"d{index}": 50 for index in range(6)}, 2)
    assert "With 6 datasets the smallest p that a test across datasets can give is 0.03125" in six
