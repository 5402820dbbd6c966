"""Per-case scores of several variants side by side: one table per dataset, cases by variants, averaged over seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from pipeline.evaluation.readers import read_cases
from pipeline.evaluation.runs import Run
from pipeline.runtime.errors import PipelineError


class Paired(NamedTuple):
    """Scores on one dataset.

    Attributes:
        scores: One row per case (sorted), one column per variant, DSC in 0..1: the mean over the variant's seeds.
        seeds: Number of seeds by variant.
    """

    scores: pd.DataFrame
    seeds: dict[str, int]


def pair_scores(cases: pd.DataFrame) -> dict[str, Paired]:
    """Pair scores by case, for each dataset.

    A case scored under several prompts counts once, with their mean. Datasets and variants keep the order in which
    they first appear.

    Args:
        cases: Columns dataset, variant, seed, case, dsc (0..1).

    Raises:
        PipelineError: a run lacks a case that another run on the dataset has, so that pairing them would be wrong.
    """
    result = {}
    for dataset, rows in cases.groupby("dataset", sort=False):
        runs = rows.pivot_table(index="case", columns=["variant", "seed"], values="dsc", aggfunc="mean")
        incomplete = runs.columns[runs.isna().any()]
        if len(incomplete):
            variant, seed = incomplete[0]
            case = runs.index[runs[incomplete[0]].isna()][0]
            raise PipelineError(
                f"{dataset}/{variant}/seed{seed}: no score for case {case!r}, which other runs have; "
                "score all runs on the same split"
            )
        variants = list(dict.fromkeys(rows["variant"]))
        scores = pd.DataFrame({variant: runs[variant].mean(axis=1) for variant in variants})
        result[dataset] = Paired(scores, {variant: runs[variant].shape[1] for variant in variants})
    return result


def pair_cases(runs: Sequence[Run]) -> dict[str, Paired]:
    """:func:`pair_scores` of the per-case scores of ``runs``."""
    return pair_scores(read_cases(runs))
