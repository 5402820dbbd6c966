"""Table ``leaks`` from literal scores."""

import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import run_main

from pipeline.reporting.tables import leaks


def test_cells(tmp_path):
    runs = [
        write_run(tmp_path, dataset, variant, seed, [base + 0.01 * (seed - 41), base])
        for dataset, base in (("busi", 0.8), ("busi_leak_free", 0.6))
        for variant in ("telescopic", "lora")
        for seed in (41, 42)
    ]
    write_dsc_of(tmp_path, runs)
    labels = {"telescopic": "Telescopic", "lora": "LoRA", "busi": "BUSI"}
    options = ["--results", tmp_path, "--runs", tmp_path / "dsc.csv", "--dsc", tmp_path / "dsc.csv", "--margin", 1.5]
    options += ["--names", ["published split", "leak-free split"]]
    options += ["--datasets", ["busi", "busi_leak_free"], "--labels", labels, "--note", "Made up."]
    run_main(leaks, *options, "--output", tmp_path / "leaks")
    frame, text = pd.read_csv(tmp_path / "leaks.csv"), (tmp_path / "leaks.md").read_text()
    assert frame["difference"].tolist() == pytest.approx([-20, -20])
    assert "| Telescopic | BUSI | 80.25 ± 0.35 | 60.25 ± 0.35 | -20.00 [-21.52, -18.48] |" in text
    assert "| Variant | Dataset | Published split | Leak-free split |" in text
    assert "| worse |" in text and "less than 1.5 points apart" in text and "Made from 8 runs" in text
