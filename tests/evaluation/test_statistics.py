"""Bootstrap, tests, effect sizes and the comparison table."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from evaluation_support import call, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.bootstrap import interval, resampled_means
from pipeline.evaluation.pairing import Paired, pair_cases
from pipeline.evaluation.statistics import (
    AVERAGE,
    COLUMNS,
    average_ranks,
    compare,
    friedman_p,
    holm,
    paired_test,
    significance,
    smallest_p,
)
from pipeline.reporting.tables import comparison
from pipeline.reporting.tables.remarks import limits
from pipeline.runtime.errors import PipelineError


def _paired(seeds: int = 3, **scores: dict[str, list[float]]) -> dict[str, Paired]:
    return {name: Paired(pd.DataFrame(values), dict.fromkeys(values, seeds)) for name, values in scores.items()}


# Bootstrap


def test_bootstrap_of_two_cases_is_the_binomial_distribution():
    # Means of two draws from (0, 1): 0, 0.5 and 1 with probabilities 1/4, 1/2 and 1/4.
    draws = resampled_means(np.array([[0.0], [1.0]]), 40_000, "busi")[:, 0]
    values, counts = np.unique(draws, return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert counts / 40_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.01)
    assert interval(draws) == (0, 1)


def test_interval_is_the_percentiles():
    low, high = interval(np.arange(1001.0)[:, None] * [1, 10])
    assert low.tolist() == pytest.approx([25, 250])
    assert high.tolist() == pytest.approx([975, 9750])


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    # 400 data sets of 80 cases; the mean of the beta distribution (8, 2) is 0.8.
    generator = np.random.default_rng(43)
    inside = 0
    for index in range(400):
        low, high = interval(resampled_means(generator.beta(8, 2, size=(80, 1)), 1000, str(index)))
        inside += bool(low[0] <= 0.8 <= high[0])
    assert 0.92 <= inside / 400 <= 0.97


def test_bootstrap_agrees_with_scipy():
    scores = np.random.default_rng(3).beta(8, 2, size=(60, 1))
    theirs = scipy.stats.bootstrap(
        (scores[:, 0],), np.mean, n_resamples=40_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert np.concatenate(interval(resampled_means(scores, 40_000, "x"))) == pytest.approx([*theirs], abs=1e-3)


def test_draws_repeat_and_are_paired_within_and_independent_between_datasets():
    scores = np.random.default_rng(0).random((50, 1))
    both = resampled_means(np.hstack([scores, scores + 0.25]), 500, "bkai")
    np.testing.assert_array_equal(both, resampled_means(np.hstack([scores, scores + 0.25]), 500, "bkai"))
    np.testing.assert_allclose(both[:, 1] - both[:, 0], 0.25)  # the same cases: a constant gap has no spread
    other = resampled_means(scores, 500, "kvasir_seg")
    assert abs(np.corrcoef(both[:, 0], other[:, 0])[0, 1]) < 0.15


# Tests and effect sizes


def test_holm_by_hand():
    # Sorted 0.01 0.02 0.03 0.04 times 4 3 2 1 = 0.04 0.06 0.06 0.04, then never below the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6, 0.001]) == pytest.approx([1.0, 1.0, 0.003])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


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


def test_paired_test_by_hand():
    # Ranks of 1 2 3 4 5: the only negative difference has rank 2, so W- = 2 and W+ = 13. Of the 32 sign patterns 3 have
    # a smaller sum of at most 2 on one side (0, 1, 2): p = 2 * 3 / 32.
    result = paired_test(np.array([1.0, -2.0, 3.0, 4.0, 5.0]))
    assert result.p == pytest.approx(0.1875)
    assert result.rank_biserial == pytest.approx((13 - 2) / 15)
    assert result.cohens_dz == pytest.approx(2.2 / math.sqrt(7.7))
    one_sided = paired_test(np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert (one_sided.p, one_sided.rank_biserial) == (0.0625, 1.0)


def test_paired_test_without_differences():
    nothing = paired_test(np.zeros(10))
    assert (nothing.p, nothing.rank_biserial) == (1.0, 0.0)
    assert math.isnan(nothing.cohens_dz)
    rounding = paired_test(np.array([1e-17, -1e-16, 1e-15]))  # means over seeds in another order
    assert (rounding.p, rounding.rank_biserial) == (1.0, 0.0)
    single = paired_test(np.array([0.1]))
    assert (single.p, single.rank_biserial) == (1.0, 1.0)
    assert math.isnan(single.cohens_dz)


@pytest.mark.parametrize("pairs", [7, 30, 61, 379])
def test_paired_test_is_scipys_wilcoxon(pairs):
    generator = np.random.default_rng(pairs)
    first, second = generator.beta(8, 2, size=(2, pairs))
    result = paired_test(first - second)
    theirs = scipy.stats.wilcoxon(first, second)
    assert result.p == pytest.approx(theirs.pvalue, rel=1e-9)
    # scipy's statistic is the smaller rank sum; the two of them add up to n (n + 1) / 2.
    assert abs(result.rank_biserial) == pytest.approx(1 - 2 * theirs.statistic / (pairs * (pairs + 1) / 2))
    opposite = paired_test(second - first)
    assert (opposite.p, opposite.rank_biserial) == (pytest.approx(result.p), pytest.approx(-result.rank_biserial))
    assert opposite.cohens_dz == pytest.approx(-result.cohens_dz)
    assert result.p >= smallest_p(pairs)


def test_wilcoxon_keeps_its_level():
    # Where nothing differs, about 5% of the tests are below 0.05 (exact distribution: never more on average).
    generator = np.random.default_rng(44)
    below = sum(paired_test(generator.normal(size=20)).p < 0.05 for _ in range(500))
    assert 0.02 <= below / 500 <= 0.075


def test_ranks_across_datasets():
    means = np.array([[0.9, 0.8, 0.7], [0.6, 0.7, 0.5], [0.5, 0.5, 0.1]])
    # Ranks: (1, 2, 3), (2, 1, 3), (1.5, 1.5, 3).
    assert average_ranks(means).tolist() == pytest.approx([1.5, 1.5, 3])
    assert friedman_p(means) == pytest.approx(scipy.stats.friedmanchisquare(*means.T).pvalue)
    assert friedman_p(means[:, :2]) is None
    assert friedman_p(means[:2]) is None
    assert friedman_p(np.full((4, 3), 0.5)) is None


def test_smallest_p():
    assert [smallest_p(pairs) for pairs in (0, 1, 5, 6)] == [1.0, 1.0, 0.0625, 0.03125]
    assert scipy.stats.wilcoxon(np.arange(1, 7)).pvalue == smallest_p(6)


# The comparison


def test_comparison_of_literal_scores():
    table = compare(
        _paired(
            bkai={"telescopic": [0.8, 0.6, 0.7, 0.9, 0.5], "lora": [0.7, 0.5, 0.6, 0.8, 0.4]},
            busi={"telescopic": [0.2, 0.4], "lora": [0.6, 0.4]},
        ),
        "telescopic",
        500,
    )
    assert list(table.columns) == COLUMNS
    assert [tuple(row) for row in table[["dataset", "variant"]].to_numpy()] == [
        (dataset, variant) for dataset in ("bkai", "busi", AVERAGE) for variant in ("telescopic", "lora")
    ]
    rows = table.set_index(["dataset", "variant"])
    lora = rows.loc[("bkai", "lora")]
    assert (lora["cases"], lora["seeds"], lora["reference"]) == (5, 3, "telescopic")
    assert lora["mean"] == pytest.approx(60)
    # Each case differs by ten points: no resample has another mean difference.
    assert list(lora[["difference", "difference_low", "difference_high"]]) == pytest.approx([-10, -10, -10])
    assert 40 < lora["mean_low"] < 60 < lora["mean_high"] < 80
    # Exact test of five equal signs: 1/16. With the other dataset's p = 1 the family has two: 2/16.
    assert (lora["p"], lora["p_holm"]) == pytest.approx((0.0625, 0.125))
    assert lora["rank_biserial"] == -1
    busi = rows.loc[("busi", "lora")]
    assert (busi["difference"], busi["p"], busi["p_holm"]) == pytest.approx((20, 1, 1))
    average = rows.loc[(AVERAGE, "lora")]
    assert (average["mean"], average["difference"], average["cases"]) == pytest.approx((55, 5, 7))
    # Two datasets, one won by each: ranks average to 1.5, and the family of the average has one comparison.
    assert (average["average_rank"], average["p"], average["p_holm"]) == pytest.approx((1.5, 1, 1))
    own = rows.loc[("bkai", "telescopic")]
    assert own["mean"] == pytest.approx(70)
    assert own[["difference", "difference_low", "p", "p_holm", "rank_biserial", "cohens_dz"]].isna().all()


def test_the_average_weighs_datasets_not_cases():
    table = compare(
        _paired(
            isic16={"telescopic": [0.9] * 379, "lora": [0.8] * 379}, busi={"telescopic": [0.5] * 4, "lora": [0.7] * 4}
        ),
        "telescopic",
        200,
    ).set_index(["dataset", "variant"])
    assert table.loc[(AVERAGE, "telescopic"), "mean"] == pytest.approx(70)
    assert table.loc[(AVERAGE, "lora"), "difference"] == pytest.approx(5)


def test_a_variant_without_all_datasets_has_no_average():
    paired = _paired(
        bkai={"telescopic": [0.8, 0.6], "lora": [0.7, 0.5]},
        busi={"telescopic": [0.2, 0.4], "uniform": [0.6, 0.4], "lora": [0.1, 0.1]},
    )
    table = compare(paired, "telescopic", 200)
    assert list(table[table["dataset"] == AVERAGE]["variant"]) == ["telescopic", "lora"]
    one = compare({"bkai": paired["bkai"]}, "telescopic", 200)
    assert AVERAGE not in set(one["dataset"])
    with pytest.raises(PipelineError, match="bkai: the reference 'uniform' has no run"):
        compare(paired, "uniform", 200)


def test_the_tests_alone_are_those_of_the_comparison():
    generator = np.random.default_rng(8)
    scores = {name: {variant: list(generator.random(9)) for variant in "abc"} for name in ("busi", "bkai", "isic16")}
    paired = _paired(**scores)
    whole, alone = compare(paired, "b", 50), significance(paired, "b")
    columns = ["dataset", "variant", "reference", "p", "p_holm"]
    expected = whole.loc[whole["variant"] != "b", columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected, check_exact=True)
    assert len(alone) == 8 and alone["p_holm"].nunique() > 2


def test_scores_are_averaged_over_seeds_and_prompts_then_paired_by_case(tmp_path):
    write = lambda *arguments, **more: write_run(tmp_path, "busi", *arguments, **more)  # noqa: E731
    runs = [
        write("telescopic", 41, [0.2, 0.8], cases=["a", "b"]),
        write("telescopic", 42, [1.0, 0.4], cases=["b", "a"]),  # another order of cases
        write("lora", 41, [0.5, 0.7, 0.1], cases=["b", "a", "a"]),  # a case under two prompts
    ]
    scores, seeds = pair_cases(runs)["busi"]
    assert seeds == {"telescopic": 2, "lora": 1}
    assert scores["telescopic"].to_dict() == pytest.approx({"a": 0.3, "b": 0.9})
    assert scores["lora"].to_dict() == pytest.approx({"a": 0.4, "b": 0.5})


def test_runs_on_different_cases_are_not_paired(tmp_path):
    runs = [
        write_run(tmp_path, "busi", "telescopic", 41, [0.2, 0.8], cases=["a", "b"]),
        write_run(tmp_path, "busi", "lora", 41, [0.2, 0.8], cases=["a", "c"]),
    ]
    with pytest.raises(PipelineError, match=r"seed41 and busi/telescopic/seed41 .* e\.g\. b only in busi/tele"):
        pair_cases(runs)


# What stands below the table


def _limits(datasets: dict[str, int], seeds: int, variants: int = 3) -> str:
    scores = {name: {f"v{index}": [0.5] * cases for index in range(variants)} for name, cases in datasets.items()}
    return " ".join(limits(_paired(seeds, **scores), "V0"))


def test_what_cannot_be_concluded_with_five_datasets_and_three_seeds():
    text = _limits({"kvasir_seg": 100, "clinicdb": 61, "bkai": 100, "isic16": 379, "busi": 78}, 3, variants=7)
    assert "With 5 datasets no test across datasets can give p below 0.0625" in text
    # The chi-squared interval with 2 degrees of freedom and t_0.975(2) / sqrt(3) = 4.303 / 1.732.
    assert "from 0.52 to 6.3 times the one seen" in text
    assert "±2.48 of it only" in text
    assert "29 videos" in text
    assert "does not show that a variant equals V0" in text
    assert "no comparison can reach" not in text


def test_what_cannot_be_concluded_follows_the_numbers():
    text = _limits({"bkai": 6, "busi": 24}, 1)
    assert "With 2 datasets no test across datasets can give p below 0.5," in text
    # 4 comparisons: 4 * 2/64 is not below 0.05 on BKAI, 4 * 2/2^24 is on BUSI.
    assert "On BKAI (6 cases) no comparison can reach p (Holm) below 0.05 alone" in text
    assert "the smallest p is 0.031, times 4 comparisons" in text
    assert "With one seed the spread between trainings is unknown" in text
    assert "29 videos" not in text
    assert "One dataset: nothing can be concluded about other datasets." in _limits({"busi": 50}, 2)
    # Six datasets are enough for a p below 0.05.
    six = _limits({f"d{index}": 50 for index in range(6)}, 2)
    assert "With 6 datasets the smallest p that a test across datasets can give is 0.03125" in six


def _study(tmp_path) -> list:
    generator = np.random.default_rng(5)
    runs = []
    for dataset, cases in (("bkai", 30), ("busi", 20), ("isic16", 25)):
        base = generator.uniform(0.4, 0.8, cases)
        for variant, gain in (("lora", -0.1), ("telescopic", 0.0), ("zero_shot", -0.3)):
            for seed in (41, 42):
                scores = base + gain + generator.uniform(-0.02, 0.02, cases)
                runs.append(write_run(tmp_path, dataset, variant, seed, scores))
    return runs


def test_command_line(tmp_path, monkeypatch):
    folders = json.dumps([str(run.folder) for run in _study(tmp_path / "results")])
    outputs = {kind: tmp_path / f"comparison.{kind}" for kind in ("csv", "md", "tex")}
    arguments = ["--runs", folders, "--labels", '{"telescopic": "Telescopic & co"}', "--bootstrap", "300"]
    arguments += ["--note", "Demo: not comparable."]
    arguments += [text for kind, path in outputs.items() for text in (f"--output-{kind}", str(path))]
    call(monkeypatch, comparison.main, *arguments, "--reference", "telescopic")
    table = pd.read_csv(outputs["csv"])
    assert list(table.columns) == COLUMNS
    assert len(table) == 12
    zero_shot = table[(table["dataset"] == "bkai") & (table["variant"] == "zero_shot")].iloc[0]
    assert zero_shot["difference"] == pytest.approx(-30, abs=1)
    assert zero_shot["p_holm"] < 0.001
    printed = outputs["md"].read_text()
    assert "> Demo: not comparable." in printed
    assert "| lora | BKAI | 30 |" in printed
    assert "What cannot be concluded: With 3 datasets no test across datasets can give p below 0.25" in printed
    assert "corrected for the 6 comparisons within datasets" in printed
    assert "Telescopic & co 1.00, lora 2.00, zero_shot 3.00" in printed
    assert "Made from 18 runs (3 datasets, 3 variants, 2 seeds)" in printed
    latex = outputs["tex"].read_text()
    assert r"Telescopic \& co" in latex
    assert latex.count(r"\midrule") == 4  # below the header and between the four blocks
    before = {kind: path.read_bytes() for kind, path in outputs.items()}
    call(monkeypatch, comparison.main, *arguments, "--reference", "telescopic")
    assert before == {kind: path.read_bytes() for kind, path in outputs.items()}
    with pytest.raises(PipelineError, match="--reference: no run of 'vlsm_dense' is given"):
        call(monkeypatch, comparison.main, *arguments, "--reference", "vlsm_dense")
