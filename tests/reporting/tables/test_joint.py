"""Table ``joint`` from literal scores."""

import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run, write_transfer_scores
from reporting_support import run_main

from pipeline.reporting.tables import joint

SEPARATE = {"busi": 0.70, "bkai": 0.80}
GAIN = {"busi": 0.05, "bkai": -0.03}
NOISE = {41: 0.0, 42: 0.004, 43: -0.002}


@pytest.fixture
def results(tmp_path):
    """One method on two datasets, separately and jointly; the joint gain differs a little from seed to seed."""
    runs = []
    for seed, noise in NOISE.items():
        for dataset, dsc in SEPARATE.items():
            runs.append(write_run(tmp_path, dataset, "lora", seed, [dsc - 0.1, dsc + 0.1], cases=["a", "b"]))
        together = write_run(tmp_path, "joint", "lora", seed, [0.5])
        rows = [
            (dataset, case, dsc + shift + GAIN[dataset] + noise)
            for dataset, dsc in SEPARATE.items()
            for case, shift in (("a", -0.1), ("b", 0.1))
        ]
        write_transfer_scores(tmp_path, together, rows)
    write_dsc_of(tmp_path, runs)
    return tmp_path


def test_joint_and_separate_are_compared_by_seed_on_the_same_cases(results):
    options = ["--results", results, "--runs", results / "dsc.csv", "--scores", results / "transfer", "--margin", 1]
    labels = {"lora": "LoRA", "busi": "BUSI", "bkai": "BKAI"}
    run_main(joint, *options, "--labels", labels, "--note", "Made up.", "--output", results / "made")
    table = pd.read_csv(results / "made.csv").set_index("dataset")
    assert list(table.index) == ["busi", "bkai", "average"]
    mean = 100 * sum(NOISE.values()) / 3
    assert table["difference"].tolist() == pytest.approx([5 + mean, -3 + mean, 1 + mean], abs=1e-5)
    assert table["before"].tolist() == pytest.approx([70, 80, 75])
    assert table["after"].tolist() == pytest.approx([75 + mean, 77 + mean, 76 + mean], abs=1e-5)
    assert table.loc["busi", "outcome"] == "better" and table.loc["bkai", "outcome"] == "worse"
    # The joint models are a little better or worse on all datasets alike, so the average is as uncertain as each.
    width = table["high"] - table["low"]
    assert width["average"] == pytest.approx(width["busi"], rel=1e-4) and width["bkai"] == pytest.approx(width["busi"])
    text = (results / "made.md").read_text()
    assert "| LoRA | BUSI | 70.00 ± 0.00 | 75.07 ± 0.31 | +5.07 [" in text
    assert "Made from 9 runs" in text
