"""Reported against measured DSC, verdicts, and the demo's baseline."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from evaluation_support import call, write_run

from pipeline.config import DATASETS
from pipeline.evaluation import baseline, collect, rebaseline, verdict
from pipeline.evaluation.aggregate import Score
from pipeline.evaluation.pairing import Paired
from pipeline.evaluation.readers import read_reported
from pipeline.evaluation.reproduction import half_widths, judge, seed_half_width
from pipeline.reporting.tables import regression
from pipeline.runtime.errors import PipelineError

REPORTED = Path(__file__).parents[2] / "workflow" / "resources" / "reported.csv"
PAPER = {"kvasir_seg": 89.79, "clinicdb": 91.67, "bkai": 88.38, "isic16": 92.18, "busi": 65.90}


def _dsc(variant: str, points: dict[str, float], seeds: dict[int, float]) -> list[dict]:
    """Rows of dsc.csv: ``points`` by dataset, moved by the points of each seed."""
    return [
        {"dataset": dataset, "variant": variant, "seed": seed, "dsc": (value + shift) / 100}
        for dataset, value in points.items()
        for seed, shift in seeds.items()
    ]


def _judge(rows: list[dict], datasets=DATASETS, widths=None, must=("telescopic",), comparable=True) -> dict:
    table = pd.DataFrame(rows, columns=["dataset", "variant", "seed", "dsc"])
    judged = judge(table, read_reported(REPORTED), datasets, widths or {}, 1.0, must, comparable)
    return {(row["variant"], row["dataset"], row["source"]): row for row in judged}


EXACT_SEEDS = {41: 0.0, 42: 0.0, 43: 0.0}


# Reported numbers


def test_the_papers_own_numbers_reproduce():
    rows = _judge(_dsc("telescopic", PAPER, EXACT_SEEDS))
    for dataset, value in PAPER.items():
        row = rows["telescopic", dataset, "paper"]
        assert (row["value"], row["reported"], row["difference"]) == pytest.approx((value, value, 0))
        assert (row["tolerance"], row["seeds"], row["verdict"]) == (1.0, 3, "reproduces")
    # The paper's average is that of its five values: 427.92 / 5 = 85.584.
    average = rows["telescopic", "average", "paper"]
    assert average["value"] == pytest.approx(85.584)
    assert (average["reported"], average["verdict"]) == (85.58, "reproduces")


@pytest.mark.parametrize(
    ("shift", "expected"), [(0.999, "reproduces"), (1.001, "differs"), (-0.999, "reproduces"), (-1.001, "differs")]
)
def test_a_difference_counts_beyond_the_tolerance(shift, expected):
    rows = _judge(_dsc("telescopic", {"busi": PAPER["busi"] + shift}, EXACT_SEEDS))
    assert rows["telescopic", "busi", "paper"]["verdict"] == expected


def test_rows_without_a_run_never_pass():
    rows = _judge([])
    assert {row["verdict"] for row in rows.values()} == {"not run"}
    assert all(row["value"] is row["difference"] is row["tolerance"] is None for row in rows.values())
    # Other metrics are left out, and the reported end-to-end rows stand there for two variants each.
    reported = pd.read_csv(REPORTED)
    dsc = reported[reported["metric"] == "dsc"]
    assert len(rows) == len(dsc) + (dsc["method"] == "end_to_end").sum()


def test_an_average_needs_all_five_datasets():
    four = {dataset: PAPER[dataset] for dataset in DATASETS[:4]}
    assert _judge(_dsc("telescopic", four, EXACT_SEEDS))["telescopic", "average", "paper"]["verdict"] == "not run"
    # A seed that one dataset lacks takes no part in the average.
    rows = _dsc("telescopic", PAPER, EXACT_SEEDS) + _dsc("telescopic", four, {44: 50.0})
    average = _judge(rows)["telescopic", "average", "paper"]
    assert (average["value"], average["seeds"]) == (pytest.approx(85.584), 3)


def test_datasets_outside_the_study_do_not_count():
    rows = _judge(_dsc("telescopic", PAPER, EXACT_SEEDS), datasets=["busi"])
    assert rows["telescopic", "busi", "paper"]["verdict"] == "reproduces"
    assert rows["telescopic", "bkai", "paper"]["verdict"] == "not run"


def test_reported_end_to_end_is_compared_with_what_its_code_trains():
    rows = _judge(_dsc("decoder_only", {"busi": 62.91}, EXACT_SEEDS))
    assert rows["decoder_only", "busi", "vlsm-adapter"]["verdict"] == "reproduces"
    assert rows["decoder_only", "busi", "medvlsm"]["difference"] == pytest.approx(62.91 - 64.32)
    assert rows["end_to_end", "busi", "vlsm-adapter"]["verdict"] == "not run"


def test_a_study_on_other_data_is_never_judged():
    rows = _judge(_dsc("telescopic", PAPER, EXACT_SEEDS), comparable=False)
    assert rows["telescopic", "busi", "paper"]["verdict"] == "not comparable"
    assert rows["telescopic", "busi", "paper"]["difference"] == pytest.approx(0)
    assert rows["vlsm_dense", "busi", "vlsm-adapter"]["verdict"] == "not run"


def test_tolerance_grows_with_the_spread_of_seeds_and_cases():
    # Seeds at -1, 0, +1: standard deviation 1, standard error 1 / sqrt(3).
    rows = _dsc("telescopic", {"busi": PAPER["busi"] - 3}, {41: -1.0, 42: 0.0, 43: 1.0})
    row = _judge(rows)["telescopic", "busi", "paper"]
    assert row["seed_half_width"] == pytest.approx(1.96 / math.sqrt(3), abs=1e-6)
    assert row["case_half_width"] is None
    assert (row["tolerance"], row["verdict"]) == (row["seed_half_width"], "differs")
    row = _judge(rows, widths={("telescopic", "busi"): 3.0})["telescopic", "busi", "paper"]
    assert row["tolerance"] == pytest.approx(math.hypot(row["seed_half_width"], 3.0))
    assert row["verdict"] == "reproduces"
    assert seed_half_width(Score(65.0, None, 1)) is None


def test_half_widths_of_the_intervals_over_cases():
    # Half the cases at 0 and half at 1: the mean of 100 has standard error 5 points, and 1.96 times that is 9.8.
    scores = pd.DataFrame({"telescopic": [0.0, 1.0] * 50, "lora": [0.5] * 100})
    paired = {dataset: Paired(scores, {"telescopic": 3, "lora": 3}) for dataset in DATASETS[:4]}
    widths = half_widths(paired, 4000)
    assert widths["telescopic", "bkai"] == pytest.approx(9.8, abs=0.5)
    assert widths["lora", "bkai"] == pytest.approx(0, abs=1e-9)
    assert ("telescopic", "average") not in widths
    widths = half_widths(paired | {"busi": Paired(scores[["telescopic"]], {"telescopic": 3})}, 4000)
    assert widths["telescopic", "average"] == pytest.approx(9.8 / math.sqrt(5), abs=0.3)
    assert ("lora", "average") not in widths
    assert half_widths({}, 4000) == {}


def _study(results: Path, gain: float = 0.0) -> list[str]:
    """Telescopic on all datasets with the paper's means, moved by ``gain`` points; dsc.csv beside the runs."""
    runs = [
        write_run(results, dataset, "telescopic", seed, [(value + gain + wiggle) / 100 for wiggle in (-1, 0, 1)])
        for dataset, value in PAPER.items()
        for seed in (41, 42)
    ]
    collect.collect(runs).to_csv(results / "dsc.csv", index=False)
    return [str(run.folder) for run in runs]


