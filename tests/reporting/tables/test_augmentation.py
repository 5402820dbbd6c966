"""Table ``augmentation`` from literal scores."""

import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import run_main

from pipeline.reporting.tables import augmentation

GAIN = {"lora": 0.05, "telescopic": 0.0}


def test_each_method_is_compared_with_itself(tmp_path):
    runs = []
    for method, gain in GAIN.items():
        for seed, noise in ((41, 0.0), (42, 0.001), (43, 0.002)):
            for dataset, level in (("busi", 0.7), ("bkai", 0.8)):
                runs.append(write_run(tmp_path, dataset, method, seed, [level, level + 2 * noise]))
                runs.append(write_run(tmp_path, dataset, f"{method}_light", seed, [level + gain, level + gain]))
    # A seed that one of the two lacks takes no part.
    runs += [write_run(tmp_path, dataset, "telescopic", 44, [0.1, 0.1]) for dataset in ("busi", "bkai")]
    write_dsc_of(tmp_path, runs)
    options = ["--results", tmp_path, "--runs", tmp_path / "dsc.csv", "--dsc", tmp_path / "dsc.csv", "--margin", 1]
    options += ["--datasets", ["busi", "bkai"], "--methods", {name: f"{name}_light" for name in GAIN}]
    labels = {"lora": "LoRA", "telescopic": "Telescopic", "busi": "BUSI", "bkai": "BKAI"}
    run_main(augmentation, *options, "--labels", labels, "--note", "Made up.", "--output", tmp_path / "made")
    table, text = pd.read_csv(tmp_path / "made.csv"), (tmp_path / "made.md").read_text()
    assert table["dataset"].tolist() == [name for name in ("busi", "bkai", "average") for _ in GAIN]
    rows = table.set_index(["variant", "dataset"])
    assert rows.loc[("lora", "busi"), ["before", "after", "difference"]].tolist() == pytest.approx([70.1, 75, 4.9])
    assert rows.loc[("telescopic", "average"), ["before", "after"]].tolist() == pytest.approx([75.1, 75])
    assert rows["seeds"].eq(3).all()
    assert rows["outcome"].groupby("variant", sort=False).agg(set).to_dict() == {
        "lora": {"better"},
        "telescopic": {"equivalent"},
    }
    assert "| LoRA | BUSI | 70.10 ± 0.10 | 75.00 ± 0.00 | +4.90 [+4.65, +5.15] |" in text
    assert "| Variant | Dataset | None | Light |" in text and "Made from 26 runs" in text
