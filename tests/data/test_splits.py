"""Split lists and prompts."""

import json
import random
from collections import Counter

import pandas as pd
import pytest

from pipeline.data.prompts import EVALUATION, all_prompts, draw_prompt
from pipeline.data.splits import Record, deduplicate, read_split_lists, repeated
from pipeline.runtime.errors import PipelineError

PROMPTS = {"p0": "", "p1": "polyp", "p2": "round polyp", "p3": ["a", "b", "c"]}


def write_lists(folder, **changes):
    entry = {"img_name": "x.png", "mask_name": "x.png", "bbox": [1, 2, 3, 4], "prompts": {"p0": "", "p1": ["a"]}}
    for split in ("train", "val", "test"):
        (folder / f"{split}.json").write_text(json.dumps([entry | {"img_name": f"{split}.jpeg"} | changes]))


def test_records_come_train_first_and_by_stem(tmp_path):
    write_lists(tmp_path)
    assert read_split_lists(tmp_path) == [
        Record(split, split, (1, 2, 3, 4), {"p0": "", "p1": ["a"]}) for split in ("train", "val", "test")
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"img_name": "../x.png"}, "plain file name"),
        ({"img_name": 3}, "plain file name"),
        ({"prompts": {}}, "must be an object"),
        ({"prompts": {"p1": []}}, r"prompts\.p1"),
        ({"prompts": {"p1": [1]}}, r"prompts\.p1"),
        ({"bbox": [1, 2, 3]}, "four integers"),
        ({"bbox": 5}, "entry 0"),
    ],
)
def test_a_malformed_entry_is_named(tmp_path, changes, message):
    write_lists(tmp_path, **changes)
    with pytest.raises(PipelineError, match=rf"train\.json: entry 0.*{message}|{message}"):
        read_split_lists(tmp_path)


def test_a_missing_or_broken_list_is_named(tmp_path):
    write_lists(tmp_path)
    (tmp_path / "val.json").write_text("[{")
    with pytest.raises(PipelineError, match=r"val\.json: not valid JSON"):
        read_split_lists(tmp_path)
    (tmp_path / "train.json").unlink()
    with pytest.raises(PipelineError, match=r"train\.json: cannot be read"):
        read_split_lists(tmp_path)


def record(case, split):
    return Record(case, split, None, PROMPTS)


def test_deduplication_keeps_the_later_split_and_one_of_each():
    records = [
        record("a", "train"),
        record("a", "train"),
        record("b", "train"),
        record("c", "train"),
        record("d", "train"),
        record("b", "val"),
        record("c", "test"),
        record("e", "test"),
        record("e", "test"),
    ]
    kept, dropped = deduplicate(records)
    assert [(r.split, r.case) for r in kept] == [
        ("train", "a"), ("train", "d"), ("val", "b"), ("test", "c"), ("test", "e"),
    ]  # fmt: skip
    assert [(r.split, r.case) for r in dropped] == [("train", "a"), ("train", "b"), ("train", "c"), ("test", "e")]
    assert repeated(records) == {
        "a": ["train", "train"], "b": ["train", "val"], "c": ["train", "test"], "e": ["test", "test"],
    }  # fmt: skip


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
