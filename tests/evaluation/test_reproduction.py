"""Reported against measured DSC, and the verdicts."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from evaluation_support import call, write_dsc_of, write_run

from pipeline.evaluation import reproduction
from pipeline.evaluation.pairing import Paired
from pipeline.evaluation.readers import read_reported
from pipeline.evaluation.reproduction import half_widths, judge
from pipeline.runtime.errors import PipelineError

ROOT = Path(__file__).parents[2]
REPORTED = ROOT / "workflow/resources/reported.csv"
PAPER = {"kvasir_seg": 89.79, "clinicdb": 91.67, "bkai": 88.38, "isic16": 92.18, "busi": 65.90}
FOUR = {dataset: value for dataset, value in PAPER.items() if dataset != "busi"}
EXACT_SEEDS = {41: 0.0, 42: 0.0, 43: 0.0}


def _dsc(points: dict[str, float], seeds: dict[int, float] = EXACT_SEEDS, variant: str = "telescopic") -> list[dict]:
    """Rows of dsc.csv: ``points`` by dataset, shifted by the points of each seed."""
    return [
        {"dataset": dataset, "variant": variant, "seed": seed, "dsc": (value + shift) / 100}
        for dataset, value in points.items()
        for seed, shift in seeds.items()
    ]


def _judge(rows: list[dict], datasets=tuple(PAPER), widths=None, comparable=True) -> dict:
    table = pd.DataFrame(rows, columns=["dataset", "variant", "seed", "dsc"])
    judged = judge(table, read_reported(REPORTED), datasets, widths or {}, 1.0, ["telescopic"], comparable)
    return {(row["variant"], row["dataset"], row["source"]): row for row in judged}


# Judging rows


def test_the_papers_own_numbers_reproduce():
    rows = _judge(_dsc(PAPER))
    # The paper's average is that of its five values: 427.92 / 5 = 85.584.
    for dataset, value in (PAPER | {"average": 85.584}).items():
        row = rows["telescopic", dataset, "paper"]
        assert (row["value"], row["difference"]) == pytest.approx((value, value - row["reported"]))
        assert row["reported"] == pytest.approx(value, abs=0.005)
        assert (row["tolerance"], row["seeds"], row["verdict"]) == (1.0, 3, "reproduces")


@pytest.mark.parametrize(
    ("shift", "expected"), [(0.999, "reproduces"), (1.001, "differs"), (-0.999, "reproduces"), (-1.001, "differs")]
)
def test_a_difference_counts_beyond_the_tolerance(shift, expected):
    rows = _judge(_dsc({"busi": PAPER["busi"] + shift}))
    assert rows["telescopic", "busi", "paper"]["verdict"] == expected


def test_rows_without_a_run_never_pass():
    rows = _judge([])
    assert {row["verdict"] for row in rows.values()} == {"not run"}
    assert all(row["value"] is row["difference"] is row["tolerance"] is None for row in rows.values())
    # Other metrics are left out, and each reported end-to-end row is compared with two variants.
    reported = pd.read_csv(REPORTED)
    dsc = reported[reported["metric"] == "dsc"]
    assert len(rows) == len(dsc) + (dsc["method"] == "end_to_end").sum()


def test_an_average_needs_all_of_the_papers_datasets():
    assert _judge(_dsc(FOUR))["telescopic", "average", "paper"]["verdict"] == "not run"
    # A seed that one dataset lacks takes no part in the average.
    average = _judge(_dsc(PAPER) + _dsc(FOUR, {44: 50.0}))["telescopic", "average", "paper"]
    assert (average["value"], average["seeds"]) == (pytest.approx(85.584), 3)


def test_a_sixth_dataset_takes_no_part_in_the_average():
    pair = Paired(pd.DataFrame({"telescopic": [0.0, 1.0] * 50}), {"telescopic": 3})
    five = dict.fromkeys(PAPER, pair)
    widths = half_widths({"etis": pair} | five, list(PAPER), 500)
    assert widths == half_widths(five, list(PAPER), 500)
    judged = _judge(_dsc(PAPER) + _dsc({"etis": 10.0}, {41: 0.0}), [*PAPER, "etis"], widths)
    assert judged == _judge(_dsc(PAPER), widths=widths)
    assert judged["telescopic", "average", "paper"]["verdict"] == "reproduces"


def test_datasets_outside_the_study_do_not_count():
    rows = _judge(_dsc(PAPER), datasets=["busi"])
    verdicts = {dataset: rows["telescopic", dataset, "paper"]["verdict"] for dataset in ("busi", "bkai")}
    assert verdicts == {"busi": "reproduces", "bkai": "not run"}


def test_reported_end_to_end_is_compared_with_what_its_code_trains():
    rows = _judge(_dsc({"busi": 62.91}, variant="decoder_only"))
    assert rows["decoder_only", "busi", "vlsm-adapter"]["verdict"] == "reproduces"
    assert rows["decoder_only", "busi", "medvlsm"]["difference"] == pytest.approx(62.91 - 64.32)
    assert rows["end_to_end", "busi", "vlsm-adapter"]["verdict"] == "not run"


def test_a_study_on_other_data_is_never_judged():
    rows = _judge(_dsc(PAPER), comparable=False)
    assert rows["telescopic", "busi", "paper"]["verdict"] == "not comparable"
    assert rows["telescopic", "busi", "paper"]["difference"] == pytest.approx(0)
    assert rows["vlsm_dense", "busi", "vlsm-adapter"]["verdict"] == "not run"


def test_tolerance_grows_with_the_spread_of_seeds_and_cases():
    # Seeds at -1, 0, +1: standard deviation 1, standard error 1 / sqrt(3).
    rows, key = _dsc({"busi": PAPER["busi"] - 3}, {41: -1.0, 42: 0.0, 43: 1.0}), ("telescopic", "busi", "paper")
    row = _judge(rows)[key]
    assert row["seed_half_width"] == pytest.approx(1.96 / math.sqrt(3), abs=1e-6)
    assert row["case_half_width"] is None
    assert (row["tolerance"], row["verdict"]) == (row["seed_half_width"], "differs")
    row = _judge(rows, widths={("telescopic", "busi"): 3.0})[key]
    assert row["tolerance"] == pytest.approx(math.hypot(row["seed_half_width"], 3.0))
    assert row["verdict"] == "reproduces"
    assert _judge(rows[:1])[key]["seed_half_width"] is None


def test_half_widths_of_the_intervals_over_cases():
    # Half the cases at 0 and half at 1: the mean of 100 has standard error 5 points, and 1.96 times that is 9.8.
    scores = pd.DataFrame({"telescopic": [0.0, 1.0] * 50, "lora": [0.5] * 100})
    datasets, paired = list(PAPER), dict.fromkeys(FOUR, Paired(scores, {"telescopic": 3, "lora": 3}))
    widths = half_widths(paired, datasets, 4000)
    assert widths["telescopic", "bkai"] == pytest.approx(9.8, abs=0.5)
    assert widths["lora", "bkai"] == pytest.approx(0, abs=1e-9)
    assert ("telescopic", "average") not in widths
    widths = half_widths(paired | {"busi": Paired(scores[["telescopic"]], {"telescopic": 3})}, datasets, 4000)
    assert widths["telescopic", "average"] == pytest.approx(9.8 / math.sqrt(5), abs=0.3)
    assert ("lora", "average") not in widths
    assert half_widths({}, datasets, 4000) == {}


# The command line


@pytest.fixture
def judged(tmp_path):
    """regression.json of a study of telescopic with the paper's means, moved by ``gain`` points."""

    def of(gain: float = 0.0, datasets=tuple(PAPER), **more: object) -> Path:
        results = tmp_path / f"results{len(list(tmp_path.iterdir()))}"
        runs = [
            write_run(results, name, "telescopic", seed, [(PAPER[name] + gain + shift) / 100 for shift in (-1, 0, 1)])
            for name in datasets
            for seed in (41, 42)
        ]
        options = {"runs": write_dsc_of(results, runs), "dsc": results / "dsc.csv", "reported": REPORTED}
        options |= {"datasets": list(PAPER), "must_reproduce": ["telescopic"], "bootstrap": 200} | more
        call(reproduction.main, "judge", results=results, output=results / "regression.json", **options)
        return results / "regression.json"

    return of


