"""Reported against measured DSC: the verdicts, what they can tell apart, and the command line."""

import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation_support import call, write_dsc_of, write_run

from pipeline.evaluation import judge_reproduction, reproduction
from pipeline.evaluation.readers import read_reported
from pipeline.runtime.errors import PipelineError

ROOT = Path(__file__).parents[2]
REPORTED = read_reported(ROOT / "workflow/resources/reported.csv")
PAPER = {"kvasir_seg": 89.79, "clinicdb": 91.67, "bkai": 88.38, "isic16": 92.18, "busi": 65.90}
FOUR = {dataset: value for dataset, value in PAPER.items() if dataset != "busi"}
# Shifts of three seeds: mean 0, standard deviation 0.5.
SEEDS = {41: -0.5, 42: 0.0, 43: 0.5}


def _scores(points: dict[str, float], seeds=SEEDS, variant: str = "telescopic", **more: float) -> pd.DataFrame:
    """Two cases a run, whose mean is the dataset's points and the seed's shift."""
    rows = [
        (dataset, variant, seed, case, (value + shift + offset) / 100)
        for dataset, value in points.items()
        for seed, shift in seeds.items()
        for case, offset in (("a", -3), ("b", 3))
    ]
    return pd.DataFrame(rows, columns=["dataset", "variant", "seed", "case", "dsc"]).assign(**more)


def _judge(*scores: pd.DataFrame, reported=REPORTED, **options) -> dict[tuple[str, str, str], pd.Series]:
    table = judge_reproduction(pd.concat(scores), reported, **options)
    return {(row["variant"], row["dataset"], row["source"]): row for _, row in table.iterrows()}


def _paper(*scores: pd.DataFrame, **options) -> dict[str, pd.Series]:
    """The rows of the paper's own numbers, by dataset."""
    judged = _judge(*scores, **options)
    return {dataset: judged["telescopic", dataset, "paper"] for dataset in (*PAPER, "average", "overall")}


# Single rows


def test_the_papers_own_numbers_reproduce():
    rows = _paper(_scores(PAPER))
    # The paper's average is that of its five values: 427.92 / 5 = 85.584.
    for dataset, value in (PAPER | {"average": 85.584}).items():
        row = rows[dataset]
        assert (row["value"], row["difference"]) == pytest.approx((value, value - row["reported"]))
        assert row["reported"] == pytest.approx(value, abs=0.005)
        assert (row["seeds"], row["verdict"], row["reason"]) == (3, "reproduces", "")
    assert rows["overall"]["verdict"] == "reproduces"


def test_the_tolerance_is_that_of_two_means_of_trainings():
    """Five datasets of three seeds leave ten degrees of freedom: t(0.975) = 2.2281."""
    rows = _paper(_scores(PAPER))
    assert rows["busi"]["seed_sd"] == pytest.approx(0.5)
    assert rows["busi"]["tolerance"] == pytest.approx(2.2281 * 0.5 * math.sqrt(1 / 3 + 1), abs=1e-4)
    assert rows["average"]["tolerance"] == pytest.approx(rows["busi"]["tolerance"] / math.sqrt(5))
    three = _paper(_scores(PAPER), n_theirs=3)["busi"]["tolerance"]
    assert three == pytest.approx(2.2281 * 0.5 * math.sqrt(2 / 3), abs=1e-4)
    # More seeds on one dataset, at the same standard deviation: 20 runs on five datasets.
    eight = {50 + index: 0.5 * math.sqrt(7 / 8) * (-1) ** index for index in range(8)}
    rows = _paper(_scores(FOUR), _scores({"busi": 65.9}, eight))
    assert rows["busi"]["tolerance"] == pytest.approx(2.1314 * 0.5 * math.sqrt(1 / 8 + 1), abs=1e-4)
    assert rows["average"]["tolerance"] == pytest.approx(2.1314 * 0.5 * math.sqrt(4 * 4 / 3 + 9 / 8) / 5, abs=1e-4)
    assert (rows["busi"]["seeds"], rows["average"]["seeds"]) == (8, 3)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_difference_counts_beyond_the_tolerance(sign):
    tolerance = _paper(_scores(PAPER))["busi"]["tolerance"]
    for shift, verdict in ((tolerance - 0.001, "reproduces"), (tolerance + 0.001, "differs")):
        row = _paper(_scores(PAPER | {"busi": PAPER["busi"] + sign * shift}))["busi"]
        assert row["verdict"] == verdict
        assert row["p"] == pytest.approx(0.05, abs=1e-3)


