"""The proof of a standardised dataset, and the audit of several."""

import csv
import io
import json

import data_support
import numpy as np
import pytest
from data_support import encode
from PIL import Image

from pipeline.data import audit as audit_module
from pipeline.data.audit import audit_dataset, to_csv, to_markdown
from pipeline.data.fingerprints import Fingerprint, find_pairs, fingerprint
from pipeline.data.integrity import mask_box, verify
from pipeline.data.sources import SPLITS
from pipeline.data.standardise import standardise
from pipeline.runtime.errors import PipelineError


def prepare(made, tmp_path, **options):
    archives, annotations = made.write(tmp_path)
    folder = tmp_path / "datasets" / made.dataset
    settings = {"split": "published", "allow_missing": 0, "threads": 2, **options}
    standardise(made.dataset, archives, annotations, output=folder, **settings)
    return folder, annotations


def check(made, folder, annotations, verify_boxes=True):
    verify(made.dataset, folder, annotations, verify_boxes, 2, folder / "integrity.json")
    return json.loads((folder / "integrity.json").read_text())


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
def test_a_whole_dataset(dataset, tmp_path):
    made = data_support.MAKERS[dataset]()
    folder, annotations = prepare(made, tmp_path)
    proof = check(made, folder, annotations)
    assert proof["records"] == proof["cases"] == {"train": 3, "val": 1, "test": 1}
    assert proof["boxes"] == {"compared": 5, "largest_difference": 0}
    assert proof["missing"] == proof["dropped"] == []
    assert proof["annotations_pinned"] is False
    assert proof["empty_masks"] == ([["train", "3_normal"]] if dataset == "busi" else [])
    assert len(proof["grey_images"]) == (5 if dataset == "busi" else 0)
    assert len(proof["fingerprints"]) == 5


def test_two_masks_exchanged_are_found_by_their_boxes(tmp_path):
    made = data_support.make_kvasir()
    one, two = made.path("masks/cju0.jpg"), made.path("masks/cju1.jpg")
    made.members[one], made.members[two] = made.members[two], made.members[one]
    folder, annotations = prepare(made, tmp_path)
    with pytest.raises(PipelineError, match=r"kvasir_seg: 2 of 5 annotated boxes differ.*cju0 \(train\): mask .*cju1"):
        check(made, folder, annotations)
    assert not (folder / "integrity.json").exists()
    assert check(made, folder, annotations, verify_boxes=False)["boxes"] is None


def test_three_pixels_are_let_pass_and_four_are_not(tmp_path):
    made = data_support.make_kvasir()
    made.lists["train"][0]["bbox"][2] += 3
    folder, annotations = prepare(made, tmp_path / "a")
    assert check(made, folder, annotations)["boxes"] == {"compared": 5, "largest_difference": 3}
    made.lists["train"][0]["bbox"][2] += 1
    folder, annotations = prepare(made, tmp_path / "b")
    with pytest.raises(PipelineError, match="1 of 5 annotated boxes differ from the masks' by more than 3 px"):
        check(made, folder, annotations)


def test_a_folder_half_deleted(tmp_path):
    made = data_support.make_busi()
    folder, annotations = prepare(made, tmp_path)
    (folder / "images" / "1_benign.png").unlink()
    (folder / "masks" / "2_malignant.png").unlink()
    with pytest.raises(PipelineError, match=r"2 of 5 cases are damaged: 1_benign: image .* is gone; 2_malignant: mask"):
        check(made, folder, annotations)
    for path in (folder / "masks").iterdir():
        path.unlink()
    (folder / "masks").rmdir()
    with pytest.raises(PipelineError, match=r"5 of 5 cases are damaged.*standardise it again"):
        check(made, folder, annotations)


def test_a_file_that_was_touched(tmp_path):
    made = data_support.make_busi()
    folder, annotations = prepare(made, tmp_path)
    Image.new("L", data_support.SIZE).save(folder / "masks" / "1_benign.png")
    with pytest.raises(PipelineError, match=r"1_benign: mask 1_benign\.png is not the file that cases\.csv describes"):
        check(made, folder, annotations)


def test_a_file_that_belongs_to_no_case(tmp_path):
    made = data_support.make_busi()
    folder, annotations = prepare(made, tmp_path)
    (folder / "images" / "stray.png").write_bytes(b"x")
    with pytest.raises(PipelineError, match=r"1 files belong to no case: images/stray\.png"):
        check(made, folder, annotations)


