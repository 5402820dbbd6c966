"""Split lists and prompts of Oxford-IIIT Pet, made from its archives."""

import io
import json
import tarfile
from collections import Counter

import numpy as np
import pytest
from data_support import encode

from pipeline.data.pet_lists import Pet, divide, make_lists, prompts, read_list
from pipeline.data.splits import read_split_lists
from pipeline.data.standardise import standardise
from pipeline.runtime.errors import PipelineError

CASES = [f"{breed}_{number}" for breed in ("Abyssinian", "great_pyrenees") for number in range(1, 11)]


def trimap(rows, columns):
    """A trimap of 30 x 40 with a pet in these slices and a border of two pixels around it."""
    levels = np.full((30, 40), 2, dtype=np.uint8)
    levels[rows.start - 2 : rows.stop + 2, columns.start - 2 : columns.stop + 2] = 3
    levels[rows, columns] = 1
    return levels


def line(case):
    return f"{case} 1 {1 if case[0].isupper() else 2} 1"


@pytest.fixture
def members():
    """The members of both archives; twelve of the cases are in trainval."""
    images = {f"images/{case}.jpg": encode(np.full((30, 40, 3), 99, np.uint8), "JPEG") for case in CASES}
    masks = {f"annotations/trimaps/{case}.png": encode(trimap(slice(4, 9), slice(5, 12))) for case in CASES}
    lists = {"trainval": CASES[:12], "test": CASES[12:]}
    texts = {
        f"annotations/{name}.txt": "\n".join(["# Image CLASS-ID SPECIES BREED-ID", *map(line, cases)]).encode()
        for name, cases in lists.items()
    }
    return {"images.tar.gz": images, "annotations.tar.gz": masks | texts}


def write(members, folder):
    folder.mkdir()
    for name, files in members.items():
        with tarfile.open(folder / name, "w:gz") as archive:
            for path, content in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return folder


def test_lists_are_the_archives_own_and_a_tenth_of_trainval_is_for_validation(members, tmp_path):
    archives = write(members, tmp_path / "archives")
    make_lists(archives, 2, tmp_path / "lists")
    records = read_split_lists(tmp_path / "lists")
    assert Counter(record.split for record in records) == {"train": 10, "val": 2, "test": 8}
    assert {record.case for record in records if record.split == "test"} == set(CASES[12:])
    (record,) = [record for record in records if record.case == "great_pyrenees_9"]
    # 9 x 11 of 30 x 40 pixels with the border, in the upper left.
    assert record.prompts["p6"] == "one small great pyrenees dog at the top left of the image"
    assert record.bbox is None
    standardise("oxford_pet", archives, tmp_path / "lists", "published", 0, 2, tmp_path / "dataset")
    make_lists(archives, 1, tmp_path / "again")
    for split in ("train", "val", "test"):
        assert (tmp_path / "again" / f"{split}.json").read_bytes() == (tmp_path / f"lists/{split}.json").read_bytes()


def test_prompts_grow_word_by_word():
    found = prompts(Pet("Persian_1", "cat", "Persian"), "large", "center")
    assert list(found) == [f"p{index}" for index in range(10)]
    assert [found[f"p{index}"] for index in range(5)] == ["", "cat", "Persian cat", "large cat", "large Persian cat"]
    assert found["p6"] == "one large Persian cat at the center of the image"
    assert all(isinstance(found[name], list) for name in ("p7", "p8", "p9"))
    assert json.loads(json.dumps(found)) == found


def test_validation_is_spread_over_the_breeds_and_depends_on_names_alone():
    pets = read_list("\n".join(line(f"{breed}_{n}") for breed in ("Persian", "pug", "beagle") for n in range(100)))
    train, val = divide(pets)
    assert len(val) == 30 and not set(train) & set(val) and set(train) | set(val) == set(pets)
    assert Counter(pet.breed for pet in val) == {"Persian": 10, "pug": 10, "beagle": 10}
    assert set(divide(pets[::-1])[1]) == set(val)


def broken(name, content):
    return lambda members: members["annotations.tar.gz"].update({f"annotations/{name}": content})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda members: members["annotations.tar.gz"].pop("annotations/test.txt"), "no annotations/test.txt"),
        (broken("test.txt", b"Abyssinian_1 1 3 1"), r"test\.txt: 'Abyssinian_1 1 3 1' is not an image"),
        (broken("test.txt", b"Persian_7 1 1 1"), "no trimap of 1 listed cases, e.g. Persian_7"),
        (broken("trimaps/Abyssinian_1.png", encode(np.eye(9, dtype=np.uint8))), "Abyssinian_1.png is no trimap"),
        (broken("trimaps/Abyssinian_1.png", encode(np.full((9, 9), 2, np.uint8))), "Abyssinian_1.png is empty"),
        (broken("trimaps/Abyssinian_1.png", b"?"), r"Abyssinian_1.png does not decode \(not an image\)"),
    ],
)
def test_what_cannot_be_used_is_named(members, tmp_path, spoil, message):
    spoil(members)
    with pytest.raises(PipelineError, match=rf"{message}.*fetch the official archives again"):
        make_lists(write(members, tmp_path / "archives"), 2, tmp_path / "lists")
    assert not (tmp_path / "lists").exists()