def test_the_papers_prompt_draws_widen_the_tolerance():
    """Two cases whose DSC has an SD of 1 point over prompts: the mean over cases varies by 1/2 squared points."""
    plain, drawn = (_paper(_scores(PAPER, **more)) for more in ({}, {"dsc_prompt_sd": 0.01}))
    trained = 0.25 * 4 / 3
    error = math.sqrt(trained + 0.5)
    freedom = 10 * (error**2 / trained) ** 2  # 62.5, with t(0.975) = 1.9987
    assert freedom == pytest.approx(62.5)
    assert drawn["busi"]["tolerance"] == pytest.approx(1.9987 * error, abs=1e-3)
    assert drawn["average"]["tolerance"] == pytest.approx(1.9987 * error / math.sqrt(5), abs=1e-3)
    assert _paper(_scores(PAPER, dsc_prompt_sd=math.nan))["busi"]["tolerance"] == plain["busi"]["tolerance"]
    # What is not trained has no spread over seeds, and then only the draws count: 1.96 standard errors.
    still = _paper(_scores(PAPER, dict.fromkeys(SEEDS, 0.0), dsc_prompt_sd=0.01))["busi"]
    assert still["tolerance"] == pytest.approx(1.96 * math.sqrt(0.5), abs=1e-3)


def test_without_any_spread_only_rounding_is_tolerated():
    still = dict.fromkeys(SEEDS, 0.0)
    rows = _paper(_scores(PAPER, still))
    assert rows["average"]["difference"] == pytest.approx(0.004)
    assert {row["verdict"] for row in rows.values()} == {"reproduces"}
    assert _paper(_scores(PAPER | {"busi": 65.91}, still))["busi"]["verdict"] == "differs"


def test_a_single_seed_is_inconclusive():
    rows = _paper(_scores(PAPER, {41: 0.0}))
    assert {row["verdict"] for row in rows.values()} == {"inconclusive"}
    assert math.isnan(rows["busi"]["tolerance"]) and "one seed" in rows["busi"]["reason"]


def test_too_little_resolution_is_inconclusive():
    wide = {seed: 2 * shift for seed, shift in SEEDS.items()}
    rows = _paper(_scores(PAPER, wide))
    assert rows["average"]["tolerance"] > 0.9 and rows["busi"]["tolerance"] > 1.8
    assert {row["verdict"] for row in rows.values()} == {"inconclusive"}
    assert rows["average"]["reason"] == "its tolerance, 1.15, exceeds 0.9 points"
    rows = _paper(_scores(PAPER, wide), resolution=1.2)
    assert (rows["average"]["verdict"], rows["busi"]["verdict"]) == ("reproduces", "inconclusive")
    assert rows["overall"]["verdict"] == "reproduces"


def test_what_is_as_near_to_another_method_is_inconclusive():
    wide = {seed: 1.5 * shift for seed, shift in SEEDS.items()}
    for gap, verdict in ((0.67, "reproduces"), (0.68, "inconclusive")):
        rows = _paper(_scores({dataset: value - gap for dataset, value in PAPER.items()}, wide))
        assert rows["average"]["tolerance"] == pytest.approx(0.863, abs=1e-3)
        assert rows["average"]["verdict"] == rows["overall"]["verdict"] == verdict
    assert rows["average"]["reason"] == "within its tolerance, but off by more than 0.675 points"


# Methods


def test_a_method_differs_after_holms_correction():
    row = _paper(_scores(PAPER | {"busi": PAPER["busi"] - 1.4}))
    assert (row["busi"]["verdict"], row["overall"]["verdict"]) == ("differs", "reproduces")
    assert row["busi"]["p"] < 0.05 < row["busi"]["p_holm"] == pytest.approx(6 * row["busi"]["p"])
    row = _paper(_scores(PAPER | {"busi": PAPER["busi"] - 3}))
    assert row["overall"]["verdict"] == "differs"
    assert row["overall"]["p_holm"] == row["busi"]["p_holm"] < 0.05


def test_an_average_that_differs_by_itself_does_not_reproduce():
    rows = _paper(_scores({dataset: value - 0.7 for dataset, value in PAPER.items()}))
    assert (rows["average"]["verdict"], rows["busi"]["verdict"]) == ("differs", "reproduces")
    assert rows["overall"]["verdict"] == "inconclusive"
    assert rows["overall"]["reason"] == "average: beyond its tolerance, though not after Holm's correction"