def _options(results: Path, *more: str) -> list[str]:
    return [
        *("--dsc", str(results / "dsc.csv"), "--reported", str(REPORTED), "--datasets", json.dumps(DATASETS)),
        *("--must-reproduce", '["telescopic"]', "--bootstrap", "200"),
        *("--output", str(results / "regression.json"), "--table", str(results / "regression.md"), *more),
    ]


def test_command_line(tmp_path, monkeypatch, capsys):
    folders = _study(tmp_path)
    call(monkeypatch, regression.main, *_options(tmp_path, "--runs", json.dumps(folders), "--note", "A note."))
    assert "6 reproduces" in capsys.readouterr().err
    record = json.loads((tmp_path / "regression.json").read_text())
    assert (record["unit"], record["comparable"], record["note"]) == ("DSC points", True, "A note.")
    row = next(row for row in record["rows"] if (row["variant"], row["dataset"]) == ("telescopic", "busi"))
    assert (row["value"], row["verdict"], row["seeds"]) == (pytest.approx(65.9), "reproduces", 2)
    assert 0.8 < row["case_half_width"] < 1.2  # three cases at -1, 0, +1
    printed = (tmp_path / "regression.md").read_text()
    assert "> A note." in printed
    assert "| telescopic | telescopic | BUSI | paper | 65.90 | 65.90 | +0.00 | 1.0" in printed
    assert "reproduces (must reproduce)" in printed
    assert "Made from 10 runs" in printed
    before = (tmp_path / "regression.json").read_bytes()
    call(monkeypatch, regression.main, *_options(tmp_path, "--runs", json.dumps(folders), "--note", "A note."))
    assert (tmp_path / "regression.json").read_bytes() == before


