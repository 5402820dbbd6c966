"""Summaries of runs, and dsc.csv."""

import json
import math

import pandas as pd
import pytest
from evaluation_support import call, write_run

from pipeline.evaluation import collect
from pipeline.evaluation.per_case import read_per_case, summarise
from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.runs import Run, json_option, parse_runs
from pipeline.runtime.errors import PipelineError

CASES = pd.DataFrame(
    [
        ("a", "", 0.5, 0.25, 4.0, 10, 12),  # an ordinary case
        ("b", "", 0.0, 0.0, 50.0, 10, 0),  # a miss
        ("c", "", 1.0, 1.0, 0.0, 0, 0),  # no target, and none predicted
        ("d", "", 0.0, 0.0, 50.0, 0, 3),  # a false alarm
    ],
    columns=["case", "prompt", "dsc", "iou", "hd95", "target_pixels", "predicted_pixels"],
)


def test_summary_of_a_literal_case():
    assert summarise(CASES) == {
        "cases": 4,
        "dsc": 0.375,
        "iou": 0.3125,
        "hd95": 26.0,
        "misses": 1,
        "false_alarms": 1,
        "with_target": {"cases": 2, "dsc": 0.25, "iou": 0.125, "hd95": 27.0},
    }
    nothing = summarise(CASES[CASES["target_pixels"] == 0])["with_target"]
    assert nothing == {"cases": 0, "dsc": None, "iou": None, "hd95": None}
    json.dumps(summarise(CASES), allow_nan=False)


def test_per_case_scores_come_back_as_they_were_written(tmp_path):
    dsc = [1 / 3, 0.1 + 0.2, math.nextafter(1, 0), 0.0]
    run = write_run(tmp_path, "busi", "lora", 41, dsc, cases=["007", "NA", "1e5", "benign (1)"])
    table = read_per_case(run.folder)
    assert list(table["case"]) == ["007", "NA", "1e5", "benign (1)"]
    assert list(table["dsc"]) == dsc  # to the last bit
    assert table["target_pixels"].dtype == int


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dsc,iou", "dice,iou", "column dsc missing"),
        ("a polyp,0.5,", "a polyp,1.5,", r"dsc of case 000 is '1.5', not 0\.\.1"),
        ("a polyp,0.5,", "a polyp,,", "dsc of case 000 is ''"),
        ("a polyp,0.5,", "a polyp,nan,", "dsc of case 000 is 'nan'"),
        (",90\n", ",many\n", "predicted_pixels of case 000 is 'many', not 0 or more"),
        (",100,", ",-1,", "target_pixels of case 000 is '-1'"),
    ],
)
def test_a_damaged_per_case_file(tmp_path, old, new, message):
    run = write_run(tmp_path, "busi", "lora", 41, [0.5, 0.25])
    path = run.folder / "per_case.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(PipelineError, match=message) as error:
        read_per_case(run.folder)
    assert str(path) in str(error.value)


def test_no_per_case_file(tmp_path):
    with pytest.raises(PipelineError, match=r"per_case\.csv: no such file; evaluate the run again"):
        read_per_case(tmp_path)
    (tmp_path / "per_case.csv").write_text(",".join(CASES.columns) + "\n")
    with pytest.raises(PipelineError, match="holds no case"):
        read_per_case(tmp_path)
    (tmp_path / "per_case.csv").write_text("")
    with pytest.raises(PipelineError, match="cannot be read"):
        read_per_case(tmp_path)


def test_dsc_csv(tmp_path, monkeypatch):
    runs = [
        write_run(tmp_path, "busi", "lora", 42, [0.25, 0.75]),
        write_run(tmp_path, "bkai", "telescopic", 41, [1.0, 0.5, 0.0]),
    ]
    output = tmp_path / "dsc.csv"
    call(monkeypatch, collect.main, "--runs", json.dumps([str(run.folder) for run in runs]), "--output", output)
    lines = output.read_text().splitlines()
    assert lines[0] == "dataset,variant,seed,cases,dsc,iou,hd95,misses"
    first = lines[1].split(",")
    assert first[:4] == ["busi", "lora", "42", "2"]
    # IoU of DSC 0.25 is 1/7, of 0.75 is 3/5.
    assert [float(value) for value in first[4:]] == pytest.approx([0.5, (1 / 7 + 3 / 5) / 2, 20.0, 0])
    assert lines[2].split(",")[:5] == ["bkai", "telescopic", "41", "3", "0.5"]
    before = output.read_bytes()
    (tmp_path / "runs.txt").write_text("".join(f"{run.folder}\n" for run in runs) + "\n")
    call(monkeypatch, collect.main, "--runs-file", tmp_path / "runs.txt", "--output", output)
    assert output.read_bytes() == before


@pytest.mark.parametrize(("key", "value"), [("dsc", 0.501), ("cases", 3), ("misses", None), ("hd95", "20")])
def test_a_summary_that_contradicts_the_cases(tmp_path, key, value):
    run = write_run(tmp_path, "busi", "lora", 42, [0.25, 0.75])
    path = run.folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(PipelineError, match=rf"{key} is {value}, but per_case.csv gives") as error:
        collect.collect([run])
    assert str(path) in str(error.value)
    path.unlink()
    with pytest.raises(PipelineError, match=r"summary\.json: cannot be read"):
        collect.collect([run])


def test_run_folders(tmp_path):
    assert parse_runs(["results/runs/busi/lora/seed7"])[0][:3] == ("busi", "lora", 7)
    assert str(Run("busi", "lora", 7, tmp_path)) == "busi/lora/seed7"
    for folders, message in [
        (["busi/seed1"], "not a run folder"),
        (["runs/busi/lora/41"], "not a run folder"),
        (["runs/busi/lora/seed"], "not a run folder"),
        (["a/busi/lora/seed1", "b/busi/lora/seed1"], "busi/lora/seed1: given twice"),
        ([], "no run given"),
    ]:
        with pytest.raises(PipelineError, match=message):
            parse_runs(folders)


def test_json_options(tmp_path, monkeypatch):
    assert json_option("--labels", '{"a": "b"}', dict) == {"a": "b"}
    with pytest.raises(PipelineError, match="--labels: not valid JSON"):
        json_option("--labels", "{", dict)
    with pytest.raises(PipelineError, match="--labels: must be a JSON object"):
        json_option("--labels", "[]", dict)
    with pytest.raises(PipelineError, match=r"--runs-file .*absent: cannot be read"):
        call(monkeypatch, collect.main, "--runs-file", tmp_path / "absent", "--output", tmp_path / "dsc.csv")
    assert not list(tmp_path.iterdir())


def test_provenance_names_scores_code_and_data(tmp_path):
    runs = [write_run(tmp_path, "busi", name, seed, [0.5]) for name in ("lora", "uniform") for seed in (41, 42)]
    text = describe_runs(runs)
    assert text.startswith(
        "Made from 4 runs (1 dataset, 2 variants, 2 seeds). SHA-256, first 12 digits: per-case scores "
    )
    assert "training code busi-code-00; backbone busi-backbon; data of busi busi-data-00." in text
    assert describe_runs(runs[::-1]) == text
    scores = runs[0].folder / "per_case.csv"
    scores.write_text(scores.read_text().replace(",90", ",91"))
    assert describe_runs(runs) != text
    (runs[0].folder / "manifest.json").write_text("{}")
    with pytest.raises(PipelineError, match="no usable manifest"):
        describe_runs(runs)
