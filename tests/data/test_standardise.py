"""Standardising small archives in the layouts of the real ones, with and without mistakes."""

import io
import json
import shutil

import data_support
import numpy as np
import pytest
from data_support import MAKERS, deep_png, encode, grey, standardised, two_pages, verified
from PIL import Image

from pipeline.data import standardise as module
from pipeline.data.cases import read_cases
from pipeline.data.integrity import mask_box
from pipeline.data.standardise import standardise
from pipeline.runtime.errors import PipelineError


@pytest.mark.parametrize("dataset", MAKERS)
def test_every_layout(dataset, tmp_path):
    made = MAKERS[dataset]()
    output = standardised(made, tmp_path)
    cases = read_cases(output / "cases.csv")
    assert [case.split for case in cases] == ["train", "train", "train", "val", "test"]
    listed = [record for split in ("train", "val", "test") for record in made.lists[split]]
    for case, record in zip(cases, listed, strict=True):
        assert case.case == record["img_name"].removesuffix(".png")
        assert case.prompts == record["prompts"]
        assert (case.width, case.height) == data_support.SIZE
        with Image.open(output / "masks" / case.mask) as file:
            levels = np.asarray(file)
            assert (file.format, file.mode) == ("PNG", "L")
        assert set(np.unique(levels)) <= {0, 255}
        assert np.count_nonzero(levels) == case.foreground
        # Masks of JPEG archives are lossy, and come back all the same: the box in the list is that of the drawn mask.
        assert list(mask_box(levels > 0)) == case.bbox == record["bbox"]
        with Image.open(output / "images" / case.image) as file:
            assert file.size == data_support.SIZE
    assert sorted(path.name for path in output.iterdir()) == [
        *("cases.csv", "images", "masks", "masks_reference", "provenance.json")
    ]
    assert len(list((output / "images").iterdir())) == len(list((output / "masks").iterdir())) == 5


@pytest.mark.parametrize("dataset", MAKERS)
def test_masks_that_the_reference_reads_in_another_way_are_kept_beside(dataset, tmp_path, capsys):
    made = MAKERS[dataset]()
    output = standardised(made, tmp_path)
    cases, found = read_cases(output / "cases.csv"), sorted((output / "masks_reference").iterdir())
    lossy = [case for case in cases if case.reference_mask_sha256]
    assert [path.name for path in found] == sorted(case.mask for case in lossy)
    assert len(lossy) == (5 if dataset in ("kvasir_seg", "bkai") else 0)
    facts = json.loads((output / "provenance.json").read_text())["reference_masks"]
    assert facts["cases"] == len(lossy) and (facts["mean_dsc"] is None) == (not lossy)
    dsc = []
    for case in lossy:
        own, other = (np.asarray(Image.open(output / name / case.mask)) > 0 for name in ("masks", "masks_reference"))
        key = made.path(f"train_gt/{case.case}.jpeg" if dataset == "bkai" else f"masks/{case.case}.jpg")
        luma, _, _ = Image.open(io.BytesIO(made.members[key])).convert("YCbCr").split()
        # From the decoded colours the luma comes back but for clipping.
        assert ((np.asarray(luma) > 0) != other).mean() < 0.1 and other.sum() > own.sum()
        dsc.append(2 * (own & other).sum() / (own.sum() + other.sum()))
    if lossy:
        assert facts["mean_dsc"] == pytest.approx(np.mean(dsc))
        assert "the reference sees other masks in 5 cases" in capsys.readouterr().err


def test_groups(tmp_path):
    groups = {
        name: [case.group for case in read_cases(standardised(MAKERS[name](), tmp_path / name) / "cases.csv")]
        for name in ("kvasir_seg", "bkai", "busi")
    }
    assert groups == {
        "kvasir_seg": [""] * 5,
        "bkai": ["neoplastic", "non-neoplastic", "both", "neoplastic", "non-neoplastic"],
        "busi": ["benign", "malignant", "normal", "benign", "malignant"],
    }


def test_several_masks_are_merged_and_normal_ones_are_empty(tmp_path):
    output = standardised(data_support.make_busi(), tmp_path)
    benign, _, normal = (
        np.asarray(Image.open(output / "masks" / f"{i}.png")) for i in ("1_benign", "2_malignant", "3_normal")
    )
    assert (benign[-4:-1, -6:-1] == 255).all()
    assert np.count_nonzero(benign) > 15
    assert not normal.any()


@pytest.mark.parametrize(
    ("dataset", "member", "image"),
    [
        ("kvasir_seg", "images/cju0.jpg", "cju0.jpg"),
        ("clinicdb", "Original/1.tif", "1.tif"),
        ("busi", "benign (1).png", "1_benign.png"),
    ],
)
def test_images_keep_their_bytes(tmp_path, dataset, member, image):
    made = MAKERS[dataset]()
    output = standardised(made, tmp_path)
    assert (output / "images" / image).read_bytes() == made.members[made.path(member)]
    assert json.loads((output / "provenance.json").read_text())["encoded_anew"] == 0


