"""Inference about methods: by hand, against other implementations, and by simulation."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.formula.api as statsmodels
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation import compare_methods
from pipeline.evaluation.methods import COLUMNS, holm, mixed_model, seeds_needed
from pipeline.runtime.errors import PipelineError


def _scores(runs: dict[tuple[str, str, int], list[float]]) -> pd.DataFrame:
    """Long scores (0..1) from {(dataset, variant, seed): points of each case}."""
    rows = [(*run, f"c{at}", value / 100) for run, values in runs.items() for at, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["dataset", "variant", "seed", "case", "dsc"])


def _runs(**means: dict[str, list[float]]) -> pd.DataFrame:
    """Scores of runs with seeds 1, 2 ... of two cases each, from their means in points by dataset and variant."""
    return _scores(
        {
            (dataset, variant, seed): [mean - 5, mean + 5]
            for dataset, variants in means.items()
            for variant, seeds in variants.items()
            for seed, mean in enumerate(seeds, start=1)
        }
    )


def _compare(scores: pd.DataFrame, reference: str = "ours", margin: float = 1.0) -> pd.DataFrame:
    return compare_methods(scores, reference, margin).set_index(["dataset", "variant"])


def test_holm_by_hand():
    # Sorted 0.01 0.02 0.03 0.04 times 4 3 2 1 = 0.04 0.06 0.06 0.04, then never below the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, math.nan, 0.001]).tolist() == pytest.approx([0.5, math.nan, 0.002], nan_ok=True)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for step, index in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[index] * (len(p_values) - step) > level:
                break
            rejected.add(int(index))
        assert {index for index, value in enumerate(adjusted) if value <= level} == rejected


def test_differences_are_paired_by_seed():
    ours, other = [70, 72, 71, 74], [71.5, 73, 73, 76]
    table = _compare(_runs(busi={"ours": ours, "other": other}).assign(iou=math.nan))
    assert list(table.reset_index()) == list(COLUMNS) and list(table.index) == [("busi", "other")]
    row, oracle = table.iloc[0], scipy.stats.ttest_rel(other, ours)
    assert (row["difference"], row["seeds"], row["df"]) == pytest.approx((1.625, 4, 3))
    assert row["seed_sd"] == pytest.approx(np.std([1.5, 1, 2, 2], ddof=1))
    interval = oracle.confidence_interval()
    assert row[["p", "p_holm", "low", "high"]].tolist() == pytest.approx([oracle.pvalue] * 2 + [*interval])
    below = scipy.stats.ttest_1samp(np.subtract(other, ours), 2.0, alternative="less")
    equivalence = _compare(_runs(busi={"ours": ours, "other": other}), margin=2.0).iloc[0]
    assert equivalence["p_equivalence"] == pytest.approx(below.pvalue)
    assert row["outcome"] == "better" and equivalence["p_equivalence"] > 0.05


def test_without_shared_seeds_it_is_welchs_test():
    ours, other = [70, 72, 71], [71.5, 73, 76, 74, 75]
    scores = _runs(busi={"ours": ours, "other": other})
    scores.loc[scores["variant"] == "other", "seed"] += 2  # seed 3 is shared: one pair is not enough
    row, oracle = _compare(scores).iloc[0], scipy.stats.ttest_ind(other, ours, equal_var=False)
    interval = oracle.confidence_interval()
    assert row[["difference", "df", "p"]].tolist() == pytest.approx([2.9, oracle.df, oracle.pvalue])
    assert row[["low", "high"]].tolist() == pytest.approx([*interval]) and row["seeds"] == 3


def test_only_shared_seeds_count_where_there_are_more_of_one_variant():
    scores = _runs(busi={"ours": [70, 72, 71, 90, 95], "other": [71, 72.5, 71.2]})
    row = _compare(scores).iloc[0]
    assert (row["seeds"], row["difference"]) == (3, pytest.approx(1.7 / 3))
    single = _compare(scores[(scores["variant"] == "ours") | (scores["seed"] == 2)]).iloc[0]
    assert (single["seeds"], single["difference"]) == (1, pytest.approx(0.5))


def test_the_average_weighs_datasets_alike():
    gaps = {"bkai": [1.0, 2.0, 3.0], "busi": [0.0, 0.4, -0.1]}
    scores = _runs(**{name: {"ours": [70, 71, 72], "b": np.add([70, 71, 72], gap)} for name, gap in gaps.items()})
    row = _compare(scores).loc[("average", "b")]
    variances = np.array([np.var(gap, ddof=1) / 3 for gap in gaps.values()])
    assert row["difference"] == pytest.approx((2 + 0.1) / 2)
    assert row["se"] == pytest.approx(np.sqrt(variances.sum()) / 2)
    # Unbiased squares of the variances: v^2 * f / (f + 2) with f = 2.
    df = variances.sum() ** 2 / (variances**2 / 4).sum() - 2
    assert 2 < df < 4 and row["df"] == pytest.approx(df)
    assert row["p"] == pytest.approx(2 * scipy.stats.t.sf(row["difference"] / row["se"], df))
    same = _runs(bkai={"ours": [70, 71, 72], "b": [71, 73, 75]}, busi={"ours": [70, 71, 72], "b": [71, 73, 75]})
    assert _compare(same).loc[("average", "b"), "df"] == 4  # never more than the datasets have


def test_families_are_corrected_apart_and_order_is_kept():
    scores = _runs(
        kvasir_seg={"b": [70.1, 71.6, 72.2], "ours": [70, 71, 72], "a": [75, 76, 77.1]},
        bkai={"b": [70.4, 71.1, 72.2], "ours": [70, 71, 72], "a": [75, 76.4, 77]},
        busi={"a": [75, 76, 77.2], "ours": [70, 71, 72]},
    )
    table = _compare(scores)
    places = [("kvasir_seg", "b"), ("kvasir_seg", "a"), ("bkai", "b"), ("bkai", "a"), ("busi", "a"), ("average", "a")]
    assert list(table.index) == places  # b has no run on busi, so no average
    for test in ("p", "p_equivalence"):
        assert table[f"{test}_holm"].iloc[:5].tolist() == pytest.approx(holm(table[test].iloc[:5]))
    assert table["p_holm"].iloc[5] == table["p"].iloc[5] < 0.05
    assert table.loc[("average", "a"), "outcome"] == "better"
    assert "average" not in _compare(scores[scores["dataset"] == "busi"]).index


@pytest.mark.parametrize(
    ("other", "outcome"),
    [
        ([75, 77.1, 76.2], "better"),
        ([65, 67.1, 66.2], "worse"),
        ([70.02, 72.02, 71.03], "equivalent"),  # a difference, surely below the margin
        ([70.1, 71.9, 71.05], "equivalent"),
        ([73, 70, 71], "not resolved"),
    ],
)
def test_outcomes(other, outcome):
    row = _compare(_runs(busi={"ours": [70, 72, 71], "other": other})).iloc[0]
    assert row["outcome"] == outcome
    if other[1] == 72.02:
        assert row["p_holm"] < 0.05


@pytest.mark.parametrize(
    ("shift", "p", "p_equivalence", "outcome"),
    [(0, 1, 0, "equivalent"), (0.5, 0, 0, "equivalent"), (1, 0, 1, "better"), (-3, 0, 1, "worse")],
)
def test_the_same_difference_with_each_seed(shift, p, p_equivalence, outcome):
    ours = np.array([70.1, 71.3, 72.7])
    runs = {"ours": ours, "other": ours + shift}
    for row in _compare(_runs(busi=runs, bkai=runs)).itertuples():
        assert (row.p, row.p_equivalence, row.outcome, row.seeds_needed) == (p, p_equivalence, outcome, 2)
        assert (row.low, row.high) == pytest.approx((shift, shift))


def test_a_single_seed_resolves_nothing():
    scores = _runs(busi={"ours": [70], "b": [79]}, bkai={"ours": [70, 71], "b": [70, 71]})
    table = _compare(scores)
    for place in (("busi", "b"), ("average", "b")):
        assert table.loc[place, "outcome"] == "not resolved"
        assert table.loc[place, ["low", "high", "p", "p_holm", "p_equivalence", "seeds_needed"]].isna().all()
    assert table["difference"].tolist() == pytest.approx([9, 0, 4.5])
    # What was not tested does not count in the family.
    assert table.loc[("bkai", "b"), "p_equivalence_holm"] == table.loc[("bkai", "b"), "p_equivalence"]


def test_a_case_counts_once():
    scores = _scores({("busi", "ours", 1): [60, 80], ("busi", "b", 1): [50, 90]})
    twice = pd.concat([scores, scores[scores["case"] == "c1"].assign(dsc=1.0)])
    # c1 counts as (80 + 100) / 2 and (90 + 100) / 2.
    assert _compare(twice).iloc[0]["difference"] == pytest.approx((50 + 95 - 60 - 90) / 2)


def test_broken_scores_are_refused():
    scores = _runs(busi={"ours": [70, 71], "b": [70, 71]}, bkai={"b": [70]})
    with pytest.raises(PipelineError, match=r"bkai: the reference 'ours' has no run, but b have"):
        compare_methods(scores, "ours")
    with pytest.raises(PipelineError, match="busi: the reference 'x' has no run"):
        compare_methods(scores, "x")
    with pytest.raises(PipelineError, match="busi/b/seed2: no score for case 'c1', which other runs have"):
        compare_methods(scores.drop(index=7), "b")
    with pytest.raises(PipelineError, match="busi/ours/seed1: DSC of case 'c0' is nan"):
        compare_methods(scores.assign(dsc=scores["dsc"].where(scores.index > 0)), "b")
    with pytest.raises(PipelineError, match="column case is missing"):
        compare_methods(scores.drop(columns="case"), "b")
    with pytest.raises(PipelineError, match="no row"):
        compare_methods(scores[:0], "b")


@pytest.mark.parametrize(("sds", "level"), [([1.0], 0.05), ([2.0, 0.5, 1.0], 0.05), ([1.5] * 5, 0.05 / 7)])
def test_seeds_needed_give_the_power_that_they_promise(sds, level):
    """Drawn differences of two equal methods: 80% are shown to be equivalent with that many seeds, not with fewer."""
    generator = np.random.default_rng(5)
    needed = int(seeds_needed(sds, 1.0, level))

    def power(seeds: int) -> float:
        draws = generator.normal(size=(20_000, len(sds), seeds)) * np.array(sds)[:, None]
        variances = draws.var(axis=2, ddof=1) / seeds
        df = (seeds - 1) * np.sum(np.square(sds)) ** 2 / np.sum(np.power(sds, 4))
        limit = 1.0 - scipy.stats.t.ppf(1 - level, df) * np.sqrt(variances.sum(axis=1)) / len(sds)
        return float(np.mean(np.abs(draws.mean(axis=(1, 2))) < limit))

    assert power(needed) > 0.78 and power(needed - 1) < 0.81


def test_seeds_needed_at_the_ends():
    assert (seeds_needed([0.0, 0.0]), seeds_needed([0.01]), seeds_needed([1000.0])) == (2, 2, math.inf)
    assert math.isnan(seeds_needed([1.0, math.nan]))


def test_mixed_model_is_remls():
    generator = np.random.default_rng(3)
    cases = generator.normal(0, 8, 30)
    runs = {
        ("busi", variant, seed): 80 + gap + generator.normal(0, 2) + cases + generator.normal(0, 4, 30)
        for variant, gap, seeds in (("ours", 0, 6), ("b", 2, 3), ("c", -1, 3))
        for seed in range(seeds)
    }
    scores = _scores(runs)
    data = scores.assign(run=scores["variant"] + scores["seed"].astype(str), dsc=100 * scores["dsc"], one=1)
    model = "dsc ~ C(variant, Treatment('ours'))"
    parts = {"case": "0 + C(case)", "run": "0 + C(run)"}
    fit = statsmodels.mixedlm(model, data, groups="one", vc_formula=parts).fit(reml=True)
    assert fit.converged and fit.vcomp.min() > 0
    table = mixed_model(scores, "ours")
    assert table["variant"].tolist() == ["b", "c"]
    for row in table.itertuples():
        name = f"C(variant, Treatment('ours'))[T.{row.variant}]"
        assert row.mixed_difference == pytest.approx(fit.params[name], abs=1e-3)
        half = scipy.stats.t.ppf(0.975, 12 - 3) * fit.bse[name]
        assert row.mixed_high - row.mixed_low == pytest.approx(2 * half, rel=0.01)
        assert row.mixed_p == pytest.approx(2 * scipy.stats.t.sf(abs(fit.tvalues[name]), 9), rel=0.02)


def test_mixed_model_without_spread_or_seeds():
    alone = mixed_model(_runs(busi={"ours": [70], "b": [71]}), "ours").iloc[0]
    assert alone["mixed_difference"] == pytest.approx(1) and math.isnan(alone["mixed_p"])
    constant = mixed_model(_runs(busi={"ours": [70, 70], "b": [71, 71]}), "ours").iloc[0]
    assert constant[["mixed_low", "mixed_high", "mixed_p"]].tolist() == pytest.approx([1, 1, 0])


# Simulated studies: how often the comparison errs


def _simulated(generator, cases: int, seeds: int, seed_sds: np.ndarray, gap: float = 0.0) -> pd.DataFrame:
    """Two methods on one dataset for each of ``seed_sds``: DSC = method + case + seed of a method + residual, points.

    Cases are as hard for both methods (SD 8); what is left has an SD of 8 too.
    """
    datasets = len(seed_sds)
    shape = (datasets, 2, seeds, cases)
    points = 70 + generator.normal(0, 8, (datasets, 1, 1, cases)) + generator.normal(0, 8, shape)
    points += generator.normal(size=(datasets, 2, seeds, 1)) * np.reshape(seed_sds, (-1, 1, 1, 1))
    points[:, 1] += gap
    dataset, variant, seed, case = (index.ravel() for index in np.indices(shape))
    return pd.DataFrame(
        {"dataset": dataset, "variant": variant, "seed": seed, "case": case, "dsc": points.ravel() / 100}
    )


CONDITIONS = [(seed_sd, cases) for seed_sd in (0.3, 0.6, 1.0) for cases in (61, 100, 379)]


def _shares(studies: list[pd.DataFrame]) -> tuple[float, float]:
    """Of comparisons of a method with itself: the share of p < 0.05, and of intervals that hold the true zero."""
    rows = pd.concat(studies)
    return float((rows["p"] < 0.05).mean()), float(((rows["low"] <= 0) & (rows["high"] >= 0)).mean())


@pytest.mark.slow
def test_a_method_against_itself():
    """With 3 seeds on five datasets: errors and coverage are nominal, on each dataset and for the average."""
    generator = np.random.default_rng(13)
    averages = []
    for seed_sd, cases in CONDITIONS:
        studies = [compare_methods(_simulated(generator, cases, 3, np.full(5, seed_sd)), 0) for _ in range(200)]
        by_dataset = pd.concat([study[study["dataset"] != "average"] for study in studies])
        averages.append(pd.concat([study[study["dataset"] == "average"] for study in studies]))
        error, coverage = _shares([by_dataset])
        assert 0.03 <= error <= 0.07 and 0.93 <= coverage <= 0.97, (seed_sd, cases)
    for at in range(0, 9, 3):  # by spread between seeds
        error, coverage = _shares(averages[at : at + 3])
        assert 0.03 <= error <= 0.07 and 0.93 <= coverage <= 0.97, CONDITIONS[at]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gap", "studies", "found", "equivalent"),
    [(0, 300, None, (0.93, 1)), (0.5, 300, 0.40, None), (1, 1000, 0.95, (0, 0.06))],
)
def test_power_and_equivalence_of_the_average(gap, studies, found, equivalent):
    """With 10 seeds on five datasets whose spreads between seeds differ."""
    generator = np.random.default_rng(14)
    spreads = np.linspace(0.25, 1.5, 5)
    tables = [compare_methods(_simulated(generator, 100, 10, spreads, gap), 0) for _ in range(studies)]
    rows = pd.concat([table[table["dataset"] == "average"] for table in tables])
    if found:
        assert (rows["p"] < 0.05).mean() >= found
    if equivalent:
        assert equivalent[0] <= (rows["outcome"] == "equivalent").mean() <= equivalent[1]
