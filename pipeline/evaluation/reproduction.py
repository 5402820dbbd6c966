"""Reported DSC against measured DSC, row by row, with a tolerance that follows from the measurement."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import DATASETS
from pipeline.evaluation.aggregate import Score, measured
from pipeline.evaluation.bootstrap import interval, resampled_means
from pipeline.evaluation.pairing import Paired
from pipeline.evaluation.readers import AVERAGE

REPRODUCES, DIFFERS, NOT_RUN, NOT_COMPARABLE = "reproduces", "differs", "not run", "not comparable"
# The reported end-to-end numbers come, as far as their public code shows, from training the decoder alone (its wrapper
# calls a forward that runs both encoders without gradients), so the first of these is what they stand for.
COUNTERPARTS = {"end_to_end": ("decoder_only", "end_to_end")}


def half_widths(paired: Mapping[str, Paired], samples: int) -> dict[tuple[str, str], float]:
    """Half the width of the bootstrap interval of the mean DSC, in points, by variant and dataset.

    ``average`` is there for variants that were run on all of the study's five datasets.
    """
    draws = {
        dataset: pd.DataFrame(resampled_means(scores.to_numpy() * 100, samples, dataset), columns=scores.columns)
        for dataset, (scores, _) in paired.items()
    }
    columns = {(variant, dataset): draws[dataset][variant] for dataset in draws for variant in draws[dataset]}
    for variant in {variant for variant, _ in columns}:
        if all((variant, dataset) in columns for dataset in DATASETS):
            columns[variant, AVERAGE] = sum(columns[variant, dataset] for dataset in DATASETS) / len(DATASETS)
    return {key: float(np.subtract(*interval(values.to_numpy())[::-1]) / 2) for key, values in columns.items()}


def seed_half_width(score: Score) -> float | None:
    """1.96 standard errors of the mean over seeds, in points; None for a single seed.

    Student's t would be exact, but with two seeds it is 12.7 standard errors: whatever spreads would reproduce.
    """
    return None if score.sd is None else 1.96 * score.sd / math.sqrt(score.seeds)


def judge(
    dsc: pd.DataFrame,
    reported: pd.DataFrame,
    datasets: Sequence[str],
    widths: Mapping[tuple[str, str], float],
    minimum: float,
    must_reproduce: Collection[str],
    comparable: bool,
) -> list[dict[str, Any]]:
    """Compare each reported DSC with what was measured.

    The tolerance is the root of the summed squares of two half widths of intervals: of the mean over seeds, and of the
    mean over test cases; it is never below ``minimum``. A reported average needs runs on all of the paper's five
    datasets.

    Args:
        dsc: dsc.csv, DSC in 0..1.
        reported: reported.csv, points; rows of other metrics are left out.
        datasets: The study's datasets; other rows of ``dsc`` do not count.
        widths: From :func:`half_widths`; empty where the per-case scores are not at hand.
        minimum: Smallest tolerance, points.
        must_reproduce: Variants whose rows must reproduce.
        comparable: Whether the study is on the official images and the pretrained backbone. If not, no row is judged.

    Returns:
        One JSON-ready dict a reported row and variant that stands for its method: method, variant, dataset, source,
        reported, value, difference, tolerance, seeds, seed_half_width, case_half_width (all in points; None where
        there is no run), must_reproduce, verdict.
    """
    dsc = dsc[dsc["dataset"].isin(datasets)]
    rows = []
    for row in reported[reported["metric"] == "dsc"].itertuples():
        for variant in COUNTERPARTS.get(row.method, (row.method,)):
            score = measured(dsc, variant, DATASETS)[row.dataset]
            result = {
                "method": row.method,
                "variant": variant,
                "dataset": row.dataset,
                "source": row.source,
                "reported": float(row.value),
                "must_reproduce": variant in must_reproduce,
            }
            rows.append(result | _judged(score, row.value, widths.get((variant, row.dataset)), minimum, comparable))
    return rows


def _judged(
    score: Score | None, reported: float, case_width: float | None, minimum: float, comparable: bool
) -> dict[str, Any]:
    if score is None:
        keys = ("value", "difference", "tolerance", "seed_half_width", "case_half_width")
        return dict.fromkeys(keys) | {"seeds": 0, "verdict": NOT_RUN}
    seed_width = seed_half_width(score)
    # Nine digits: the last bits differ between processors.
    tolerance = round(max(minimum, math.hypot(seed_width or 0, case_width or 0)), 9)
    difference = round(score.mean - reported, 9)
    verdict = REPRODUCES if abs(difference) <= tolerance else DIFFERS
    return {
        "value": round(score.mean, 9),
        "difference": difference,
        "tolerance": tolerance,
        "seeds": score.seeds,
        "seed_half_width": None if seed_width is None else round(seed_width, 9),
        "case_half_width": None if case_width is None else round(case_width, 9),
        "verdict": verdict if comparable else NOT_COMPARABLE,
    }
