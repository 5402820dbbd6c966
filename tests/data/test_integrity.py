"""The checks of a standardised dataset."""

import json

import data_support
import numpy as np
import pytest
from data_support import standardised, verified
from PIL import Image

from pipeline.data import integrity as module
from pipeline.data.integrity import mask_box
from pipeline.runtime.errors import PipelineError


@pytest.mark.parametrize(
    ("pixels", "size", "box"),
    [
        ([(5, 3)], (10, 8), (4, 2, 6, 4)),
        ([(0, 0), (9, 7)], (10, 8), (0, 0, 10, 8)),
        ([], (10, 8), (10, 8, 0, 0)),
    ],
)
def test_boxes_follow_the_lists_convention(pixels, size, box):
    mask = np.zeros(size[::-1], dtype=bool)
    for x, y in pixels:
        mask[y, x] = True
    assert mask_box(mask) == box


@pytest.mark.parametrize("dataset", data_support.MAKERS)
def test_a_complete_dataset(dataset, tmp_path):
    made = data_support.MAKERS[dataset]()
    standardised(made, tmp_path)
    proof = verified(made, tmp_path)
    assert proof["records"] == proof["cases"] == {"train": 3, "val": 1, "test": 1}
    assert proof["boxes"] == {"compared": 5, "largest_difference": 0}
    assert proof["missing"] == proof["dropped"] == []
    assert proof["annotations_pinned"] is False
    assert proof["empty_masks"] == ([["train", "3_normal"]] if dataset == "busi" else [])
    assert len(proof["grey_images"]) == (5 if dataset == "busi" else 0)
    assert len(proof["fingerprints"]) == 5


def test_two_exchanged_masks_are_found_by_their_boxes(tmp_path):
    made = data_support.make_kvasir()
    one, two = made.path("masks/cju0.jpg"), made.path("masks/cju1.jpg")
    made.members[one], made.members[two] = made.members[two], made.members[one]
    folder = standardised(made, tmp_path)
    with pytest.raises(PipelineError, match=r"kvasir_seg: 2 of 5 annotated boxes differ.*cju0 \(train\): mask .*cju1"):
        verified(made, tmp_path)
    assert not (folder / "integrity.json").exists()
    assert verified(made, tmp_path, verify_boxes=False)["boxes"] is None


def test_boxes_may_differ_by_three_pixels_and_not_by_four(tmp_path):
    made = data_support.make_kvasir()
    made.lists["train"][0]["bbox"][2] += 3
    standardised(made, tmp_path / "a")
    assert verified(made, tmp_path / "a")["boxes"] == {"compared": 5, "largest_difference": 3}
    made.lists["train"][0]["bbox"][2] += 1
    standardised(made, tmp_path / "b")
    with pytest.raises(PipelineError, match="1 of 5 annotated boxes differ from the masks' by more than 3 px"):
        verified(made, tmp_path / "b")


def test_a_folder_half_deleted(tmp_path):
    made = data_support.make_busi()
    folder = standardised(made, tmp_path)
    (folder / "images" / "1_benign.png").unlink()
    (folder / "masks" / "2_malignant.png").unlink()
    with pytest.raises(
        PipelineError, match=r"2 of 5 cases are damaged: 1_benign: image .* is missing; 2_malignant: mask"
    ):
        verified(made, tmp_path)
    for path in (folder / "masks").iterdir():
        path.unlink()
    (folder / "masks").rmdir()
    with pytest.raises(PipelineError, match=r"5 of 5 cases are damaged.*standardise it again"):
        verified(made, tmp_path)


def test_a_mask_as_the_reference_reads_it_is_checked_too(tmp_path):
    made = data_support.make_kvasir()
    folder = standardised(made, tmp_path)
    path = folder / "masks_reference" / "cju1.png"
    content = path.read_bytes()
    path.write_bytes(content + b"x")
    with pytest.raises(
        PipelineError, match=r"cju1: reference_mask cju1\.png is not the file that cases\.csv describes"
    ):
        verified(made, tmp_path)
    path.write_bytes(content)
    path.with_name("stray.png").write_bytes(b"x")
    with pytest.raises(PipelineError, match=r"belong to no case: masks_reference/stray\.png"):
        verified(made, tmp_path)


def test_a_changed_file(tmp_path):
    made = data_support.make_busi()
    folder = standardised(made, tmp_path)
    Image.new("L", data_support.SIZE).save(folder / "masks" / "1_benign.png")
    with pytest.raises(PipelineError, match=r"1_benign: mask 1_benign\.png is not the file that cases\.csv describes"):
        verified(made, tmp_path)