@pytest.mark.parametrize(("mode", "kept"), [("P", "RGB"), ("1", "L"), ("RGBA", "RGB")])
def test_other_modes_become_png_of_the_same_pixels(tmp_path, mode, kept):
    made = data_support.make_clinicdb()
    source = Image.fromarray(data_support.scene(np.random.default_rng(1))).convert(mode)
    made.members[made.path("Original/1.tif")] = encode(source, "TIFF")
    output = standardised(made, tmp_path)
    with Image.open(output / "images" / "1.png") as file:
        assert file.mode == kept
        assert (np.asarray(file) == np.asarray(source.convert(kept))).all()
    assert json.loads((output / "provenance.json").read_text())["encoded_anew"] == 1


def test_a_mask_that_is_just_as_masks_are_kept_keeps_its_bytes(tmp_path):
    made = data_support.make_busi()
    output = standardised(made, tmp_path)
    source = made.members[made.path("malignant (2)_mask.png")]
    assert (output / "masks" / "2_malignant.png").read_bytes() == source
    made.members[made.path("malignant (2)_mask.png")] = encode(Image.open(io.BytesIO(source)).point(lambda v: v * 0.9))
    with Image.open(standardised(made, tmp_path / "grey") / "masks" / "2_malignant.png") as file:
        assert (np.asarray(file) == np.asarray(Image.open(io.BytesIO(source)))).all()


def test_the_alternative_layout_of_kaggle(tmp_path):
    made = data_support.make_clinicdb()
    kaggle = data_support.Archives("clinicdb", lists=made.lists)
    for (_, path), content in made.members.items():
        tail = path.removeprefix("CVC-ClinicDB/").replace(".tif", ".png")
        png = encode(Image.open(data_support.io.BytesIO(content)))
        kaggle.members["cvcclinicdb.zip", f"PNG/{tail}"] = png
    kaggle.members["cvcclinicdb.zip", "metadata.csv"] = b"frame_id"
    assert len(read_cases(standardised(kaggle, tmp_path) / "cases.csv")) == 5


def test_two_runs_write_the_same_bytes(tmp_path):
    made = data_support.make_busi()
    first, second = standardised(made, tmp_path / "a"), standardised(made, tmp_path / "b")
    files = [path.relative_to(first) for path in first.rglob("*") if path.is_file()]
    assert len(files) == 12
    assert all((first / path).read_bytes() == (second / path).read_bytes() for path in files)


def test_exif_orientation_is_honoured(tmp_path, capsys):
    made = data_support.make_kvasir()
    rng = np.random.default_rng(3)
    upright = data_support.scene(rng)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying down: to be turned by 270 degrees
    lying = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    made.members[made.path("images/cju0.jpg")] = encode(lying, "JPEG", quality=98, exif=exif.tobytes())
    output = standardised(made, tmp_path)
    found = Image.open(output / "images" / "cju0.png")
    assert found.size == data_support.SIZE
    assert found.getexif().get(0x0112, 1) == 1
    assert np.abs(np.asarray(found).astype(int) - upright).mean() < 6
    assert json.loads((output / "provenance.json").read_text())["turned_by_exif"] == ["cju0"]
    assert "kvasir_seg: turned 1 images as their EXIF data say: cju0" in capsys.readouterr().err


def test_a_mask_that_was_drawn_on_the_image_as_stored_counts_more_than_exif(tmp_path):
    made = data_support.make_kvasir()
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = data_support.scene(np.random.default_rng(3))
    made.members[made.path("images/cju0.jpg")] = encode(stored, "JPEG", quality=98, exif=exif.tobytes())
    output = standardised(made, tmp_path)
    assert Image.open(output / "images" / "cju0.jpg").size == data_support.SIZE
    assert json.loads((output / "provenance.json").read_text())["turned_by_exif"] == []
    verified(made, tmp_path)


def test_missing_records_are_left_out_when_allowed(tmp_path, capsys):
    made = data_support.make_busi()
    del made.members[made.path("malignant (2).png")]
    output = standardised(made, tmp_path, allow_missing=1)
    assert [case.case for case in read_cases(output / "cases.csv")] == [
        "1_benign",
        "3_normal",
        "4_benign",
        "5_malignant",
    ]
    assert json.loads((output / "provenance.json").read_text())["missing"] == [["train", "2_malignant"]]
    assert "no image for 1 cases, e.g. 2_malignant" in capsys.readouterr().err


