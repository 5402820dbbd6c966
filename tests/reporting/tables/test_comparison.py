"""Table ``comparison``: its files, and what it says about itself."""

import numpy as np
import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import run_main

from pipeline.evaluation.methods import COLUMNS
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
    options += ["--margin", 1.5]
    options += ["--labels", {"telescopic": "Telescopic & co", "bkai": "Polyps"}, "--note", "Demo: not comparable."]
    options += ["--output", tmp_path / "comparison"]
    files = {ending: tmp_path / f"comparison.{ending}" for ending in ("csv", "md", "tex")}
    run_main(comparison, *options, "--reference", "telescopic")
    table = pd.read_csv(files["csv"])
    shared = [column for column in COLUMNS if column not in ("dataset", "variant")]
    names = ["dataset", "variant", "reference", "margin", *shared]
    names += [*(f"mixed_{name}" for name in ("difference", "low", "high", "p")), "cases_low", "cases_high"]
    assert list(table.columns) == names and len(table) == 8
    table = table.set_index(["dataset", "variant"])
    zero_shot, average = table.loc[("bkai", "zero_shot")], table.loc[("average", "lora")]
    assert zero_shot["difference"] == pytest.approx(-30, abs=1) == zero_shot["mixed_difference"]
    assert zero_shot["low"] < zero_shot["cases_low"] < -30 + 1 and average["outcome"] == "worse"
    assert np.isnan(average["mixed_p"]) and average["cases_high"] < -9
    # Nine digits are enough.
    rows = files["csv"].read_text().splitlines()
    digits = [value.strip("-0.").replace(".", "").split("e")[0] for row in rows[1:] for value in row.split(",")[5:]]
    assert all(len(value) <= 9 for value in digits if value.isdigit())
    printed = files["md"].read_text()
    assert "> Demo: not comparable." in printed and "| lora | Polyps | 2 | -" in printed
    assert "| worse |" in printed and "a difference of 1.5 points or more" in printed
    assert "What cannot be concluded: With 2 seeds" in printed and "300 resamples" in printed
    assert "corrected by Holm's method for the 6 comparisons within datasets" in printed
    assert "Made from 18 runs (3 datasets, 3 variants, 2 seeds)" in printed
    latex = files["tex"].read_text()
    assert r"Telescopic \& co" in latex
    assert latex.count(r"\midrule") == 4  # below the header and between the four blocks
    before = {kind: path.read_bytes() for kind, path in files.items()}
    run_main(comparison, *options, "--reference", "telescopic")
    assert before == {kind: path.read_bytes() for kind, path in files.items()}
    with pytest.raises(PipelineError, match="--reference: 'vlsm_dense' has no run"):
        run_main(comparison, *options, "--reference", "vlsm_dense")
    only = write_dsc_of(tmp_path, [run for run in runs if run.variant == "telescopic"])
    run_main(comparison, *options, "--runs", only, "--reference", "telescopic")
    assert list(files["csv"].read_text().splitlines()) == [before["csv"].decode().splitlines()[0]]
    assert "There is no other variant to compare Telescopic & co with." in files["md"].read_text()
