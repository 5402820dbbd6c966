"""Two studies compared: scores that moved, rows, cases and settings of one of them only."""

import json

import pandas as pd
import pytest
import scipy.stats
from evaluation_support import call, write_run

from pipeline.evaluation.diff import main
from pipeline.runtime.errors import PipelineError

CASES = ["x", "y", "z"]


@pytest.fixture
def studies(tmp_path):
    """Lora moved by 1, 2 and 3 points and has another case in B, uniform is the same, others are in one study only."""
    one, other = tmp_path / "a", tmp_path / "b"
    for at, seed in enumerate((41, 42, 43), start=1):
        write_run(one, "busi", "lora", seed, [0.5, 0.6, 0.7], cases=CASES)
        moved = [score + at / 100 for score in (0.5, 0.6, 0.7)]
        run = write_run(other, "busi", "lora", seed, [*moved, 0.1], cases=[*CASES, "new"])
        manifest = json.loads((run.folder / "manifest.json").read_text())
        manifest["configuration"]["training"] = {"max_epochs": 12}
        (run.folder / "manifest.json").write_text(json.dumps(manifest))
        for study in (one, other):
            write_run(study, "busi", "uniform", seed, [0.5, 0.6, 0.7])
    write_run(one, "busi", "telescopic", 41, [0.5])
    write_run(other, "isic16", "lora", 41, [0.5])
    return one, other


def test_rows_that_moved_are_paired_over_shared_seeds_and_cases(studies, tmp_path, capsys):
    call(main, *studies, csv=tmp_path / "diff.csv")
    table = pd.read_csv(tmp_path / "diff.csv").set_index("row")
    assert list(table.index) == ["busi/lora", "busi/uniform"]
    lora, test = table.loc["busi/lora"], scipy.stats.ttest_1samp([1, 2, 3], 0)
    assert (lora["a"], lora["b"], lora["difference"], lora["p_holm"]) == pytest.approx((60, 62, 2, test.pvalue))
    assert (lora["low"], lora["high"]) == pytest.approx(tuple(test.confidence_interval()))
    assert (lora["cases_low"], lora["cases_high"]) == pytest.approx((2, 2))
    assert table[["seeds", "cases", "changed"]].to_numpy().tolist() == [[3, 3, 3], [3, 3, 0]]
    assert pd.isna(table.loc["busi/uniform", "outcome"])
    told = capsys.readouterr().out
    for line in (
        "2 rows are compared: 1 moved, 1 have the same scores; B is not resolved in 1",
        "busi/lora: 3 test cases are in both studies, 1 in one of them only",
        "in A only (busi/telescopic)",
        "in B only (isic16/lora)",
        "training.max_epochs: A absent, B 12 (busi/lora)",
    ):
        assert line in told.splitlines()


def test_the_outcome_depends_on_the_margin_and_a_study_equals_itself(studies, capsys):
    call(main, *studies, margin=8)
    assert "B is equivalent in 1" in capsys.readouterr().out
    call(main, studies[0], studies[0])
    told = capsys.readouterr().out.splitlines()
    assert told == ["3 rows are compared: 0 moved, 3 have the same scores", "no setting of training differs"]


def test_other_masks_seeds_and_columns_of_one_study_only(tmp_path, capsys):
    write_run(tmp_path / "a", "busi", "lora", 41, [0.5, 0.6])
    run = write_run(tmp_path / "b", "busi", "lora", 42, [0.5, 0.7])
    scores = pd.read_csv(run.folder / "per_case.csv", dtype={"case": str}).assign(target_pixels=[100, 7])
    scores[["case", "dsc", "target_pixels"]].to_csv(run.folder / "per_case.csv", index=False)
    call(main, tmp_path / "a", tmp_path / "b")
    told = capsys.readouterr().out
    assert "busi/lora: the masks of 1 test cases have another area" in told
    assert "B is not resolved in 1" in told


def test_no_results_and_no_manifest(tmp_path, studies):
    with pytest.raises(PipelineError, match=r"holds no scored run .* name a results folder"):
        call(main, studies[0], tmp_path / "nowhere")
    (studies[1] / "runs/busi/lora/seed42/manifest.json").unlink()
    with pytest.raises(PipelineError, match="train the run again"):
        call(main, *studies)
