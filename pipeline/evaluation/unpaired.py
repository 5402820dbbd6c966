"""How DSC differs between two trainings of one method whose test sets are not the same cases."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.evaluation.methods import MARGIN, decide, tests, welch

COLUMNS = ("dataset", "variant", "before", "before_sd", "after", "after_sd", "seeds")
COLUMNS += ("difference", "low", "high", "p", "p_holm", "p_equivalence", "p_equivalence_holm", "outcome")


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else np.nan


def compare_datasets(dsc: pd.DataFrame, pairs: Mapping[str, str], margin: float = MARGIN) -> pd.DataFrame:
    """Each variant's mean DSC on one dataset against that on another.

    The unit is the training: a run counts with its mean over its own test cases. The two test sets are taken as they
    are, so what their cases differ in is part of the difference. Welch's (1947) t test and interval, two one-sided
    tests at ``margin`` for equivalence; Holm's correction over all comparisons.

    Args:
        dsc: as dsc.csv: dataset, variant, seed, dsc (0..1).
        pairs: the dataset after, by the one before.
        margin: differences below it are of no consequence, DSC points.

    Returns:
        One row per pair and variant that was run on both, under the name of the dataset before; :data:`COLUMNS`, DSC
        in points (0..100); ``difference`` is after minus before; ``seeds`` the smaller number. With a single seed on a
        side only the difference is known, and nothing is resolved.
    """
    rows = []
    for before, after in pairs.items():
        for variant in dict.fromkeys(dsc["variant"]):
            one, two = (
                100 * dsc.loc[(dsc["variant"] == variant) & (dsc["dataset"] == dataset), "dsc"].to_numpy(float)
                for dataset in (before, after)
            )
            if not len(one) or not len(two):
                continue
            row = {"dataset": before, "variant": variant, "before": one.mean(), "after": two.mean()}
            found = welch(two, one)
            row |= {"before_sd": _spread(one), "after_sd": _spread(two), "seeds": found.seeds}
            rows.append(row | {"difference": found.difference} | tests(found, margin))
    decide(rows)
    return pd.DataFrame(rows, columns=list(COLUMNS))
