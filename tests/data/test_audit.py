"""Facts of the data audit."""

import io
import json

import data_support
import numpy as np
import pytest
from data_support import encode, standardised, verified
from PIL import Image

from pipeline.data.audit import audit_dataset
from pipeline.runtime.errors import PipelineError


def value_of(findings, name, splits):
    (row,) = [row for row in findings if (row.finding, row.splits) == (name, splits)]
    return row.value, row.cases


def test_an_audit_finds_what_was_planted(tmp_path):
    made = data_support.make_kvasir(("train",) * 6 + ("val", "test", "test"))
    images = "Kvasir-SEG/images"
    copy = made.members[made.path(f"{images}/cju0.jpg")]
    made.members["kvasir-seg.zip", f"{images}/cju7.jpg"] = copy
    made.members[made.path("masks/cju7.jpg")] = made.members[made.path("masks/cju0.jpg")]
    made.lists["test"][0]["bbox"] = made.lists["train"][0]["bbox"]
    near = Image.open(io.BytesIO(made.members[made.path("images/cju1.jpg")])).point(lambda level: level * 0.9)
    made.members["kvasir-seg.zip", f"{images}/cju6.jpg"] = encode(near, "JPEG", quality=95)
    made.members["kvasir-seg.zip", f"{images}/cju5.jpg"] = encode(near.convert("L").rotate(180), "JPEG")
    made.lists["train"] += [made.lists["test"][1], made.lists["train"][2]]
    del made.members[made.path("images/cju3.jpg")]
    folder = standardised(made, tmp_path, allow_missing=1)
    verified(made, tmp_path)
    findings = audit_dataset("kvasir_seg", folder)
    assert value_of(findings, "records_listed", "train") == (8, ())
    assert value_of(findings, "records_used", "train") == (7, ())
    assert value_of(findings, "missing", "train") == (1, ("cju3",))
    assert value_of(findings, "listed_more_than_once", "train-test") == (1, ("cju8",))
    assert value_of(findings, "listed_more_than_once", "train") == (1, ("cju2",))
    assert value_of(findings, "identical_pairs", "train-test") == (1, ("cju0 = cju7",))
    assert value_of(findings, "near_duplicate_pairs", "train-val") == (1, ("cju1 = cju6",))
    assert value_of(findings, "grey_images", "train") == (1, ("cju5",))
    share = 100 * (40 // 3) * (30 // 3) / (40 * 30)
    assert value_of(findings, "foreground_percent_median", "test")[0] == pytest.approx(share, abs=0.01)


def test_the_audit_of_video_frames(tmp_path):
    # Two scenes of three frames each; noise tells the frames apart.
    made = data_support.make_clinicdb(("train", "test", "train", "train", "val", "test", "train"))
    rng = np.random.default_rng(0)
    scenes = [data_support.scene(rng, (160, 120)).astype(int) for _ in range(3)]
    for frame, scene in zip(range(1, 8), (0, 0, 0, 1, 1, 1, 2), strict=True):
        pixels = np.clip(scenes[scene] + rng.integers(-25, 26, scenes[scene].shape), 0, 255).astype(np.uint8)
        made.members[made.path(f"Original/{frame}.tif")] = encode(pixels, "TIFF")
        made.members[made.path(f"Truth/{frame}.tif")] = encode(np.eye(120, 160, dtype=np.uint8) * 255, "TIFF")
    folder = standardised(made, tmp_path)
    verified(made, tmp_path, verify_boxes=False)
    findings = audit_dataset("clinicdb", folder)
    assert value_of(findings, "frames_with_a_train_neighbour", "test") == (1, ("2",))
    assert value_of(findings, "frames_with_a_train_neighbour", "val") == (1, ("5",))
    assert value_of(findings, "successive_frames_alike", "train-test") == (2, ("1 = 2", "2 = 3"))


def test_the_audit_of_a_leak_free_split(tmp_path):
    # Frames 1 and 2 are of one sequence, 26 and 27 of another: one of the two can be in test.
    sides = ("train", "test", "train", "test", "train", "val", "train")
    made = data_support.make_clinicdb(sides, frames=(1, 2, 26, 27, 51, 68, 79))
    made.members[made.path("Original/79.tif")] = made.members[made.path("Original/26.tif")]
    made.members[made.path("Truth/79.tif")] = made.members[made.path("Truth/26.tif")]
    folder = standardised(made, tmp_path, split="leak_free")
    proof = verified(made, tmp_path, verify_boxes=False)
    assert proof["cases"] == {"train": 4, "val": 1, "test": 2}
    findings = {(row.finding, row.splits): row for row in audit_dataset("clinicdb", folder)}
    assert findings["related", "train"].cases == ("26 = 27 = 79",)
    assert findings["related", "test"].cases == ("1 = 2",)
    assert findings["moved", "test-train"].cases == ("27",)
    assert findings["moved", "train-test"].cases == ("1",)
    assert findings["stayed", "test"].cases == ("2",)
    assert not {"frames_with_a_train_neighbour", "successive_frames_alike"} & {name for name, _ in findings}
    assert findings["identical_pairs", "train"].cases == ("26 = 79",)


def test_an_audit_needs_the_proof_of_the_same_cases(tmp_path):
    made = data_support.make_kvasir()
    folder = standardised(made, tmp_path)
    with pytest.raises(PipelineError, match=r"integrity\.json: cannot be read.*pipeline\.data\.integrity"):
        audit_dataset("kvasir_seg", folder)
    proof = verified(made, tmp_path)
    proof["fingerprints"].pop("cju0")
    (folder / "integrity.json").write_text(json.dumps(proof))
    with pytest.raises(PipelineError, match=r"lists other cases than cases\.csv"):
        audit_dataset("kvasir_seg", folder)


def test_an_audit_tells_contradictions(tmp_path):
    made = data_support.make_busi(("train", "val", "test", "train", "test"))
    folder = standardised(made, tmp_path)
    proof = verified(made, tmp_path)
    proof["contradictions"] = [["1_benign", "5_malignant"]]
    (folder / "integrity.json").write_text(json.dumps(proof))
    findings = audit_dataset("busi", folder)
    assert value_of(findings, "identical_pairs_that_contradict", "train-test") == (1, ("1_benign = 5_malignant",))
