"""The cases of a gallery and their predictions."""

import shutil

import numpy as np
import pandas as pd
import pytest
from evaluation_support import call
from scoring_support import RUN, SEED

from pipeline.evaluation import gallery, score_run
from pipeline.evaluation.gallery import choose_cases
from pipeline.evaluation.per_case import read_per_prompt
from pipeline.runtime.errors import PipelineError


@pytest.fixture
def results(study, tmp_path):
    """The study with its run scored under all prompt types."""
    results = shutil.copytree(study.results, tmp_path / "results")
    options = study.options | {"tensors": results / "tensors/busi", "output": results / RUN / "per_case.csv"}
    call(score_run.main, **options, per_prompt=results / RUN / "per_prompt.csv")
    return results


def _gallery(results, threshold):
    options = {"results": results, "backbone": results / "backbone", "output": results / "busi.npz"}
    options |= {"threshold": threshold, "threads": 1}
    call(gallery.main, **options, dataset="busi", variants=["telescopic"], seed=SEED)
    return np.load(results / "busi.npz")


def test_the_gallery_shows_what_was_scored(results, study):
    scored = read_per_prompt(results / RUN)
    shown, scored = _gallery(results, study.threshold), scored[scored["prompt_type"] == "p1"].set_index("case")
    assert shown["roles"].tolist() == ["best", "median", "worst", *["failure"] * 3]
    assert shown["variants"].tolist() == ["telescopic"]
    for index, case in enumerate(shown["cases"]):
        target, prediction = shown[f"target_{index}"], shown[f"prediction_{index}"][0]
        assert shown[f"image_{index}"].shape == (*target.shape, 3)
        dsc = 2 * (target & prediction).sum() / (target.sum() + prediction.sum())
        assert shown["dsc"][index, 0] == pytest.approx(scored.loc[case, "dsc"]) == pytest.approx(dsc)


def test_scores_of_other_cases_are_refused(results, study):
    path = results / RUN / "per_prompt.csv"
    path.write_text(path.read_text().replace(",003,", ",004,"))
    with pytest.raises(PipelineError, match=r"seed41/per_prompt\.csv: its cases differ from .*tensors/busi"):
        _gallery(results, study.threshold)


def test_chosen_cases():
    scores = pd.DataFrame({"case": list("abcdef"), "dsc": [0.5, 0.9, 0.1, 1.0, 0.9, 0.3], "target_pixels": 9})
    scores.loc[3, "target_pixels"] = 0  # cases without a target do not count
    chosen = [(1, "best"), (0, "median"), (2, "worst"), (5, "failure"), (0, "failure"), (4, "failure")]
    assert choose_cases(scores) == chosen
    assert choose_cases(scores[3:4]) == []
