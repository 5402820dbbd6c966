"""Differences between methods: what further trainings of both would show again.

The unit is the training, not the case: a run counts with its mean DSC over the test cases, which are taken as they are.
Scores are long tables with the columns dataset, variant, seed, case, dsc (0..1); other columns are ignored.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import nctdtr, stdtr, stdtrit

from pipeline.evaluation.readers import AVERAGE
from pipeline.evaluation.runs import IDENTITY
from pipeline.runtime.errors import PipelineError

BETTER, WORSE, EQUIVALENT, NOT_RESOLVED = "better", "worse", "equivalent", "not resolved"
OUTCOMES = (BETTER, WORSE, EQUIVALENT, NOT_RESOLVED)
LEVEL = 0.05
"""Of the tests; intervals cover 1 - LEVEL."""
MARGIN = 1.0
"""Differences below it are of no consequence, DSC points; the default of ``evaluation.margin``."""
POWER = 0.8
MOST_SEEDS = 1000
_DECIMALS = 10  # of DSC points; anything smaller is rounding error
_TESTS = ("p", "p_equivalence")
COLUMNS = ("dataset", "variant", "seeds", "difference", "low", "high", "p", "p_holm", "p_equivalence")
COLUMNS += ("p_equivalence_holm", "outcome", "se", "df", "seed_sd", "seeds_needed")


class Difference(NamedTuple):
    """A variant minus the reference, DSC points.

    Attributes:
        seeds: Pairs of seeds; of a comparison without pairs, the seeds of the variant that has fewer.
        difference: Estimate.
        se: Its standard error; NaN where one of the two was trained once.
        df: Degrees of freedom of ``se``.
        seed_sd: Standard deviation of the difference of two single trainings; NaN for an average over datasets.
    """

    seeds: int
    difference: float
    se: float
    df: float
    seed_sd: float


SeedMeans = dict[str, dict[str, dict[int, float]]]
"""Mean DSC of each run over its cases, in points, by dataset, variant and seed."""


def seed_means(scores: pd.DataFrame) -> SeedMeans:
    """The means of all runs, in the order in which they first appear in ``scores``.

    A case that a run has several scores of counts once, with their mean.

    Raises:
        PipelineError: there is no row, a column is missing, a score is not a number, or a run lacks a case that
            another run on the dataset has.
    """
    missing = [column for column in (*IDENTITY, "case", "dsc") if column not in scores]
    if missing:
        raise PipelineError(f"scores: column {', '.join(missing)} is missing; give dataset, variant, seed, case, dsc")
    if scores.empty:
        raise PipelineError("scores: no row; give the scores of at least one run")
    codes, names = {}, {}
    for column in (*IDENTITY, "case"):
        codes[column], names[column] = pd.factorize(scores[column])
    values = scores["dsc"].to_numpy(float)
    broken = ~np.isfinite(values)
    broken |= np.logical_or.reduce([code < 0 for code in codes.values()])
    if broken.any():
        row = scores.iloc[int(broken.argmax())]
        raise PipelineError(
            f"{row['dataset']}/{row['variant']}/seed{row['seed']}: DSC of case {row['case']!r} is {row['dsc']}; "
            "score the run again"
        )
    shape = [len(names[column]) for column in IDENTITY]
    run_of_row, runs = pd.factorize(np.ravel_multi_index([codes[column] for column in IDENTITY], shape))
    keys = np.unravel_index(runs, shape)
    identities = list(zip(*(names[column][key] for column, key in zip(IDENTITY, keys, strict=True)), strict=True))
    # Runs by cases: how many scores there are of each case, and their sum.
    grid = (len(runs), len(names["case"]))
    cells = run_of_row * grid[1] + codes["case"]
    counts = np.bincount(cells, minlength=grid[0] * grid[1]).reshape(grid)
    sums = np.bincount(cells, weights=values, minlength=grid[0] * grid[1]).reshape(grid)
    for dataset in range(shape[0]):
        there = counts[keys[0] == dataset] > 0
        expected = there.any(axis=0)
        short = (there != expected).any(axis=1)
        if short.any():
            run = np.flatnonzero(keys[0] == dataset)[short.argmax()]
            case = names["case"][np.flatnonzero(expected & (counts[run] == 0))[0]]
            raise PipelineError(
                "{}/{}/seed{}: ".format(*identities[run]) + f"no score for case {case!r}, which other runs have; "
                "score all runs on the same split"
            )
    means = (sums / np.maximum(counts, 1)).sum(axis=1) / (counts > 0).sum(axis=1)
    result: SeedMeans = {}
    for (dataset, variant, seed), mean in zip(identities, means, strict=True):
        result.setdefault(dataset, {}).setdefault(variant, {})[seed] = 100 * float(mean)
    return result


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """P-values adjusted for their number by Holm's step-down method (Holm 1979), in the order given; NaN stays NaN."""
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(len(p_values), math.nan)
    order = np.argsort(p_values, kind="stable")[: np.isfinite(p_values).sum()]
    steps = np.maximum.accumulate((len(order) - np.arange(len(order))) * p_values[order])
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def _difference(variant: Mapping[int, float], reference: Mapping[int, float]) -> Difference:
    """The difference on one dataset, from the means by seed: paired by the seeds of both if there are two or more.

    Runs of one seed share the order of the training cases and the prompts. Without two such pairs, but with two seeds
    of each, it is Welch's (1947) comparison.
    """
    shared = [seed for seed in variant if seed in reference]
    if len(shared) > 1 or (shared and min(len(variant), len(reference)) == 1):
        gaps = np.round([variant[seed] - reference[seed] for seed in shared], _DECIMALS)
        sd = float(gaps.std(ddof=1)) if len(gaps) > 1 else math.nan
        return Difference(len(gaps), float(gaps.mean()), sd / math.sqrt(len(gaps)), len(gaps) - 1, sd)
    return welch(list(variant.values()), list(reference.values()))