def test_a_method_with_missing_rows_never_reproduces():
    rows = _paper(_scores(FOUR))
    assert (rows["busi"]["verdict"], rows["average"]["verdict"], rows["bkai"]["verdict"]) == (
        *("not run", "not run"),
        "reproduces",
    )
    assert (rows["overall"]["verdict"], rows["overall"]["reason"]) == ("inconclusive", "not run: average, busi")
    rows = _paper(_scores(FOUR | {"bkai": 70.0}))
    assert rows["overall"]["verdict"] == "differs"


def test_without_runs_nothing_is_judged():
    rows = _judge(_scores({}))
    assert {row["verdict"] for row in rows.values()} == {"not run"}
    assert all(math.isnan(row["value"]) and math.isnan(row["tolerance"]) for row in rows.values())
    # Other metrics are left out, each reported end-to-end row is compared with two variants; each method has a row
    # over all, and each source of five datasets without an average has a row of their mean: two of end-to-end,
    # and of CRIS, SAN and both VLSM-Adapters.
    dsc = REPORTED[REPORTED["metric"] == "dsc"]
    twice = dsc[dsc["method"] == "end_to_end"]
    sources = len(dsc.groupby(["method", "source"])) + len(twice.groupby("source"))
    means = sum(dataset == "average" and source != "paper" for _, dataset, source in rows)
    assert means == 6 + 2
    assert len(rows) == len(dsc) + len(twice) + sources + means


def test_a_sixth_dataset_takes_no_part():
    five = _judge(_scores(PAPER))
    six = _judge(_scores(PAPER), _scores({"etis": 10.0}, {41: -30.0, 42: 30.0}))
    assert all(five[key].equals(six[key]) for key in five)


def test_reported_end_to_end_is_compared_with_what_its_code_trains():
    published = {"kvasir_seg": 87.69, "clinicdb": 88.58, "bkai": 85.59, "isic16": 91.88, "busi": 62.91}
    rows = _judge(_scores(published, variant="decoder_only"))
    for dataset in (*published, "average", "overall"):
        assert rows["decoder_only", dataset, "vlsm-adapter"]["verdict"] == "reproduces"
    assert rows["decoder_only", "average", "paper"]["verdict"] == "reproduces"
    assert rows["decoder_only", "busi", "medvlsm"]["difference"] == pytest.approx(62.91 - 64.32)
    assert rows["end_to_end", "busi", "vlsm-adapter"]["verdict"] == "not run"


def test_reported_numbers_without_metric_and_source():
    own = pd.DataFrame({"method": "telescopic", "dataset": list(PAPER), "value": list(PAPER.values())})
    rows = _judge(_scores(PAPER), reported=own)
    assert [dataset for _, dataset, _ in rows] == [*PAPER, "average", "overall"]
    assert rows["telescopic", "overall", ""]["verdict"] == "reproduces"
    one = judge_reproduction(_scores({"busi": 65.9}, {1: -0.1, 2: 0.1, 3: 0}), own[own["dataset"] == "busi"])
    assert list(one["dataset"]) == ["busi", "overall"]
    assert list(one["verdict"]) == ["reproduces", "reproduces"]


# What the check can tell apart, simulated: three seeds with a standard deviation of 0.5

DRAWS = 200


def _others() -> dict[str, dict[str, float]]:
    """The reported numbers of each other method and source; an average alone is spread as the paper's own rows are."""
    own, found = sum(PAPER.values()) / 5, {}
    table = REPORTED[(REPORTED["metric"] == "dsc") & (REPORTED["method"] != "telescopic")]
    for (method, source), rows in table.groupby(["method", "source"]):
        values = dict(zip(rows["dataset"], rows["value"], strict=True))
        shifted = {dataset: value + values.get("average", 0) - own for dataset, value in PAPER.items()}
        found[f"{method} ({source})"] = values if set(PAPER) <= set(values) else shifted
    return found


def _verdicts(points: dict[str, float], seed: int, theirs: float = 0.0) -> Counter:
    """How often ``points``, trained three times, get each verdict as the paper's method."""
    generator = np.random.default_rng(seed)
    own = REPORTED[(REPORTED["method"] == "telescopic") & (REPORTED["metric"] == "dsc")]
    rows, reported = [], []
    for draw in range(DRAWS):
        reported.append(own.assign(method=f"draw{draw}"))
        for dataset, value in points.items():
            means = value + theirs * generator.normal() + generator.normal(0, 0.5, 3)
            rows += [(dataset, f"draw{draw}", 41 + index, "a", mean / 100) for index, mean in enumerate(means)]
    scores = pd.DataFrame(rows, columns=["dataset", "variant", "seed", "case", "dsc"])
    table = judge_reproduction(scores, pd.concat(reported))
    return Counter(table.loc[table["dataset"] == "overall", "verdict"])