def test_a_grey_image_where_colour_is_usual_is_kept_as_grey(tmp_path):
    made = data_support.make_kvasir()
    made.members[made.path("images/cju0.jpg")] = encode(Image.new("L", data_support.SIZE, 90), "JPEG")
    output = standardised(made, tmp_path)
    with Image.open(output / "images" / "cju0.jpg") as file:
        assert file.mode == "L"


def test_a_colour_image_where_grey_is_usual_is_kept_in_colour(tmp_path):
    made = data_support.make_busi()
    colour = data_support.scene(np.random.default_rng(9))
    made.members[made.path("malignant (2).png")] = encode(colour)
    output = standardised(made, tmp_path)
    with Image.open(output / "images" / "2_malignant.png") as file:
        assert file.mode == "RGB"
        assert (np.asarray(file) == colour).all()


def test_two_archives_swapped(tmp_path):
    made, other = data_support.make_kvasir(), data_support.make_busi()
    archives, annotations = made.write(tmp_path)
    other.write(tmp_path)
    shutil.move(archives / "Dataset_BUSI.zip", archives / "kvasir-seg.zip")
    with pytest.raises(
        PipelineError, match=r"not laid out as kvasir_seg's kvasir-seg\.zip.*like busi's Dataset_BUSI\.zip"
    ):
        standardise("kvasir_seg", archives, annotations, "published", 0, 1, tmp_path / "out")


def test_images_and_ground_truth_swapped(tmp_path):
    made = data_support.make_isic16()
    archives, annotations = made.write(tmp_path)
    one, two = archives / "ISBI2016_ISIC_Part1_Test_Data.zip", archives / "ISBI2016_ISIC_Part1_Test_GroundTruth.zip"
    shutil.move(one, archives / "spare")
    shutil.move(two, one)
    shutil.move(archives / "spare", two)
    with pytest.raises(
        PipelineError, match=r"Test_Data\.zip: not laid out.*like isic16's ISBI2016_ISIC_Part1_Test_Gro"
    ):
        standardise("isic16", archives, annotations, "published", 0, 1, tmp_path / "out")


def test_a_case_in_two_archives_takes_the_test_sets(tmp_path, capsys):
    made = data_support.make_isic16()
    part = "ISBI2016_ISIC_Part1_Training"
    white = encode(grey(np.ones(data_support.SIZE[::-1], dtype=bool)))
    image = made.members[made.path("Test_Data/ISIC_0000004.jpg")]
    made.members[f"{part}_Data.zip", f"{part}_Data/ISIC_0000004.jpg"] = image
    made.members[f"{part}_GroundTruth.zip", f"{part}_GroundTruth/ISIC_0000004_Segmentation.png"] = white
    case = read_cases(standardised(made, tmp_path) / "cases.csv")[-1]
    assert case.case == "ISIC_0000004"
    assert 0 < case.foreground < 40 * 30
    assert (
        "ISIC_0000004 is in two archives and differs; masks of ISBI2016_ISIC_Part1_Test_Gro" in capsys.readouterr().err
    )


def test_published_keeps_repetitions_and_deduplicated_says_what_it_drops(tmp_path, capsys):
    made = data_support.make_kvasir()
    made.lists["train"].append(made.lists["train"][0])
    made.lists["train"].append(made.lists["test"][0])
    published = standardised(made, tmp_path / "a")
    assert [(c.split, c.case) for c in read_cases(published / "cases.csv")] == [
        ("train", "cju0"), ("train", "cju1"), ("train", "cju2"), ("train", "cju0"), ("train", "cju4"), ("val", "cju3"),
        ("test", "cju4"),
    ]  # fmt: skip
    deduplicated = standardised(made, tmp_path / "b", split="deduplicated")
    assert [(c.split, c.case) for c in read_cases(deduplicated / "cases.csv")] == [
        ("train", "cju0"), ("train", "cju1"), ("train", "cju2"), ("val", "cju3"), ("test", "cju4"),
    ]  # fmt: skip
    provenance = json.loads((deduplicated / "provenance.json").read_text())
    assert provenance["dropped"] == [["train", "cju0"], ["train", "cju4"]]
    assert "left cju4 out of train" in capsys.readouterr().err


def test_a_failed_run_leaves_the_former_result_alone(tmp_path):
    made = data_support.make_busi()
    output = standardised(made, tmp_path)
    before = (output / "cases.csv").read_bytes()
    del made.members[made.path("(2).png")]
    with pytest.raises(PipelineError):
        standardised(made, tmp_path)
    assert (output / "cases.csv").read_bytes() == before


def changed(dataset, ending, content):
    """A dataset of which the member whose path ends so has another content; with None, it is missing."""
    made = MAKERS[dataset]()
    key = made.path(ending)
    if content is None:
        del made.members[key]
    else:
        made.members[key] = content(made.members[key]) if callable(content) else content
    return made


