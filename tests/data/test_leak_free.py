"""The leak-free split: what is related, and where it goes."""

import itertools
import random
from collections import Counter

import data_support
import numpy as np
import pytest
from PIL import Image

from pipeline.data.fingerprints import fingerprint
from pipeline.data.leak_free import related, separate
from pipeline.data.splits import Record
from pipeline.runtime.errors import PipelineError


def records(**cases):
    """Records of each split, named by its cases."""
    return [Record(case, split, None, {"p1": "polyp"}) for split, names in cases.items() for case in names]


def splits_of(found):
    return {record.case: record.split for record in found}


def test_subjects_near_duplicates_and_scenes_are_related():
    rng = np.random.default_rng(0)
    scenes = [Image.fromarray(data_support.scene(rng, (160, 120))) for _ in range(12)]
    images = {str(number): scene for number, scene in enumerate(scenes, start=1)}
    images["9"] = images["2"].point(lambda level: level * 0.95)  # a near duplicate
    images["5"] = Image.blend(images["4"], images["5"], 0.4)  # the same scene, but no near duplicate
    prints = {case: fingerprint(image) for case, image in images.items()}
    subjects = dict.fromkeys(images, "") | {"9": "a", "11": "a", "7": "b"}
    assert related(prints, subjects, frames=False) == [("11", "2", "9")]
    assert related(prints, subjects, frames=True) == [("11", "2", "9"), ("4", "5")]
    shuffled = dict(random.Random(1).sample(list(prints.items()), len(prints)))
    assert related(shuffled, subjects, frames=True) == [("11", "2", "9"), ("4", "5")]


def test_related_cases_are_in_one_split_and_most_test_cases_stay():
    listed = records(train="abcdefgh" + "ijklmnopqrstuvwxyz0123456789", val="AB", test="TUVW")
    # Two of the pairs can stay in test, in exchange for the other two.
    groups = [("a", "T"), ("b", "U"), ("c", "V"), ("d", "W")]
    found = separate(listed, groups)
    assert Counter(record.split for record in found) == {"train": 36, "val": 2, "test": 4}
    split_of = splits_of(found)
    assert all(split_of[one] == split_of[two] for one, two in groups)
    assert sum(split_of[case] == "test" for case in "TUVW") == 2
    assert [record.split for record in found] == sorted((r.split for r in found), key=("train", "val", "test").index)
    assert {record.case for record in found if record.split == "val"} == {"A", "B"}


def test_cases_without_relatives_stay_and_groups_of_one_side_too():
    listed = records(train="abc", val="de", test="fg")
    assert separate(listed, [("a", "c"), ("f", "g")]) == listed
    assert separate(listed, []) == listed
    assert separate(listed, [("a", "not listed")]) == listed


@pytest.mark.parametrize("seed", range(12))
def test_the_assignment_is_the_best_one_and_does_not_depend_on_the_order(seed):
    rng = random.Random(seed)
    cases = [f"{index:02}" for index in range(60)]
    sides = ["train"] * 20 + ["val"] * 20 + ["test"] * 20
    rng.shuffle(sides)
    listed = sorted(records(**{s: [c for c, side in zip(cases, sides, strict=True) if side == s] for s in set(sides)}),
                    key=lambda record: ("train", "val", "test").index(record.split))  # fmt: skip
    pool, groups = rng.sample(cases, 18), []
    while pool:
        size = rng.randint(2, 4)
        groups += [tuple(sorted(pool[:size]))] if len(pool) > 1 else []
        pool = pool[size:]
    groups.sort()
    published = splits_of(listed)

    def value(split_of):
        """What is maximised, or None if a split's size is off by more than one in twenty."""
        sizes = Counter(split_of.values())
        if any(abs(sizes[split] - 20) > 1 for split in ("train", "val", "test")):
            return None
        stay = Counter(split for case, split in split_of.items() if split == published[case])
        return stay["test"], stay["val"], stay["train"], -sum(abs(sizes[s] - 20) for s in sizes)

    every = itertools.product(("train", "val", "test"), repeat=len(groups))
    options = [published | {c: s for group, s in zip(groups, choice, strict=True) for c in group} for choice in every]
    best = max(found for option in options if (found := value(option)) is not None)
    found = splits_of(separate(listed, groups))
    assert value(found) == best
    assert all(len({found[case] for case in group}) == 1 for group in groups)
    assert splits_of(separate(rng.sample(listed, len(listed)), groups)) == found


def test_groups_that_fit_nowhere_are_an_error():
    listed = records(train="abcdefgh", val="ij", test="kl")
    message = r"2 groups of related cases, the largest of 7, cannot be divided .* within 5%; use split: deduplicated"
    with pytest.raises(PipelineError, match=message):
        separate(listed, [tuple("abcdefk"), tuple("ghijl")])