@pytest.mark.parametrize("name", sorted(_others()))
def test_another_methods_numbers_never_reproduce(name):
    counts = _verdicts(_others()[name], seed=1)
    assert counts["reproduces"] == 0
    assert counts["differs"] >= 0.95 * DRAWS


def test_all_other_methods_are_controls():
    names = set(_others())
    assert len(names) == 13
    assert {"end_to_end (medvlsm)", "vlsm_dense (paper)", "vlsm_dense (vlsm-adapter)", "zero_shot (paper)"} <= names


def test_the_methods_own_numbers_reproduce():
    assert _verdicts(PAPER, seed=2)["reproduces"] >= 0.95 * DRAWS


def test_a_reported_number_that_is_one_draw_itself_rarely_differs():
    """Were the paper's numbers drawn with the same noise, Holm's correction would keep false alarms below 5%."""
    counts = _verdicts(PAPER, seed=3, theirs=0.5)
    assert counts["differs"] <= 0.08 * DRAWS  # 5% and two standard errors of 200 draws
    assert counts["reproduces"] >= 0.85 * DRAWS


# The command line


@pytest.fixture
def judged(tmp_path):
    """regression.json of a study of telescopic with the paper's means, moved by ``gain`` points."""

    def of(gain: float = 0.0, datasets=tuple(PAPER), **more: object) -> Path:
        results = tmp_path / f"results{len(list(tmp_path.iterdir()))}"
        runs = [
            write_run(results, name, "telescopic", seed, [(PAPER[name] + gain + by + shift) / 100 for shift in (-1, 1)])
            for name in datasets
            for seed, by in SEEDS.items()
        ]
        options = {"runs": write_dsc_of(results, runs), "reported": ROOT / "workflow/resources/reported.csv"}
        options |= {"must_reproduce": ["telescopic"]} | more
        call(reproduction.main, "judge", results=results, output=results / "regression.json", **options)
        return results / "regression.json"

    return of


def test_a_study_that_reproduces(judged, capsys):
    path = judged(note="A note.", n_theirs=3, resolution=0.8)
    record = json.loads(path.read_text())
    assert (record["unit"], record["comparable"], record["note"]) == ("DSC points", True, "A note.")
    assert (record["n_theirs"], record["resolution"], record["must_reproduce"]) == (3, 0.8, ["telescopic"])
    row = next(row for row in record["rows"] if (row["variant"], row["dataset"]) == ("telescopic", "busi"))
    assert (row["value"], row["verdict"], row["seeds"]) == (pytest.approx(65.9), "reproduces", 3)
    assert row["must_reproduce"] is True
    missing = next(row for row in record["rows"] if row["method"] == "cris")
    assert (missing["value"], missing["tolerance"], missing["verdict"]) == (None, None, "not run")
    assert judged(note="A note.", n_theirs=3, resolution=0.8).read_bytes() == path.read_bytes()
    call(reproduction.main, "check", path)
    assert "1 reproduces" in capsys.readouterr().err


def test_a_method_that_must_reproduce_and_does_not(judged):
    command = [sys.executable, "-m", "pipeline.evaluation.reproduction", "check", str(judged(gain=-2.0))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: a method that must reproduce does not" in done.stderr
    row = "telescopic (paper) on busi: measured 63.90, reported 65.90, difference -2.00, tolerance 1.29, p (Holm) 0.03"
    assert f"\n  {row}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"gain": -2.0, "comparable": "false"}, "not shown to reproduce: telescopic (paper): not comparable"),
        ({"gain": -2.0, "must_reproduce": []}, "1 differs"),
        ({"datasets": tuple(FOUR)}, "not shown to reproduce: telescopic (paper): not run: average, busi"),
    ],
)
def test_what_is_no_failure(judged, capsys, options, shown):
    call(reproduction.main, "check", judged(**options))
    assert shown in capsys.readouterr().err


def test_a_study_that_is_not_comparable_has_no_verdicts(judged):
    rows = json.loads(judged(comparable="false").read_text())["rows"]
    assert {row["verdict"] for row in rows} == {"not run", "not comparable"}
    row = next(row for row in rows if (row["variant"], row["dataset"]) == ("telescopic", "busi"))
    assert (row["verdict"], row["difference"]) == ("not comparable", pytest.approx(0))


def test_a_file_that_is_no_record(tmp_path):
    (tmp_path / "regression.json").write_text("[]")
    with pytest.raises(PipelineError, match=r"regression\.json: cannot be read"):
        call(reproduction.main, "check", tmp_path / "regression.json")