def renamed():
    made = data_support.make_kvasir()
    archive, path = made.path("images/cju1.jpg")
    made.members[archive, path.replace("cju1", "cju1_copy")] = made.members.pop((archive, path))
    return made


def without_an_archive():
    made = data_support.make_isic16()
    made.members = {key: value for key, value in made.members.items() if "Test_Data" not in key[0]}
    return made


def with_a_copy(kind, folder):
    made = data_support.make_kvasir()
    made.members["kvasir-seg.zip", f"{folder}/{kind}/cju0.jpg"] = made.members[made.path(f"{kind}/cju0.jpg")]
    return made


def all_empty():
    made = data_support.make_kvasir()
    for key in made.members:
        if "masks" in key[1]:
            made.members[key] = encode(Image.new("L", data_support.SIZE), "JPEG")
    return made


def with_a_bomb():
    # A PNG of 100 million pixels that takes 100 kB.
    return changed("busi", "(2).png", encode(Image.new("1", (10_000, 10_000))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: changed("busi", "malignant (2)_mask.png", None),
         r"busi: 1 of 5 records.*no mask for 1 cases, e\.g\. 2_malignant.*allow_missing: \{busi: 1\}"),
        (renamed, r"no image for 1 cases, e\.g\. cju1; in the archives but in no list: cju1_copy"),
        (without_an_archive, r"isic16: .* has no ISBI2016_ISIC_Part1_Test_Data\.zip; fetch"),
        (lambda: changed("busi", "(2)_mask.png", encode(np.zeros((20, 20), dtype=np.uint8))),
         r"busi: 1 of 5 cases.*2_malignant: the mask .* is 20x20 pixels, its image 40x30"),
        (lambda: changed("busi", "(2).png", b"not a picture"),
         r"2_malignant: the image malignant \(2\)\.png does not decode \(not an image\)"),
        (lambda: changed("busi", "(3).png", lambda content: content[:len(content) // 2]),
         r"3_normal: the image normal \(3\)\.png does not decode"),
        (lambda: changed("clinicdb", "Original/1.tif", lambda content: content[:9] + b"\xff" * 40 + content[49:]),
         r"the image 1\.tif does not decode"),
        (with_a_bomb, "has 10000x10000 pixels, more than 64 million"),
        (lambda: changed("busi", "(2).png", encode(np.zeros(data_support.SIZE[::-1], dtype=np.uint16))),
         r"the image malignant \(2\)\.png has more than 8 bits a channel .*; scale it .* Correct these files"),
        (lambda: changed("busi", "(2)_mask.png", deep_png(np.full((*data_support.SIZE[::-1], 3), 255))),
         r"the mask malignant \(2\)_mask\.png has more than 8 bits a channel"),
        (lambda: changed("clinicdb", "Original/1.tif", two_pages()), r"the image 1\.tif has 2 pages or frames; save"),
        (lambda: changed("kvasir_seg", "masks/cju0.jpg", encode(data_support.scene(np.random.default_rng(0)), "JPEG")),
         r"cju0: the mask cju0\.jpg is in colour where a black and white mask is expected"),
        (lambda: changed("busi", "(2)_mask.png", lambda content: encode(
            Image.open(io.BytesIO(content)).point(lambda level: level // 255))),
         r"2_malignant: the mask .* is not black \(0\) and white \(255\): its levels are 0, 1\."),
        (lambda: changed("bkai", f"train_gt/{0:032x}.jpeg", encode(Image.new("L", data_support.SIZE, 255), "JPEG")),
         "without colour where red and green regions are expected"),
        (lambda: with_a_copy("images", "copy"), "2 images of case cju0: .*images/cju0.jpg and copy/images/cju0.jpg"),
        (lambda: with_a_copy("masks", "old"), "cju0: its masks masks/cju0.jpg and masks/cju0.jpg are in different"),
        (all_empty, "kvasir_seg: all 5 masks are empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(tmp_path, make, message):
    with pytest.raises(PipelineError, match=message):
        standardised(make(), tmp_path)
    assert not any((tmp_path / "datasets").iterdir())


def test_archives_that_declare_too_much_are_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 3000)
    monkeypatch.setattr(module, "unpack", None)
    fix = r"more than 2\.79e-06 GiB; put the right archive .*, remove the folder .*archives and run again"
    with pytest.raises(PipelineError, match=fix):
        standardised(data_support.make_kvasir(), tmp_path)


def test_only_listed_cases_are_unpacked(tmp_path, monkeypatch):
    made = data_support.make_kvasir()
    made.members["kvasir-seg.zip", "Kvasir-SEG/images/unlisted.jpg"] = bytes(10**6)
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 10**5)
    assert len(read_cases(standardised(made, tmp_path) / "cases.csv")) == 5
