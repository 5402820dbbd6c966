"""How far probabilities are frequencies: reliability bins, expected calibration error, and a threshold of validation.

Bins are of the foreground's probability, as Naeini, Cooper and Hauskrecht have it for two classes (Obtaining Well
Calibrated Probabilities Using Bayesian Binning, AAAI 2015) and torchmetrics' ``BinaryCalibrationError`` computes it:
15 of equal width, the number of Guo et al. (On Calibration of Modern Neural Networks, ICML 2017).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.evaluation.csv_table import read_table

BINS = 15
THRESHOLDS = tuple(step / 20 for step in range(1, 20))
"""Probabilities that are tried as threshold on the validation cases."""
CALIBRATION = ("bin", "pixels", "mean_probability", "foreground")
"""Columns of calibration.csv: bins are counted from 1, ``foreground`` is the share of foreground in a bin's pixels."""
SWEEP = ("threshold", "val_dsc")
"""Columns of thresholds.csv: the mean DSC (0..1) of the validation cases, at the model's input size."""


def bin_sums(probability: NDArray[np.float32], target: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Pixels, foreground pixels and sum of probabilities of each bin, (3, 15), which can be added over maps.

    Args:
        probability: (S, S), of the foreground, 0..1; 1 belongs to the last bin.
        target: (S, S).
    """
    bins = np.minimum((probability * np.float32(BINS)).astype(np.intp), BINS - 1).ravel()
    counts = np.bincount(bins + BINS * target.ravel(), minlength=2 * BINS).reshape(2, BINS)
    return np.stack([counts.sum(axis=0), counts[1], np.bincount(bins, probability.ravel(), minlength=BINS)])


def calibration_error(sums: NDArray[np.float64]) -> float:
    """Expected calibration error, 0..1: how far mean probability and share of foreground are apart in a bin, on average
    over pixels.

    Args:
        sums: of :func:`bin_sums`, of one map or added over several.
    """
    pixels, foreground, probability = sums
    return float(np.abs(probability - foreground).sum() / pixels.sum())


def calibration_table(sums: NDArray[np.float64]) -> pd.DataFrame:
    """calibration.csv from :func:`bin_sums`; of an empty bin the mean and the share are NaN."""
    pixels, foreground, probability = sums
    some = np.where(pixels > 0, pixels, np.nan)
    columns = np.arange(1, BINS + 1), pixels.astype(int), probability / some, foreground / some
    return pd.DataFrame(dict(zip(CALIBRATION, columns, strict=True)))


def read_bin_sums(run: str | Path) -> NDArray[np.float64]:
    """What :func:`calibration_table` was made from, of ``calibration.csv`` in the folder ``run``.

    Raises:
        PipelineError: the file is missing or broken.
    """
    table = read_table(Path(run) / "calibration.csv", CALIBRATION)
    pixels = table["pixels"].to_numpy(float)
    means = (np.nan_to_num(table[name].to_numpy(float)) for name in ("foreground", "mean_probability"))
    return np.stack([pixels, *(pixels * mean for mean in means)])


def dsc_by_threshold(probability: NDArray[np.float32], target: NDArray[np.bool_]) -> NDArray[np.float64]:
    """DSC (0..1) of a map at each of :data:`THRESHOLDS`; 1 where target and prediction are both empty."""
    predicted, both = (
        np.array([np.count_nonzero(values > threshold) for threshold in THRESHOLDS])
        for values in (probability, probability[target])
    )
    total = predicted + np.count_nonzero(target)
    return np.where(total > 0, 2 * both / np.maximum(total, 1), 1.0)


def sweep_table(dsc: Sequence[NDArray[np.float64]]) -> pd.DataFrame:
    """thresholds.csv from :func:`dsc_by_threshold` of each validation case."""
    return pd.DataFrame(dict(zip(SWEEP, (THRESHOLDS, np.mean(dsc, axis=0)), strict=True)))


def best_threshold(sweep: pd.DataFrame) -> float:
    """The threshold with the best validation DSC; of several the one nearest to 0.5."""
    best = sweep.loc[sweep["val_dsc"] == sweep["val_dsc"].max(), "threshold"]
    return float(min(best, key=lambda threshold: abs(threshold - 0.5)))


def read_best_threshold(run: str | Path) -> float:
    """The threshold that ``thresholds.csv`` in the folder ``run`` gives.

    Raises:
        PipelineError: the file is missing or broken.
    """
    return best_threshold(read_table(Path(run) / "thresholds.csv", SWEEP))
