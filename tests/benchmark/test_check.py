"""The check of a device, on the CPU with the tiny CLIPSeg; what needs a GPU says that it was not measured."""

import re

import pandas as pd
import pytest
import torch

from pipeline.benchmark import check
from pipeline.benchmark.check import Report, Run, project
from pipeline.config import read_study
from pipeline.plan import Plan
from pipeline.runtime.errors import PipelineError


def run(monkeypatch, *options) -> None:
    monkeypatch.setattr("sys.argv", ["check", *map(str, options)])
    check.main()


@pytest.mark.long
def test_each_part_is_in_the_file_and_a_table_ends_the_output(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    small = ["--device", "cpu", "--size", "tiny", "--variants", "telescopic", "--batch-sizes", "4"]
    run(monkeypatch, *small, "--output", tmp_path / "check.md")
    text = (tmp_path / "check.md").read_text()
    parts = {part.split("\n")[0]: part for part in text.split("\n## ")[1:]}
    assert list(parts) == [
        "Device", "One run", "Plain against fast", "Settings", "The full study", "Tests that need a GPU", "Summary",
    ]  # fmt: skip
    assert f"| torch | {torch.__version__} |" in parts["Device"] and "| commit | " in parts["Device"]
    assert parts["Tests that need a GPU"].strip().endswith("not measured: no CUDA device")
    assert "| epochs | 2 |" in parts["One run"] and "| energy | not measured: no CUDA device |" in parts["One run"]
    assert "| GPU utilisation during the epochs | not measured: no CUDA device |" in parts["One run"]
    for setting in ("deterministic kernels", "CUDA graph"):
        assert f"| {setting} | not measured: no CUDA device |" in parts["Settings"]
    rows = [line.split(" | ") for line in parts["Plain against fast"].splitlines() if line.startswith("| telescopic")]
    assert [row[2] for row in rows] == ["plain", "fast"]
    assert float(rows[1][4]) == pytest.approx(float(rows[1][3]) / float(rows[0][3]), rel=0.02)
    assert all(float(row[8]) > 0 and row[9].startswith("n/a") for row in rows)
    assert "data sheet: unknown for this device" in parts["Plain against fast"]
    assert "not projected: that needs --size full" in parts["The full study"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == str(tmp_path / "check.md")
    assert re.split("  +", printed[-1]) == ["GPU tests", "not measured: no CUDA device"]


def test_a_part_that_fails_stops_no_other(tmp_path):
    report = Report(tmp_path / "check.md")

    def fail():
        raise RuntimeError("CUDA error: device-side assert")

    report.add("One run", fail)
    report.add("Other", lambda: (["fine"], {"other": "1 s"}))
    text = (tmp_path / "check.md").read_text()
    assert "Failed: CUDA error: device-side assert" in text and "fine" in text
    assert report.failed and report.summary == [("One run", "failed"), ("other", "1 s")]


def test_without_a_gpu_the_way_to_try_it_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(PipelineError, match="no CUDA device; --device cpu --size tiny"):
        run(monkeypatch)


def test_the_hours_of_a_study():
    study = read_study("config.yaml")
    names = ["zero_shot", "telescopic", "vlsm_dense", "vlsm_shallow", "end_to_end", "unet"]
    study = study.model_copy(
        update={"main": names, "datasets": ["kvasir_seg", "busi"], "seeds": [41], "ablations": {}}
        | {"more_seeds": None, "transfer": None, "joint": None, "leaks": None, "tuning": None}
    )
    records = {"train": 400, "val": 50, "test": 50}
    one = Run(records, startup=10, epoch=4, scoring=30, utilisation=[], manifest={}, history=pd.DataFrame())
    # decoder_only stands for variants that train nothing in the vision encoder, telescopic for adapters in it.
    rates = {"telescopic": 100.0, "decoder_only": 400.0, "end_to_end": 50.0}
    train, test = 800 + 624, 100 + 78  # of both datasets
    pace = {"zero_shot": 0, "telescopic": 1, "vlsm_dense": 1, "vlsm_shallow": 1 / 4, "end_to_end": 2, "unet": 2}
    rest = len(pace) * (2 * 10 + 30 * test / 50)
    seconds = rest + sum(60 * 4 * train / 400 * factor for factor in pace.values())
    assert project(Plan(study), rates, one) == {
        "main table": (12, pytest.approx(seconds / 3600)),
        "all families": (12, pytest.approx(seconds / 3600)),
    }