def test_a_study_that_reproduces(judged, capsys):
    path = judged(note="A note.", tolerance=1.5)
    record = json.loads(path.read_text())
    assert (record["unit"], record["comparable"], record["note"]) == ("DSC points", True, "A note.")
    assert (record["smallest_tolerance"], record["resamples"]) == (1.5, 200)
    row = next(row for row in record["rows"] if (row["variant"], row["dataset"]) == ("telescopic", "busi"))
    assert (row["value"], row["verdict"], row["seeds"]) == (pytest.approx(65.9), "reproduces", 2)
    assert row["must_reproduce"] is True
    assert 0.8 < row["case_half_width"] < 1.2  # three cases at -1, 0, +1
    assert judged(note="A note.", tolerance=1.5).read_bytes() == path.read_bytes()
    call(reproduction.main, "check", path)
    assert "6 reproduces" in capsys.readouterr().err


def test_a_row_that_must_reproduce_and_does_not(judged):
    command = [sys.executable, "-m", "pipeline.evaluation.reproduction", "check", str(judged(gain=-2.0))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: 6 rows that must reproduce do not" in done.stderr
    row = "telescopic on busi: measured 63.90, reported 65.90 (paper), difference -2.00, tolerance 1.00"
    assert f"\n  {row}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"gain": -2.0, "comparable": "false"}, "6 not comparable"),
        ({"gain": -2.0, "must_reproduce": []}, "6 differs"),
        ({"datasets": tuple(FOUR)}, "not run, so not shown to reproduce: telescopic on busi"),
    ],
)
def test_rows_that_are_no_failure(judged, capsys, options, shown):
    call(reproduction.main, "check", judged(**options))
    assert shown in capsys.readouterr().err


def test_a_file_that_is_no_record(tmp_path):
    (tmp_path / "regression.json").write_text("[]")
    with pytest.raises(PipelineError, match=r"regression\.json: cannot be read"):
        call(reproduction.main, "check", tmp_path / "regression.json")
