"""Table ``evaluation_choices`` from literal scores."""

import pandas as pd
import pytest

from pipeline.evaluation.per_case import read_per_case
from pipeline.evaluation.runs import listed_runs
from pipeline.reporting.tables import evaluation_choices


def test_cells(study, render):
    mirrored = {"datasets": ["busi"], "seeds": {"telescopic": [42]}}
    for run in listed_runs(study, study / "dsc.csv"):
        if (run.dataset, run.variant, run.seed) == ("busi", "telescopic", 42):
            scores = read_per_case(run.folder)
            path = run.within(study / "mirrored") / "per_case.csv"
            path.parent.mkdir(parents=True)
            scores.assign(dsc=scores["dsc"] * 0.9).to_csv(path, index=False)
    options = ("--side", "96", "--masks", "corrected", "--mirrored", mirrored)
    table, text = render(evaluation_choices, study, *options)
    table = table.set_index(["dataset", "variant"])
    busi = table.loc[("busi", "telescopic")]
    # Seed 41: 0.7, 0.8 and 1 without a target; seed 42: 0.72, 0.82 and 1.
    assert busi["original"] == pytest.approx(100 * (2.5 + 2.54) / 6)
    assert busi["original_sd"] == pytest.approx(100 * (0.04 / 3) / 2**0.5, abs=1e-5)
    assert busi["input_size"] == pytest.approx(100 * (2.6 + 2.64) / 6, abs=1e-5)
    assert busi["with_target"] == pytest.approx(76) and busi["without_target"] == 100
    assert (busi["cases"], busi["cases_with_target"], busi["seeds"], busi["input_side"]) == (3, 2, 2, 96)
    assert table.loc[("busi", "zero_shot"), "without_target"] == 0
    bkai = table.loc[("bkai", "telescopic")]
    assert pd.isna(bkai["without_target"]) and bkai["with_target"] == bkai["original"]
    average = table.loc[("average", "telescopic")]
    assert average["original"] == pytest.approx(84) and average["with_target"] == pytest.approx(80)
    assert average["cases"] == 6 and average["cases_with_target"] == 5 and pd.isna(average["without_target"])
    row = next(line for line in text.splitlines() if line.startswith("| Telescopic, ours | BUSI"))
    assert "| **84.00** ± 0.94 | **87.33** ± 0.94 | +3.33 | 2 | **76.00** ± 1.41 | -8.00 | 1 | **100.00** ± 0.00" in row
    assert row.endswith("| -7.55 ± 1.10 | -8.47 | +0.00 ± 0.00 |")
    assert busi["prompt_ensemble_difference"] == pytest.approx(100 * (-0.1 * 2.5 - 0.08 * 2.54) / 6, abs=1e-5)
    assert busi["mirror_difference"] == pytest.approx(-10 * 2.54 / 3, abs=1e-5)  # of the one run that has it
    assert pd.isna(bkai["mirror_difference"])
    # No difference is shown where all cases have a target.
    row = next(line for line in text.splitlines() if line.startswith("| Telescopic, ours | BKAI"))
    assert "| +3.33 | 3 | n/a | n/a | 0 | n/a | **82.32** ± 0.92 | -1.68 |" in row
    assert "Input size (96 x 96)" in text and "Made from 8 runs" in text
    assert pd.isna(busi["reference_masks"]) and bkai["reference_masks"] == pytest.approx(82.32)
    assert table.loc[("average", "telescopic"), "reference_masks"] == pytest.approx(83.16)


def test_a_study_with_the_references_masks_shows_the_corrected_ones(study, render):
    table, text = render(evaluation_choices, study, "--side", "96", "--masks", "reference")
    assert "reference_masks" not in table and "| Corrected masks |" in text
    assert table["corrected_masks"].isna().all()  # as scored, in these runs
    assert "Mirror image, Δ" not in text and "mirror_difference" not in table
