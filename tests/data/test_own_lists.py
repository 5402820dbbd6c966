"""Split lists and prompts of a dataset of one's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.own_lists import divide, prompts, see
from pipeline.data.sources import MadeLists

LISTS = MadeLists(target="polyp", organ="colon")


def mask(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """A mask of 90 x 90 pixels with these boxes (top, bottom, left, right)."""
    result = np.zeros((90, 90), bool)
    for top, bottom, left, right in boxes:
        result[top:bottom, left:right] = True
    return result


def test_prompts_say_word_by_word_more():
    two = see(mask((0, 20, 0, 20), (70, 80, 40, 50), (45, 46, 45, 46)))
    assert prompts(two, LISTS, (0.1, 0.3)) == {
        "p0": "",
        "p1": "polyp",
        "p2": "polyp in the colon",
        "p3": "small polyp in the colon",
        "p4": "two small polyp in the colon",
        "p5": "two small polyp in the colon, located in top left, bottom of the image",
    }
    large = prompts(see(mask((10, 80, 10, 80))), MadeLists(target="naevus"), (0.1, 0.3))
    assert large["p2"] == "naevus" and large["p5"] == "one large naevus, located in center of the image"
    many = see(mask(*((row, row + 5, 10, 15) for row in range(0, 80, 10))))
    assert prompts(many, LISTS, (0.1, 0.3))["p4"].startswith("several small polyp")


def test_an_empty_mask_cannot_be_read_from_its_prompt():
    texts = prompts(see(mask()), LISTS, (0.1, 0.3))
    assert set(texts) == {"p0", "p1", "p2", "p3", "p4", "p5"}
    assert set(texts.values()) == {"", "polyp", "polyp in the colon"}


@given(st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]), min_size=8, max_size=80), st.integers(0, 99))
def test_patients_stay_together_and_every_split_has_some(patients, seed):
    subjects = {f"case{index}": patient for index, patient in enumerate(patients)}
    alone = sum(patient == "" for patient in patients)
    lists = MadeLists(target="x", val=0.2, test=0.2, seed=seed)
    if alone + len({*patients} - {""}) < 3:
        with pytest.raises(ValueError, match="cannot be divided into train, val, test"):
            divide(subjects, lists)
        return
    splits = divide(subjects, lists)
    assert splits.keys() == subjects.keys() and {*splits.values()} == {"train", "val", "test"}
    for patient in {*patients} - {""}:
        assert len({splits[case] for case in subjects if subjects[case] == patient}) == 1
    assert splits == divide(dict(reversed(subjects.items())), lists)
    if alone == len(patients):
        assert list(splits.values()).count("test") == max(1, round(0.2 * len(patients)))


def test_shares_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ValueError, match="leave no case for training"):
        MadeLists(target="x", val=0.5, test=0.5)