def welch(variant: Sequence[float], reference: Sequence[float]) -> Difference:
    """The difference of two groups of trainings that share no seeds (Welch 1947), from their means in points."""
    groups = [np.asarray(group, dtype=float) for group in (variant, reference)]
    difference = float(np.round(groups[0].mean() - groups[1].mean(), _DECIMALS))
    seeds = min(map(len, groups))
    if seeds == 1:
        return Difference(1, difference, math.nan, 0, math.nan)
    spread = np.array([np.round(group, _DECIMALS).var(ddof=1) for group in groups])
    parts, freedom = spread / [len(group) for group in groups], np.array([len(group) - 1 for group in groups])
    total = parts.sum()
    df = float(total**2 / (parts**2 / freedom).sum()) if total > 0 else float(freedom.sum())
    return Difference(seeds, difference, math.sqrt(total), df, math.sqrt(spread.sum()))


def _average(parts: Sequence[Difference]) -> Difference:
    """The mean of the differences on several datasets.

    Satterthwaite's (1946) degrees of freedom, with the squares of the estimated variances made unbiased (the + 2 and
    - 2; Welch 1947), since with few seeds those are so much too large that an interval of 95% would cover 97%; never
    more than the datasets have together.
    """
    variances, freedom = np.array([(part.se**2, part.df) for part in parts]).T
    total = variances.sum()
    df = freedom.sum()
    if total > 0:
        df = min(df, total**2 / (variances**2 / (freedom + 2)).sum() - 2)
    difference = float(np.mean([part.difference for part in parts]))
    seeds = min(part.seeds for part in parts)
    return Difference(seeds, difference, math.sqrt(total) / len(parts), float(df), math.nan)


