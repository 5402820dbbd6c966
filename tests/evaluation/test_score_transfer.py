"""Scores of a run on several datasets: on each, those of scoring it there."""

import pandas as pd
from evaluation_support import call

from pipeline.evaluation import score_run, score_transfer
from pipeline.evaluation.per_case import read_per_case


def test_transfer_keeps_the_scores_by_case(study, tmp_path, monkeypatch):
    common = ["--prompt-type", "p2", *study.options]
    datasets = ["--results", study.results, "--datasets", '["bkai", "busi"]']
    call(monkeypatch, score_transfer.main, *datasets, *common, "--output", tmp_path / "per_case.csv")
    table = read_per_case(tmp_path, ["test_dataset"])
    assert list(table["test_dataset"]) == ["bkai"] * 3 + ["busi"] * 5
    for name, rows in table.groupby("test_dataset"):
        tensors = study.results / "tensors" / name
        call(monkeypatch, score_run.main, "--tensors", tensors, *common, "--output", tmp_path / name / "per_case.csv")
        expected = read_per_case(tmp_path / name)
        pd.testing.assert_frame_equal(rows.drop(columns="test_dataset").reset_index(drop=True), expected)
