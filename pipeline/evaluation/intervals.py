"""Means over cases with bootstrap intervals, and paired differences to a reference, for a family of variants."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.evaluation.bootstrap import interval, resampled_means
from pipeline.evaluation.readers import AVERAGE, dataset_order
from pipeline.runtime.errors import PipelineError

SAMPLES = 10_000


def _case_means(cases: pd.DataFrame, dataset: str, variants: Sequence[str]) -> pd.DataFrame:
    """DSC by case (rows) and variant (columns), averaged over seeds. Variants without a run are all NaN."""
    rows = cases[cases["dataset"] == dataset]
    table = rows.pivot_table(index="case", columns="variant", values="dsc", aggfunc="mean").sort_index()
    holes = [name for name in table.columns if table[name].isna().any()]
    if holes:
        case = table.index[table[holes[0]].isna()][0]
        raise PipelineError(
            f"{dataset}/{holes[0]}: case {case!r} has no score though other variants have one; evaluate that run again"
        )
    return table.reindex(columns=list(variants))


def summarise_family(
    cases: pd.DataFrame, variants: Sequence[str], reference: str, samples: int = SAMPLES
) -> pd.DataFrame:
    """Mean DSC and paired difference to ``reference`` of each variant, by dataset and averaged over datasets.

    Scores are averaged over seeds within a case, then cases are resampled with replacement within each dataset, the
    same cases for all variants: 95% percentile intervals, the same as in the table of comparisons.

    Args:
        cases: columns dataset, variant, seed, case, dsc (0..1).
        variants: order of the result.
        reference: one of ``variants``.
        samples: bootstrap resamples.

    Returns:
        Columns dataset, variant, mean, low, high, difference, difference_low, difference_high (all 0..1; NaN where a
        variant has no run on a dataset). The dataset ``average`` comes last, if there is more than one.

    Raises:
        PipelineError: a variant lacks a case that others have, or there is no score at all.
    """
    if reference not in variants:
        raise PipelineError(f"--reference: {reference!r} is not among the variants ({', '.join(variants)})")
    cases = cases[cases["variant"].isin(variants)]
    datasets = dataset_order(cases["dataset"])
    if not datasets:
        raise PipelineError("none of the runs belongs to the variants of this figure; check --runs and --variants")
    column = list(variants).index(reference)
    rows: list[dict] = []
    means, resampled = [], []
    for dataset in datasets:
        table = _case_means(cases, dataset, variants).to_numpy()
        means.append(table.mean(axis=0))
        resampled.append(resampled_means(table, samples, dataset))
    if len(datasets) > 1:
        datasets = [*datasets, AVERAGE]
        means.append(np.mean(means, axis=0))
        resampled.append(np.mean(resampled, axis=0))
    for dataset, mean, draws in zip(datasets, means, resampled, strict=True):
        low, high = interval(draws)
        gap_low, gap_high = interval(draws - draws[:, [column]])
        for index, variant in enumerate(variants):
            rows.append(
                {
                    "dataset": dataset,
                    "variant": variant,
                    "mean": mean[index],
                    "low": low[index],
                    "high": high[index],
                    "difference": mean[index] - mean[column],
                    "difference_low": gap_low[index],
                    "difference_high": gap_high[index],
                }
            )
    return pd.DataFrame(rows)
