"""Split lists."""

import json

import pytest

from pipeline.data.splits import Record, deduplicate, read_split_lists, repeated
from pipeline.runtime.errors import PipelineError


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
    return Record(case, split, None, {"p1": "polyp"})


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
