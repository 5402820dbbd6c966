"""Prepared tensors and their reader."""

import dataclasses
import errno
import io

import data_support
import numpy as np
import pytest
from data_support import standardised
from PIL import Image

from pipeline.data.cases import read_cases, write_cases
from pipeline.data.tensors import load_split, prepare
from pipeline.runtime.errors import PipelineError

SIZE = 32


@pytest.fixture
def made():
    return data_support.make_busi()


@pytest.fixture
def folder(made, tmp_path):
    return standardised(made, tmp_path)


@pytest.fixture
def tensors(folder, tmp_path):
    prepare(folder, SIZE, 2, tmp_path / "tensors" / "busi")
    return tmp_path / "tensors" / "busi"


def test_splits_are_memory_mapped_and_in_order(tensors):
    train, val, test = (load_split(tensors, split) for split in ("train", "val", "test"))
    assert [len(split) for split in (train, val, test)] == [3, 1, 1]
    assert train.images.shape == (3, SIZE, SIZE, 3)
    assert train.masks.shape == (3, SIZE, SIZE)
    assert train.images.dtype == train.masks.dtype == np.uint8
    assert isinstance(train.images, np.memmap)
    assert isinstance(train.masks, np.memmap)
    assert list(train.cases["case"]) == ["1_benign", "2_malignant", "3_normal"]
    assert list(test.cases["case"]) == ["5_malignant"]
    assert test.cases.index.tolist() == [0]
    assert train.cases["prompts"][0]["p2"] == ["round lesion", "lesion of 1_benign"]
    assert list(val.cases["group"]) == ["benign"]


def test_images_are_resized_as_pillow_does(made, tensors):
    train = load_split(tensors, "train")
    source = Image.open(io.BytesIO(made.members[made.path("benign (1).png")])).convert("RGB")
    expected = np.asarray(source.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    assert (train.images[0] == expected).all()
    # A grey file becomes three equal channels.
    assert (train.images[0][..., 0] == train.images[0][..., 2]).all()


def test_shrinking_is_antialiased(tmp_path):
    made = data_support.make_busi()
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (30, 20))
    made.members[made.path("benign (1).png")] = data_support.encode(stripes)
    prepare(standardised(made, tmp_path), 10, 1, tmp_path / "t")
    levels = load_split(tmp_path / "t", "train").images[0][:, 1:-1]
    assert np.abs(levels.astype(int) - 127).max() < 20


def test_masks_are_nearest_and_targets_as_large_as_the_image(folder, tensors):
    for split in ("train", "val", "test"):
        data = load_split(tensors, split)
        for index, case in enumerate(data.cases.itertuples()):
            mask = Image.open(folder / "masks" / f"{case.case}.png")
            expected = np.asarray(mask.resize((SIZE, SIZE), Image.Resampling.NEAREST)) // 255
            assert (data.masks[index] == expected).all()
            target = data.target(index)
            assert target.dtype == bool
            assert target.shape == (case.height, case.width) == (30, 40)
            assert (target == (np.asarray(mask) > 0)).all()
            assert target.sum() == case.foreground


@pytest.mark.parametrize("masks", ["corrected", "reference"])
def test_targets_are_kept_as_the_study_and_as_the_reference_reads_masks(tmp_path, masks):
    folder = standardised(data_support.make_kvasir(), tmp_path)
    (folder / "masks_reference/cju1.png").unlink()
    table = folder / "cases.csv"
    cases = read_cases(table)
    write_cases(
        table, [dataclasses.replace(case, reference_mask_sha256="") if case.case == "cju1" else case for case in cases]
    )
    prepare(folder, SIZE, 2, tmp_path / "t", masks)
    names = {"corrected": "masks", "reference": "masks_reference"}
    for split in ("train", "val", "test"):
        data = load_split(tmp_path / "t", split)
        assert data.convention == masks
        for index, case in enumerate(data.cases["case"]):
            expected = {}
            for convention, name in names.items():
                with Image.open(folder / ("masks" if case == "cju1" else name) / f"{case}.png") as file:
                    expected[convention] = np.asarray(file) > 0
                    small = np.asarray(file.resize((SIZE, SIZE), Image.Resampling.NEAREST)) > 0
                assert (data.target(index, convention) == expected[convention]).all()
                if convention == masks:
                    assert (data.masks[index] == small).all()
            assert (data.target(index) == expected[masks]).all()
            assert (expected["corrected"] == expected["reference"]).all() == (case == "cju1")


