"""Scores of a released checkpoint: those of the run that was exported as such, under both conventions for masks."""

import numpy as np
import pandas as pd
import pytest
from evaluation_support import call
from PIL import Image
from scoring_support import RUN, plain_probabilities, plain_scores

from pipeline.data.conventions import CONVENTIONS
from pipeline.data.tensors import load_split
from pipeline.evaluation import score_released, score_run
from pipeline.evaluation.per_case import read_per_prompt
from pipeline.models.checkpoints import export
from pipeline.models.segmenter import Segmenter


@pytest.fixture(scope="module")
def scored(study, tmp_path_factory):
    """per_prompt.csv of each convention, and of how many images the vision states were computed."""
    folder, calls, states = tmp_path_factory.mktemp("released"), [], Segmenter.vision_states
    export(study.results / RUN, study.results / "backbone", folder / "checkpoint")
    shared = {name: value for name, value in study.options.items() if name != "weights"}
    shared |= {"tensors": study.results / "tensors/busi", "checkpoint": folder / "checkpoint"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segmenter, "vision_states", lambda self, x: calls.append(len(x)) or states(self, x))
        call(score_released.main, output=folder, **shared)
    return {name: read_per_prompt(folder / name) for name in CONVENTIONS}, sum(calls)


def test_an_exported_run_scores_as_the_run_does(study, scored, tmp_path):
    tables, images = scored
    assert images == 5  # each once, for both conventions and all prompts
    for convention, table in tables.items():
        options = {"masks": convention, "per_prompt": tmp_path / "per_prompt.csv"}
        tensors = (study.results / "tensors/busi",)
        call(score_run.main, tensors=tensors, output=tmp_path / "per_case.csv", **study.options, **options)
        pd.testing.assert_frame_equal(table, read_per_prompt(tmp_path))


def test_against_plain_code(study, scored):
    """At both sizes; of the second case only, the reference sees another mask."""
    tables, _ = scored
    split = load_split(study.results / "tensors/busi", "test")
    for index, probability in enumerate(plain_probabilities(study.results, split.images, ["polyp"] * 5)):
        for convention, table in tables.items():
            row = table[(table["prompt_type"] == "p1") & (table["case"] == f"{index:03}")].iloc[0]
            target = split.target(index, convention)
            small = np.asarray(Image.fromarray(target).resize(probability.shape[::-1], Image.Resampling.NEAREST))
            for column, mask in (("dsc", target), ("dsc_input_size", small)):
                assert row[column] == pytest.approx(plain_scores(probability, mask, study.threshold)[0], abs=2e-3)
    corrected, reference = (table[table["prompt_type"] == "p1"].reset_index() for table in tables.values())
    for column in ("dsc", "dsc_input_size"):
        assert (corrected[column] != reference[column]).tolist() == [False, True, False, False, False]
