"""Table ``transfer`` from literal scores."""

import pandas as pd
import pytest

from pipeline.reporting.tables import transfer
from pipeline.runtime.errors import PipelineError


def test_cells(study, render, tmp_path):
    runs = pd.read_csv(study / "dsc.csv")
    runs[runs["variant"] == "telescopic"].to_csv(tmp_path / "reference.csv", index=False)
    table, text = render(transfer, study, "--runs", tmp_path / "reference.csv", "--scores", study / "transfer")
    assert list(table.columns) == [
        *("variant", "train_dataset", "test_dataset", "seed", "cases", "dsc", "iou", "hd95", "misses")
    ]
    row = table[(table["train_dataset"] == "busi") & (table["test_dataset"] == "bkai")]
    assert row["dsc"].tolist() == pytest.approx([0.45, 0.47]) and row["cases"].tolist() == [2, 2]
    # Datasets in the order of the runs, not in that of the scores.
    assert "| Trained on | BUSI | BKAI | Mean of the others |" in text and "Made from 4 runs" in text
    assert "| Telescopic, ours, BUSI | **76.00** ± 1.41 | <u>46.00</u> ± 1.41 | 46.00 ± 1.41 |" in text


def test_missing_scores_are_named(study, render):
    with pytest.raises(PipelineError, match=r"transfer/bkai/zero_shot/seed41/per_case.csv: cannot be read"):
        render(transfer, study, "--scores", study / "transfer")
