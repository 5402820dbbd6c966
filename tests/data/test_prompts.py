"""The prompt of a case."""

import random
from collections import Counter

import pandas as pd
import pytest

from pipeline.data.prompts import EVALUATION, all_prompts, draw_prompt
from pipeline.runtime.errors import PipelineError

PROMPTS = {"p0": "", "p1": "polyp", "p2": "round polyp", "p3": ["a", "b", "c"]}


def test_a_prompt_does_not_depend_on_what_was_drawn_before():
    draws = [(case, epoch) for case in "abcdef" for epoch in range(5)]
    first = {key: draw_prompt(PROMPTS, "random", 41, *key) for key in draws}
    random.Random(0).shuffle(draws)
    assert {key: draw_prompt(PROMPTS, "random", 41, *key) for key in draws} == first
    assert len(set(first.values())) > 1


def test_the_draw_is_pinned():
    # A change here changes every training run: these are what version 1 draws.
    drawn = [draw_prompt(PROMPTS, "random", 41, "cju0", epoch) for epoch in range(6)]
    assert drawn == ["polyp", "c", "round polyp", "round polyp", "round polyp", "round polyp"]
    assert draw_prompt(PROMPTS, "random", 41, "cju0") == draw_prompt(PROMPTS, "random", 41, "cju0", EVALUATION)


def test_random_takes_each_type_equally_often_and_never_p0():
    counts = Counter(draw_prompt(PROMPTS, "random", 7, f"case{index}", 0) for index in range(6000))
    assert set(counts) == {"polyp", "round polyp", "a", "b", "c"}
    assert counts["polyp"] == pytest.approx(2000, abs=150)
    assert counts["a"] == pytest.approx(667, abs=100)


def test_draws_differ_by_seed_and_case_and_epoch():
    base = [draw_prompt(PROMPTS, "random", 41, f"{index}", 0) for index in range(50)]
    assert base != [draw_prompt(PROMPTS, "random", 42, f"{index}", 0) for index in range(50)]
    assert base != [draw_prompt(PROMPTS, "random", 41, f"{index}", 1) for index in range(50)]
    assert base != [draw_prompt(PROMPTS, "random", 41, f"x{index}", 0) for index in range(50)]


def test_one_type_gives_its_strings():
    assert draw_prompt(PROMPTS, "p0", 41, "x", 3) == ""
    assert {draw_prompt(PROMPTS, "p3", 41, "x", epoch) for epoch in range(30)} == {"a", "b", "c"}


def test_a_type_that_the_dataset_lacks_names_those_it_has():
    with pytest.raises(PipelineError, match="case 1_benign has no prompt 'p7'; it has p0, p1, p2, p3, and random"):
        draw_prompt(PROMPTS, "p7", 41, "1_benign", 0)
    with pytest.raises(PipelineError, match="no prompt but p0"):
        draw_prompt({"p0": ""}, "random", 41, "x", 0)


def test_all_prompts_are_those_that_can_be_drawn():
    cases = pd.DataFrame({"case": ["x", "y"], "prompts": [PROMPTS, {"p0": "", "p1": "another"}]})
    assert all_prompts(cases, "random") == ["a", "another", "b", "c", "polyp", "round polyp"]
    assert all_prompts(cases, "p0") == [""]
    with pytest.raises(PipelineError, match="case y has no prompt 'p3'"):
        all_prompts(cases, "p3")