def test_snakemakes_own_file_is_no_stray(tmp_path):
    made = data_support.make_busi()
    folder, annotations = prepare(made, tmp_path)
    (folder / "images" / ".snakemake_timestamp").touch()
    assert check(made, folder, annotations)["cases"] == {"train": 3, "val": 1, "test": 1}


def test_lists_that_changed_since(tmp_path):
    made = data_support.make_busi()
    folder, annotations = prepare(made, tmp_path)
    path = annotations / "val.json"
    path.write_text(path.read_text().replace("round lesion", "round lesiom"))
    with pytest.raises(PipelineError, match=r"1 records are not as the split lists have them: 4_benign \(val\)"):
        check(made, folder, annotations)
    path.write_text("[]")
    with pytest.raises(PipelineError, match=r"val\.json: must be a list of records"):
        check(made, folder, annotations)


def test_missing_and_left_out_records_are_no_error(tmp_path):
    made = data_support.make_kvasir()
    made.lists["train"].append(made.lists["test"][0])
    del made.members[made.path("images/cju1.jpg")]
    folder, annotations = prepare(made, tmp_path, split="deduplicated", allow_missing=1)
    proof = check(made, folder, annotations)
    assert proof["missing"] == [["train", "cju1"]]
    assert proof["dropped"] == [["train", "cju4"]]
    assert proof["repeated"] == {"cju4": ["train", "test"]}
    assert proof["cases"] == {"train": 2, "val": 1, "test": 1}


def random_scenes(count, seed=0):
    rng = np.random.default_rng(seed)
    return [Image.fromarray(data_support.scene(rng, (160, 120))) for _ in range(count)]


def test_a_fingerprint_survives_json():
    value = fingerprint(random_scenes(1)[0])
    again = Fingerprint.from_json(json.loads(json.dumps(value.to_json())))
    assert (again.pixels, again.phash) == (value.pixels, value.phash)
    assert (again.thumbnail == value.thumbnail).all()


def test_near_duplicates_are_told_from_other_images():
    scenes = random_scenes(12)
    frame = Image.new("L", (160, 120))
    frame.paste(255, (30, 20, 130, 100))
    black = Image.new("RGB", (160, 120))
    # The same black frame on every image, as an endoscope leaves it.
    images = [Image.composite(scene, black, frame) for scene in scenes]
    darker = images[0].point(lambda level: level * 0.8)
    smaller = images[1].resize((80, 60)).resize((160, 120))
    prints = {str(index): fingerprint(image) for index, image in enumerate(images)}
    prints |= {"darker": fingerprint(darker), "smaller": fingerprint(smaller), "same": fingerprint(images[2].copy())}
    found = {(pair.first, pair.second): pair.kind for pair in find_pairs(prints)}
    assert found == {("0", "darker"): "near", ("1", "smaller"): "near", ("2", "same"): "exact"}