def test_targets_of_odd_sizes(tmp_path):
    made = data_support.make_busi(("train", "val", "test"))
    rng = np.random.default_rng(0)
    masks = {}
    for number, group, size in ((1, "benign", (7, 5)), (2, "malignant", (13, 11)), (3, "normal", (3, 3))):
        mask = rng.random(size[::-1]) > 0.5
        masks[f"{number}_{group}"] = mask
        made.members[made.path(f"{group} ({number}).png")] = data_support.encode(data_support.scene(rng, size))
        made.members[made.path(f"({number})_mask.png")] = data_support.encode(data_support.grey(mask))
    del made.members[made.path("_mask_1.png")]
    prepare(standardised(made, tmp_path), 16, 1, tmp_path / "t")
    for split, (_, mask) in zip(("train", "val", "test"), masks.items(), strict=True):
        assert (load_split(tmp_path / "t", split).target(0) == mask).all()


def test_numbers_and_no_value_stay_names(tmp_path):
    made = data_support.make_kvasir(("train", "val", "test"))
    for split, name in (("train", "001"), ("val", "NA"), ("test", "1e5")):
        old = made.lists[split][0]["img_name"].removesuffix(".png")
        made.lists[split][0]["img_name"] = f"{name}.png"
        for kind in ("images", "masks"):
            key = made.path(f"{kind}/{old}.jpg")
            made.members[key[0], f"Kvasir-SEG/{kind}/{name}.jpg"] = made.members.pop(key)
    prepare(standardised(made, tmp_path), 16, 1, tmp_path / "t")
    names = [load_split(tmp_path / "t", split).cases["case"][0] for split in ("train", "val", "test")]
    assert names == ["001", "NA", "1e5"]


def test_two_runs_write_the_same_bytes(folder, tensors, tmp_path):
    prepare(folder, SIZE, 1, tmp_path / "again")
    for path in tensors.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_full_disk_is_seen_before_anything_is_written(folder, tmp_path, monkeypatch):
    def full(descriptor, offset, length):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pipeline.data.tensors.os.posix_fallocate", full)
    with pytest.raises(PipelineError, match=r"no room for images\.npy, 0 MiB \(No space left on device\); make room"):
        prepare(folder, SIZE, 1, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_what_is_not_there(tensors, tmp_path):
    with pytest.raises(PipelineError, match=r"no prepared tensors.*pipeline\.data\.tensors"):
        load_split(tmp_path / "nowhere", "train")
    with pytest.raises(PipelineError, match="no record of split 'dev'; it has train, val, test"):
        load_split(tensors, "dev")
    (tensors / "masks.npy").unlink()
    with pytest.raises(PipelineError, match="no prepared tensors"):
        load_split(tensors, "train")


def test_a_damaged_dataset_is_refused(folder, tmp_path):
    Image.new("L", (5, 5)).save(folder / "masks" / "1_benign.png")
    with pytest.raises(PipelineError, match=r"case 1_benign: mask of .5, 5. pixels where cases\.csv says .40, 30."):
        prepare(folder, SIZE, 2, tmp_path / "t")
    (folder / "images" / "2_malignant.png").unlink()
    (folder / "images" / "1_benign.png").unlink()
    with pytest.raises(PipelineError, match="standardise the dataset again"):
        prepare(folder, SIZE, 2, tmp_path / "t")
    assert not (tmp_path / "t").exists()