def test_a_row_that_must_reproduce_and_does_not(tmp_path, monkeypatch, capsys):
    _study(tmp_path, gain=-2.0)
    with pytest.raises(PipelineError, match="6 rows that must reproduce do not") as error:
        call(monkeypatch, regression.main, *_options(tmp_path))
    assert "\n  telescopic on busi: measured 63.90, reported 65.90 (paper), difference -2.00, tolerance 1.00" in str(
        error.value
    )
    assert (tmp_path / "regression.json").is_file()  # the outputs are there nevertheless
    with pytest.raises(PipelineError, match="6 rows that must reproduce do not"):
        call(monkeypatch, verdict.main, tmp_path / "regression.json")
    call(monkeypatch, regression.main, *_options(tmp_path, "--write-only"))
    call(monkeypatch, regression.main, *_options(tmp_path, "--comparable", "false"))
    call(monkeypatch, verdict.main, tmp_path / "regression.json")
    assert "6 not comparable" in capsys.readouterr().err
    # Other variants may differ.
    call(monkeypatch, regression.main, *_options(tmp_path, "--must-reproduce", "[]"))


def test_a_missing_run_is_named_but_is_no_failure(tmp_path, monkeypatch, capsys):
    _study(tmp_path)
    table = pd.read_csv(tmp_path / "dsc.csv")
    table[table["dataset"] != "busi"].to_csv(tmp_path / "dsc.csv", index=False)
    call(monkeypatch, regression.main, *_options(tmp_path))
    assert "not run, so not shown to reproduce: telescopic on busi" in capsys.readouterr().err


def test_wrong_options(tmp_path, monkeypatch):
    _study(tmp_path)
    with pytest.raises(PipelineError, match="--reported: --datasets is missing"):
        call(monkeypatch, regression.main, "--dsc", tmp_path / "dsc.csv", "--reported", REPORTED)
    (tmp_path / "regression.json").write_text("[]")
    with pytest.raises(PipelineError, match=r"regression\.json: cannot be read"):
        call(monkeypatch, verdict.main, tmp_path / "regression.json")


def test_exit_status_and_no_traceback(tmp_path):
    _study(tmp_path, gain=-2.0)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.reporting.tables.regression", *_options(tmp_path)],
        cwd=REPORTED.parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "error: 6 rows that must reproduce do not" in done.stderr
    assert "Traceback" not in done.stderr


