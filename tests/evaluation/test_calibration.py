"""Bins and calibration error against torchmetrics, and the threshold that the validation cases choose."""

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error

from pipeline.evaluation.calibration import (
    BINS,
    THRESHOLDS,
    best_threshold,
    bin_sums,
    calibration_error,
    calibration_table,
    dsc_by_threshold,
    read_best_threshold,
    read_bin_sums,
    sweep_table,
)
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import PipelineError


@pytest.fixture(scope="module")
def maps() -> list[tuple[np.ndarray, np.ndarray]]:
    """Probabilities and targets: overconfident, well calibrated, crowded at 0, without a target, and a single pixel."""
    generator, found = np.random.default_rng(15), []
    for a, b, power, side in ((1, 1, 2, 48), (1, 1, 1, 48), (0.1, 2, 1, 48), (0.5, 9, 1e9, 48), (2, 2, 1, 1)):
        probability = generator.beta(a, b, (side, side)).astype(np.float32)
        found.append((probability, generator.random((side, side)) < probability**power))
    return found


def test_torchmetrics_agrees(maps):
    def expected(probability, target) -> float:
        tensors = torch.from_numpy(np.ravel(probability)), torch.from_numpy(np.ravel(target)).int()
        return binary_calibration_error(*tensors, n_bins=BINS, norm="l1").item()

    for pair in maps:
        assert calibration_error(bin_sums(*pair)) == pytest.approx(expected(*pair), abs=1e-5)
    # Bins add up: the error of all pixels together is no mean of those by map.
    together = (np.concatenate([np.ravel(part) for part in parts]) for parts in zip(*maps, strict=True))
    assert calibration_error(sum(bin_sums(*pair) for pair in maps)) == pytest.approx(expected(*together), abs=1e-5)


def test_literal_bins(tmp_path):
    probability = np.array([[0, 0.05, 0.5, 1.0]], np.float32)
    sums = bin_sums(probability, np.array([[False, True, True, True]]))
    table = calibration_table(sums)
    assert table["pixels"].tolist() == [2, *[0] * 6, 1, *[0] * 6, 1]
    assert table.loc[0].tolist() == pytest.approx([1, 2, 0.025, 0.5]) and table.loc[14].tolist() == [15, 1, 1, 1]
    assert table.loc[1, ["mean_probability", "foreground"]].isna().all()
    # |0.025 - 0.5| of two pixels, |0.5 - 1| of one, 0 of one.
    assert calibration_error(sums) == pytest.approx((2 * 0.475 + 0.5) / 4)
    write_csv(tmp_path / "calibration.csv", table)
    np.testing.assert_allclose(read_bin_sums(tmp_path), sums)
    table.drop(columns="pixels").to_csv(tmp_path / "calibration.csv")
    with pytest.raises(PipelineError, match=r"calibration\.csv: column pixels is missing"):
        read_bin_sums(tmp_path)


def test_the_best_threshold_of_the_validation_cases(maps, tmp_path):
    assert THRESHOLDS[0] == 0.05 and THRESHOLDS[-1] == 0.95 and len(THRESHOLDS) == 19
    for probability, target in maps:
        for dsc, threshold in zip(dsc_by_threshold(probability, target), THRESHOLDS, strict=True):
            predicted = probability > threshold
            total = predicted.sum() + target.sum()
            assert dsc == (2 * (predicted & target).sum() / total if total else 1)
    table = sweep_table([dsc_by_threshold(*pair) for pair in maps[:2]])
    by_hand = [np.mean([dsc_by_threshold(*pair)[at] for pair in maps[:2]]) for at in range(19)]
    assert best_threshold(table) == THRESHOLDS[int(np.argmax(by_hand))]
    write_csv(tmp_path / "thresholds.csv", table)
    assert read_best_threshold(tmp_path) == best_threshold(table)
    tied = pd.DataFrame({"threshold": THRESHOLDS, "val_dsc": [0.7, *[0.8] * 7, *[0.6] * 11]})
    assert best_threshold(tied) == 0.4  # of 0.1 to 0.4 the nearest to 0.5
