"""Per-case scores of several variants side by side: one table a dataset, cases by variants, averaged over seeds."""

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from pipeline.evaluation.per_case import read_per_case
from pipeline.evaluation.runs import Run
from pipeline.runtime.errors import PipelineError


class Paired(NamedTuple):
    """Scores on one dataset.

    Attributes:
        scores: One row a case, one column a variant, DSC in 0..1: the mean over the variant's seeds.
        seeds: Number of seeds by variant.
    """

    scores: pd.DataFrame
    seeds: dict[str, int]


def _case_scores(run: Run) -> pd.Series:
    """DSC by case; a case scored under several prompts counts once, with their mean."""
    return read_per_case(run.folder).groupby("case", sort=True)["dsc"].mean()


def pair_cases(runs: Iterable[Run]) -> dict[str, Paired]:
    """Read the per-case scores of ``runs`` and pair them by case.

    Datasets and variants keep the order in which they first appear among the runs.

    Raises:
        PipelineError: two runs on a dataset do not have the same cases, so that pairing them would be wrong.
    """
    by_dataset: dict[str, dict[str, list[tuple[Run, pd.Series]]]] = {}
    for run in runs:
        by_dataset.setdefault(run.dataset, {}).setdefault(run.variant, []).append((run, _case_scores(run)))
    result = {}
    for dataset, variants in by_dataset.items():
        first, expected = next(iter(variants.values()))[0]
        for run, scores in (pair for pairs in variants.values() for pair in pairs):
            odd = sorted(set(scores.index) ^ set(expected.index))
            if odd:
                where = run if odd[0] in scores.index else first
                raise PipelineError(
                    f"{run} and {first} were scored on different cases, e.g. {odd[0]} only in {where}; "
                    "evaluate both on the same split"
                )
        means = {
            name: pd.concat([scores for _, scores in pairs], axis=1).mean(axis=1) for name, pairs in variants.items()
        }
        result[dataset] = Paired(pd.DataFrame(means), {name: len(pairs) for name, pairs in variants.items()})
    return result