def seeds_needed(seed_sds: Sequence[float], margin: float = MARGIN, level: float = LEVEL) -> float:
    """The fewest seeds of each variant that show two equal methods as equivalent with a power of 80%.

    Both one-sided tests of seed-paired differences must reject at ``level``, in 80% of studies in which the true
    difference is zero: noncentral t, with degrees of freedom as of the comparison itself; a lower bound of the power.

    Args:
        seed_sds: Standard deviation of the difference of two single trainings on each of the datasets that are
            averaged over, DSC points.
        margin: DSC points.

    Returns:
        2 or more; infinite beyond :data:`MOST_SEEDS`; NaN where a standard deviation is unknown.
    """
    variances = np.square(np.asarray(seed_sds, dtype=float))
    total = variances.sum()
    if not total > 0:
        return 2.0 if total == 0 else math.nan

    def enough(seeds: int) -> bool:
        df = (seeds - 1) * total**2 / np.square(variances).sum()
        shift = margin * len(variances) * math.sqrt(seeds / total)
        # Far beyond the quantile the power is one, and the distribution's series does not converge.
        critical = stdtrit(df, 1 - level)
        return shift > critical + 30 or 1 - 2 * nctdtr(df, shift, critical) >= POWER

    found = 2 + bisect_left(range(2, MOST_SEEDS + 1), True, key=enough)
    return float(found) if found <= MOST_SEEDS else math.inf


def tests(difference: Difference, margin: float) -> dict[str, float]:
    """low, high, p of no difference, p_equivalence of two one-sided tests at ``margin`` (Schuirmann 1987)."""
    value, se = difference.difference, difference.se
    if math.isnan(se):
        return dict.fromkeys(("low", "high", *_TESTS), math.nan)
    if se == 0:  # each seed gives the same difference
        p, p_equivalence, half = float(value == 0), float(abs(value) >= margin), 0.0
    else:
        p = 2 * stdtr(difference.df, -abs(value) / se)
        p_equivalence = stdtr(difference.df, (abs(value) - margin) / se)
        half = stdtrit(difference.df, 1 - LEVEL / 2) * se
    return {"low": value - half, "high": value + half, "p": p, "p_equivalence": p_equivalence}


def outcome(difference: float, p: float, p_equivalence: float) -> str:
    """One of :data:`OUTCOMES`, from adjusted p-values: a difference surely below the margin is ``equivalent``."""
    if p_equivalence < LEVEL:
        return EQUIVALENT
    if p < LEVEL:
        return BETTER if difference > 0 else WORSE
    return NOT_RESOLVED


def decide(rows: Sequence[dict[str, Any]]) -> None:
    """Add p-values after Holm's correction over ``rows``, which have those of :func:`tests`, and the outcomes."""
    for test in _TESTS:
        for row, adjusted in zip(rows, holm([row[test] for row in rows]), strict=True):
            row[f"{test}_holm"] = adjusted
    for row in rows:
        row["outcome"] = outcome(row["difference"], row["p_holm"], row["p_equivalence_holm"])


def compare_methods(scores: pd.DataFrame, reference: str, margin: float = MARGIN) -> pd.DataFrame:
    """Is each variant better than, worse than, or as good as ``reference``?

    Within a dataset: differences of the runs' mean DSC, paired by the seeds that both have, Student's t. In rows of the
    dataset ``average``: the mean of the datasets' differences, Student's t with Satterthwaite's degrees of freedom;
    these rows are there for variants that were run on all datasets, if there is more than one; trainings on different
    datasets are taken as independent. The comparisons within datasets are one family of Holm's correction, those of the
    averages another.

    Args:
        scores: Columns dataset, variant, seed, case, dsc (0..1).
        reference: A variant that was run on each of the datasets.
        margin: Differences below it are of no consequence, DSC points.

    Returns:
        One row per dataset and variant but the reference, in the order of ``scores``, the average last; columns
        :data:`COLUMNS`. seeds, se, df and seed_sd: see :class:`Difference`; difference: variant minus reference; low,
        high: 95% (all in DSC points); p: of no difference; p_equivalence: of two one-sided tests at ``margin``; both
        also after Holm's correction; outcome: one of :data:`OUTCOMES`, from the corrected ones at 0.05; seeds_needed:
        see :func:`seeds_needed`, at 0.05 over the size of the family, so that it holds whatever the other comparisons
        give. With a single seed only the difference is known, and nothing is resolved.

    Raises:
        PipelineError: as :func:`seed_means`, or the reference has no run on one of the datasets.
    """
    datasets = seed_means(scores)
    for dataset, variants in datasets.items():
        if reference not in variants:
            raise PipelineError(
                f"{dataset}: the reference {reference!r} has no run, but {', '.join(variants)} have; "
                "add its runs or name another reference"
            )
    found = {
        (dataset, variant): _difference(seeds, variants[reference])
        for dataset, variants in datasets.items()
        for variant, seeds in variants.items()
        if variant != reference
    }
    seed_sds = {place: [part.seed_sd] for place, part in found.items()}
    if len(datasets) > 1:
        for variant in dict.fromkeys(name for _, name in found):
            places = [(dataset, variant) for dataset in datasets]
            if all(place in found for place in places):
                parts = [found[place] for place in places]
                found[AVERAGE, variant] = _average(parts)
                seed_sds[AVERAGE, variant] = [part.seed_sd for part in parts]
    rows = [
        {"dataset": dataset, "variant": variant} | part._asdict() | tests(part, margin)
        for (dataset, variant), part in found.items()
    ]
    for averaged in (False, True):
        family = [row for row in rows if (row["dataset"] == AVERAGE) == averaged]
        decide(family)
        for row in family:
            sds = seed_sds[row["dataset"], row["variant"]]
            row["seeds_needed"] = seeds_needed(sds, margin, LEVEL / len(family))
    return pd.DataFrame(rows, columns=COLUMNS)