# The baseline


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A clean git repository, the current folder, with the results of a small demo that git ignores."""
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".gitignore").write_text("results\n")
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "--message", "Start"]):
        subprocess.run(["git", *command], check=True, capture_output=True)
    results = tmp_path / "results"
    runs = [
        write_run(results, "busi", "telescopic", 41, [0.5, 0.7], shapes={"down": [64, 8], "norm": [8]}),
        write_run(results, "busi", "zero_shot", 41, [0.1, 0.2], shapes={}, losses=[]),
    ]
    collect.collect(runs).to_csv(results / "dsc.csv", index=False)
    return tmp_path


def _record(monkeypatch, *more: object) -> None:
    call(monkeypatch, rebaseline.main, "--dsc", "results/dsc.csv", "--output", "results/baseline.json", *more)


def _compare(monkeypatch) -> None:
    call(monkeypatch, regression.main, "--dsc", "results/dsc.csv", "--baseline", "results/baseline.json")


def test_a_baseline_agrees_with_itself(repository, monkeypatch, capsys):
    _record(monkeypatch, "--tolerance", 0.5)
    record = json.loads(Path("results/baseline.json").read_text())
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert record["commit"] == head
    assert {"python", "torch", "numpy", "pipeline"} <= record["versions"].keys()
    assert (record["tolerance"], record["loss_tolerance"]) == (0.5, 1e-3)
    telescopic, zero_shot = record["runs"]
    assert (telescopic["dsc"], telescopic["cases"], telescopic["trained_parameters"]) == (60.0, 2, 64 * 8 + 8)
    assert (telescopic["train_loss"], telescopic["val_loss"]) == (0.9, 0.8)
    assert (zero_shot["trained_parameters"], zero_shot["train_loss"]) == (0, None)
    _compare(monkeypatch)
    assert "2 runs as in results/baseline.json" in capsys.readouterr().err


def test_a_dirty_tree_gets_no_baseline(repository, monkeypatch):
    (repository / "new.py").write_text("")
    with pytest.raises(PipelineError, match=r"uncommitted changes; commit them first\n  \?\? new.py"):
        _record(monkeypatch)
    (repository / "new.py").unlink()
    (repository / ".gitignore").write_text("results\nother\n")
    with pytest.raises(PipelineError, match=r"uncommitted changes; commit them first\n   M .gitignore"):
        _record(monkeypatch)
    assert not Path("results/baseline.json").exists()


def test_no_repository_gets_no_baseline(repository, monkeypatch):
    (repository / ".git").rename(repository / "git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository.parent))
    with pytest.raises(PipelineError, match="run this in a clone of the repository"):
        _record(monkeypatch)


RUN = Path("results/runs/busi/telescopic/seed41")


def test_numbers_of_one_processor_are_no_baseline(repository, monkeypatch):
    _rewrite(RUN / "manifest.json", "portable", "deterministic")
    with pytest.raises(PipelineError, match=r"busi/telescopic/seed41 .* 'deterministic'.*set jobs\.portable"):
        _record(monkeypatch)
    assert not Path("results/baseline.json").exists()


def _rewrite(path: Path, old: str, new: str) -> None:
    content = path.read_bytes()
    assert old.encode() in content
    assert len(old) == len(new) or path.suffix != ".safetensors"  # its header's length stands before it
    path.write_bytes(content.replace(old.encode(), new.encode()))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("weights.safetensors", "[64, 8]", "[64, 9]", "trained parameters: 584, baseline 520"),
        ("weights.safetensors", "[64, 8]", "[8, 64]", "names and shapes of the trained tensors changed"),
        ("weights.safetensors", '"norm"', '"bias"', "names and shapes of the trained tensors changed"),
        ("manifest.json", "portable", "fast", "numerical mode: fast, baseline portable"),
        ("per_case.csv", "000,a polyp", "000,a wart", "prompts of the test cases changed"),
        ("per_case.csv", ",100,90", ",101,90", "targets of the test cases changed"),
        ("history.csv", "1,0.9,0.8", "1,0.902,0.8", "training loss of the first epoch: 0.902, baseline 0.9, relative"),
        ("history.csv", "1,0.9,0.8", "1,0.9,0.79", "validation loss of the first epoch: 0.79, baseline 0.8"),
    ],
)
def test_a_damage_is_caught(repository, monkeypatch, file, old, new, message):
    _record(monkeypatch)
    _rewrite(RUN / file, old, new)
    with pytest.raises(PipelineError, match=f"busi/telescopic/seed41: {message}") as error:
        _compare(monkeypatch)
    assert "zero_shot" not in str(error.value)
    assert "rebaseline" in str(error.value)


@pytest.mark.parametrize(("new", "caught"), [(0.719, False), (0.721, True), (0.679, True)])
def test_the_dsc_may_move_within_the_tolerance(repository, monkeypatch, new, caught):
    """One of two cases moves from 0.7: the mean moves by half as many points."""
    _record(monkeypatch)
    _rewrite(RUN / "per_case.csv", ",0.7,", f",{new},")
    table = pd.read_csv("results/dsc.csv")
    table.loc[table["variant"] == "telescopic", "dsc"] = (0.5 + new) / 2
    table.to_csv("results/dsc.csv", index=False)
    if caught:
        with pytest.raises(PipelineError, match=r"DSC \d\d\.\d+, baseline 60.000, tolerance 1"):
            _compare(monkeypatch)
    else:
        _compare(monkeypatch)


def test_a_small_change_of_a_loss_is_another_processor(repository, monkeypatch):
    _record(monkeypatch)
    _rewrite(RUN / "history.csv", "1,0.9,0.8", "1,0.90001,0.8")
    _compare(monkeypatch)
    _rewrite(RUN / "history.csv", "1,0.90001,0.8", "1,,0.8")
    with pytest.raises(PipelineError, match="training loss of the first epoch: nan"):
        _compare(monkeypatch)


def test_missing_and_extra_runs_and_other_versions(repository, monkeypatch):
    _record(monkeypatch)
    path = Path("results/baseline.json")
    record = json.loads(path.read_text())
    record["runs"][1]["seed"] = 42
    record["versions"]["torch"] = "0.0"
    path.write_text(json.dumps(record))
    with pytest.raises(PipelineError) as error:
        _compare(monkeypatch)
    assert "  busi/zero_shot/seed41: not in the baseline\n  busi/zero_shot/seed42: not run" in str(error.value)
    assert "versions that differ: torch" in str(error.value)


def test_files_that_contradict_each_other(repository, monkeypatch):
    _record(monkeypatch)
    _rewrite(RUN / "per_case.csv", ",0.7,", ",0.71,")
    with pytest.raises(PipelineError, match=r"its DSC of .*telescopic/seed41 is not that of per_case\.csv"):
        _compare(monkeypatch)
    for content, message in [("{", "cannot be read"), ('{"runs": []}', "loss_tolerance, tolerance, versions missing")]:
        Path("results/baseline.json").write_text(content)
        with pytest.raises(PipelineError, match=message):
            _compare(monkeypatch)
    (RUN / "weights.safetensors").unlink()
    with pytest.raises(PipelineError, match=r"weights\.safetensors: cannot be read"):
        _record(monkeypatch)


def test_differences_of_none():
    expected = {"dsc": 60.0, **dict.fromkeys(baseline.EXACT, 1), "train_loss": None, "val_loss": None}
    assert baseline.differences(expected, expected, 1, 1e-3) == []
    assert len(baseline.differences(expected | {"train_loss": 0.5}, expected, 1, 1e-3)) == 1