def test_two_images_are_compared_without_a_mean():
    one, two = random_scenes(2)
    assert find_pairs({"a": fingerprint(one), "b": fingerprint(two)}) == []
    (pair,) = find_pairs({"a": fingerprint(one), "b": fingerprint(one.point(lambda level: level // 2))})
    assert pair.kind == "near"
    assert pair.similarity > 0.99
    assert find_pairs({"a": fingerprint(one)}) == []


def value_of(findings, name, splits):
    (row,) = [row for row in findings if (row.finding, row.splits) == (name, splits)]
    return row.value, row.cases


def test_an_audit_finds_what_was_hidden(tmp_path):
    made = data_support.make_kvasir(("train",) * 6 + ("val", "test", "test"))
    images = "Kvasir-SEG/images"
    copy = made.members[made.path(f"{images}/cju0.jpg")]
    made.members["kvasir-seg.zip", f"{images}/cju7.jpg"] = copy
    near = Image.open(io.BytesIO(made.members[made.path("images/cju1.jpg")])).point(lambda level: level * 0.9)
    made.members["kvasir-seg.zip", f"{images}/cju6.jpg"] = encode(near, "JPEG", quality=95)
    made.members["kvasir-seg.zip", f"{images}/cju5.jpg"] = encode(near.convert("L").rotate(180), "JPEG")
    made.lists["train"] += [made.lists["test"][1], made.lists["train"][2]]
    del made.members[made.path("images/cju3.jpg")]
    folder, annotations = prepare(made, tmp_path, allow_missing=1)
    check(made, folder, annotations)
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
    rows = list(csv.DictReader(io.StringIO(to_csv(findings))))
    assert {"dataset": "kvasir_seg", "finding": "missing", "splits": "train", "value": "1", "cases": "cju3"} in rows
    text = to_markdown(["kvasir_seg"], findings, "Demo: phantoms")
    assert "**Demo: phantoms**" in text
    assert "| Kvasir-SEG | train-test | 1 | 1 | 0 |" in text
    assert "| Kvasir-SEG | train | 8 | 1 | 0 | 7 | 0 |" in text
    assert "- Kvasir-SEG, train-test, identical (1): cju0 = cju7" in text
    assert "Video" not in text


def test_the_audit_of_video_frames(tmp_path):
    # Two scenes of three frames each; noise tells the frames apart.
    made = data_support.make_clinicdb(("train", "test", "train", "train", "val", "test", "train"))
    rng = np.random.default_rng(0)
    scenes = [np.asarray(scene, dtype=int) for scene in random_scenes(3, seed=4)]
    for frame, scene in zip(range(1, 8), (0, 0, 0, 1, 1, 1, 2), strict=True):
        pixels = np.clip(scenes[scene] + rng.integers(-25, 26, scenes[scene].shape), 0, 255).astype(np.uint8)
        made.members[made.path(f"Original/{frame}.tif")] = encode(pixels, "TIFF")
        made.members[made.path(f"Truth/{frame}.tif")] = encode(np.zeros((120, 160), dtype=np.uint8), "TIFF")
    folder, annotations = prepare(made, tmp_path)
    check(made, folder, annotations, verify_boxes=False)
    findings = audit_dataset("clinicdb", folder)
    assert value_of(findings, "frames_with_a_train_neighbour", "test") == (1, ("2",))
    assert value_of(findings, "frames_with_a_train_neighbour", "val") == (1, ("5",))
    assert value_of(findings, "successive_frames_alike", "train-test") == (2, ("1 = 2", "2 = 3"))
    assert "| CVC-ClinicDB | test | 1 | 2 |" in to_markdown(["clinicdb"], findings, "")


def test_an_audit_needs_the_proof_of_the_same_cases(tmp_path):
    made = data_support.make_kvasir()
    folder, annotations = prepare(made, tmp_path)
    with pytest.raises(PipelineError, match=r"integrity\.json: cannot be read.*pipeline\.data\.integrity"):
        audit_dataset("kvasir_seg", folder)
    proof = check(made, folder, annotations)
    proof["fingerprints"].pop("cju0")
    (folder / "integrity.json").write_text(json.dumps(proof))
    with pytest.raises(PipelineError, match=r"about other cases than cases\.csv"):
        audit_dataset("kvasir_seg", folder)


def test_the_command_lines(tmp_path, monkeypatch):
    from pipeline.data import integrity as integrity_module

    for name in ("kvasir_seg", "busi"):
        folder, annotations = prepare(data_support.MAKERS[name](), tmp_path)
        options = ["--dataset", name, "--folder", str(folder), "--annotations", str(annotations)]
        output = ["--verify-boxes", "true", "--output", str(folder / "integrity.json")]
        monkeypatch.setattr("sys.argv", ["integrity", *options, *output])
        integrity_module.main()
    options = ["--datasets", '["kvasir_seg", "busi"]', "--folder", str(tmp_path / "datasets"), "--note", "Phantoms"]
    output = ["--output-markdown", str(tmp_path / "audit.md"), "--output-csv", str(tmp_path / "audit.csv")]
    monkeypatch.setattr("sys.argv", ["audit", *options, *output])
    audit_module.main()
    rows = list(csv.DictReader((tmp_path / "audit.csv").open()))
    assert [row["value"] for row in rows if row["finding"] == "records_used"] == ["3", "1", "1"] * 2
    assert [row["splits"] for row in rows if row["finding"] == "records_used"] == [*SPLITS] * 2
    assert "Phantoms" in (tmp_path / "audit.md").read_text()