def compare_pairs(scores: pd.DataFrame, pairs: Mapping[str, str], margin: float = MARGIN) -> pd.DataFrame:
    """Each variant against one of its own, as :func:`compare_methods`, with Holm's correction over all pairs.

    Args:
        scores: Columns dataset, variant, seed, case, dsc (0..1).
        pairs: By reference the variant that is compared with it.
        margin: Differences below it are of no consequence, DSC points.

    Returns:
        :data:`COLUMNS` without seeds_needed, which is of another family of tests.
    """
    found = []
    for reference, variant in pairs.items():
        part = scores[scores["variant"].isin([reference, variant])]
        found += compare_methods(part, reference, margin).to_dict("records")
    for averaged in (False, True):
        decide([row for row in found if (row["dataset"] == AVERAGE) == averaged])
    return pd.DataFrame(found, columns=COLUMNS).drop(columns="seeds_needed")


def mixed_model(scores: pd.DataFrame, reference: str) -> pd.DataFrame:
    """The same differences within datasets by the mixed model dsc ~ variant + (1 | case) + (1 | seed:variant).

    All runs of a dataset have the same cases, so cases drop out of the differences, and REML's estimates are those of
    an analysis of variance of the runs' means (Searle, Casella and McCulloch, Variance Components, 1992): one standard
    deviation over seeds for all variants, t with as many degrees of freedom as there are runs less variants. The
    variance between seeds is not bounded at zero.

    Args:
        scores: Columns dataset, variant, seed, case, dsc (0..1).

    Returns:
        Columns dataset, variant, mixed_difference, mixed_low, mixed_high (95%, DSC points), mixed_p: one row per
        dataset and variant but the reference; NaN where no variant has two seeds.

    Raises:
        PipelineError: as :func:`seed_means`.
    """
    rows = []
    for dataset, variants in seed_means(scores).items():
        groups = {variant: np.round(list(seeds.values()), _DECIMALS) for variant, seeds in variants.items()}
        df = sum(map(len, groups.values())) - len(groups)
        variance = sum(((group - group.mean()) ** 2).sum() for group in groups.values()) / df if df else math.nan
        for variant in groups:
            if variant != reference and reference in groups:
                value = float(groups[variant].mean() - groups[reference].mean())
                se = math.sqrt(variance * (1 / len(groups[variant]) + 1 / len(groups[reference])))
                found = tests(Difference(0, value, se, df, math.nan), math.inf)
                rows.append((dataset, variant, value, found["low"], found["high"], found["p"]))
    return pd.DataFrame(
        rows, columns=["dataset", "variant", *(f"mixed_{name}" for name in ("difference", "low", "high", "p"))]
    )
