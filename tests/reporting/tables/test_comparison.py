"""Table ``comparison``: its files, and what it says about itself."""

import numpy as np
import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import run_main

from pipeline.evaluation.statistics import COLUMNS
from pipeline.reporting.tables import comparison
from pipeline.runtime.errors import PipelineError


def test_command_line(tmp_path):
    generator = np.random.default_rng(5)
    runs = []
    for dataset, cases in (("bkai", 30), ("busi", 20), ("isic16", 25)):
        base = generator.uniform(0.4, 0.8, cases)
        for variant, gain in (("lora", -0.1), ("telescopic", 0.0), ("zero_shot", -0.3)):
            for seed in (41, 42):
                scores = base + gain + generator.uniform(-0.02, 0.02, cases)
                runs.append(write_run(tmp_path, dataset, variant, seed, scores))
    options = ["--results", tmp_path, "--runs", write_dsc_of(tmp_path, runs), "--bootstrap", "300"]
    options += ["--labels", {"telescopic": "Telescopic & co", "bkai": "Polyps"}, "--note", "Demo: not comparable."]
    options += ["--output", tmp_path / "comparison"]
    files = {ending: tmp_path / f"comparison.{ending}" for ending in ("csv", "md", "tex")}
    run_main(comparison, *options, "--reference", "telescopic")
    table = pd.read_csv(files["csv"])
    assert list(table.columns) == COLUMNS and len(table) == 12
    zero_shot = table[(table["dataset"] == "bkai") & (table["variant"] == "zero_shot")].iloc[0]
    assert zero_shot["difference"] == pytest.approx(-30, abs=1) and zero_shot["p_holm"] < 0.001
    # The reference has no difference; nine digits are enough for everything else.
    rows = files["csv"].read_text().splitlines()
    assert ",,,,,,,," in next(row for row in rows if row.startswith("bkai,telescopic"))
    assert all(len(value.strip("-0.").replace(".", "")) <= 9 for row in rows[1:] for value in row.split(",")[5:11])
    printed = files["md"].read_text()
    assert "> Demo: not comparable." in printed and "| lora | Polyps | 30 |" in printed
    assert "What cannot be concluded: With 3 datasets no test across datasets can give p below 0.25" in printed
    assert "corrected for the 6 comparisons within datasets" in printed and "300 resamples" in printed
    assert "Telescopic & co 1.00, lora 2.00, zero_shot 3.00" in printed
    assert "Made from 18 runs (3 datasets, 3 variants, 2 seeds)" in printed
    latex = files["tex"].read_text()
    assert r"Telescopic \& co" in latex
    assert latex.count(r"\midrule") == 4  # below the header and between the four blocks
    before = {kind: path.read_bytes() for kind, path in files.items()}
    run_main(comparison, *options, "--reference", "telescopic")
    assert before == {kind: path.read_bytes() for kind, path in files.items()}
    with pytest.raises(PipelineError, match="--reference: 'vlsm_dense' has no run"):
        run_main(comparison, *options, "--reference", "vlsm_dense")