def test_a_file_that_belongs_to_no_case(tmp_path):
    made = data_support.make_busi()
    folder = standardised(made, tmp_path)
    (folder / "images" / "stray.png").write_bytes(b"x")
    with pytest.raises(PipelineError, match=r"1 files belong to no case: images/stray\.png"):
        verified(made, tmp_path)


def test_snakemakes_own_file_is_ignored(tmp_path):
    made = data_support.make_busi()
    folder = standardised(made, tmp_path)
    (folder / "images" / ".snakemake_timestamp").touch()
    assert verified(made, tmp_path)["cases"] == {"train": 3, "val": 1, "test": 1}


def test_lists_that_have_changed(tmp_path):
    made = data_support.make_busi()
    standardised(made, tmp_path)
    path = made.annotations(tmp_path) / "val.json"
    path.write_text(path.read_text().replace("round lesion", "round lesiom"))
    with pytest.raises(PipelineError, match=r"1 records differ from the split lists: 4_benign \(val\)"):
        verified(made, tmp_path)
    path.write_text("[]")
    with pytest.raises(PipelineError, match=r"val\.json: has no records"):
        verified(made, tmp_path)


def test_missing_and_left_out_records_are_no_error(tmp_path):
    made = data_support.make_kvasir()
    made.lists["train"].append(made.lists["test"][0])
    del made.members[made.path("images/cju1.jpg")]
    standardised(made, tmp_path, split="deduplicated", allow_missing=1)
    proof = verified(made, tmp_path)
    assert proof["missing"] == [["train", "cju1"]]
    assert proof["dropped"] == [["train", "cju4"]]
    assert proof["repeated"] == {"cju4": ["train", "test"]}
    assert proof["cases"] == {"train": 2, "val": 1, "test": 1}


def one_image_twice(made, same_mask):
    made.members[made.path("images/cju1.jpg")] = made.members[made.path("images/cju0.jpg")]
    if same_mask:
        made.members[made.path("masks/cju1.jpg")] = made.members[made.path("masks/cju0.jpg")]
        made.lists["train"][1]["bbox"] = made.lists["train"][0]["bbox"]
    return made


def test_one_image_with_two_masks_is_refused_unless_it_is_known(tmp_path, monkeypatch):
    made = one_image_twice(data_support.make_kvasir(), same_mask=True)
    standardised(made, tmp_path / "a")
    assert verified(made, tmp_path / "a")["contradictions"] == []
    made = one_image_twice(data_support.make_kvasir(), same_mask=False)
    standardised(made, tmp_path / "b")
    with pytest.raises(PipelineError, match=r"1 pairs of cases have the same image and different masks.*cju0 = cju1"):
        verified(made, tmp_path / "b")
    facts = module.dataset_facts("kvasir_seg").model_copy(update={"same_pixels": [("cju1", "cju0")]})
    monkeypatch.setattr(module, "dataset_facts", lambda name: facts)
    assert verified(made, tmp_path / "b")["contradictions"] == [["cju0", "cju1"]]


@pytest.mark.parametrize(
    "content",
    ["[]", "{", "[" * 100_000, "{}", '{"missing": 5}', '{"missing": [], "dropped": [["train"]]}',
     '{"missing": [], "dropped": [], "split": "published", "grey_images": [], "fingerprints": {"a": 1}}'],
)  # fmt: skip
def test_a_provenance_of_another_type_is_named(tmp_path, content):
    made = data_support.make_kvasir()
    folder = standardised(made, tmp_path)
    (folder / "provenance.json").write_text(content)
    with pytest.raises(PipelineError, match=r"provenance\.json: .*; standardise the dataset again"):
        verified(made, tmp_path)


def test_the_command_line(tmp_path, monkeypatch):
    made = data_support.make_busi()
    folder = standardised(made, tmp_path)
    options = {
        "dataset": "busi", "folder": folder, "annotations": made.annotations(tmp_path), "verify-boxes": "true",
        "output": folder / "integrity.json",
    }  # fmt: skip
    monkeypatch.setattr(
        "sys.argv", ["x", *(word for key, value in options.items() for word in (f"--{key}", str(value)))]
    )
    module.main()
    assert json.loads((folder / "integrity.json").read_text())["boxes"]["compared"] == 5
