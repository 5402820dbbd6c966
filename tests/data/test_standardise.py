"""Standardising small archives in the layouts of the real ones, with and without mistakes."""

import json
import shutil

import data_support
import numpy as np
import pytest
from data_support import MAKERS, encode, grey, standardised
from PIL import Image

from pipeline.data import standardise as module
from pipeline.data.cases import read_cases
from pipeline.data.integrity import mask_box
from pipeline.data.standardise import standardise
from pipeline.runtime.errors import PipelineError


def failing(made, tmp_path, message, **options):
    with pytest.raises(PipelineError, match=message):
        standardised(made, tmp_path, **options)
    assert not any((tmp_path / "datasets").iterdir())


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
    assert sorted(path.name for path in output.iterdir()) == ["cases.csv", "images", "masks", "provenance.json"]
    assert len(list((output / "images").iterdir())) == len(list((output / "masks").iterdir())) == 5


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


def test_jpeg_and_png_keep_their_bytes_and_tiff_its_pixels(tmp_path):
    kvasir = data_support.make_kvasir()
    output = standardised(kvasir, tmp_path / "kvasir")
    assert (output / "images" / "cju0.jpg").read_bytes() == kvasir.members[kvasir.path("images/cju0.jpg")]
    clinicdb = data_support.make_clinicdb()
    output = standardised(clinicdb, tmp_path / "clinicdb")
    (tmp_path / "1.tif").write_bytes(clinicdb.members[clinicdb.path("Original/1.tif")])
    assert (np.asarray(Image.open(output / "images" / "1.png")) == np.asarray(Image.open(tmp_path / "1.tif"))).all()
    assert json.loads((output / "provenance.json").read_text())["encoded_anew"] == 5


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


def test_exif_orientation_is_honoured(tmp_path):
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


def test_a_missing_mask(tmp_path):
    made = data_support.make_busi()
    del made.members[made.path("malignant (2)_mask.png")]
    failing(
        made, tmp_path, r"busi: 1 of 5 records.*no mask for 1 cases, e\.g\. 2_malignant.*allow_missing: \{busi: 1\}"
    )


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


def test_a_renamed_file_is_told_with_the_name_that_nobody_asked_for(tmp_path):
    made = data_support.make_kvasir()
    key = made.path("images/cju1.jpg")
    made.members[key[0], key[1].replace("cju1", "cju1_copy")] = made.members.pop(key)
    failing(made, tmp_path, r"no image for 1 cases, e\.g\. cju1; in the archives but in no list: cju1_copy")


def test_a_mask_of_another_size(tmp_path):
    made = data_support.make_busi()
    made.members[made.path("(2)_mask.png")] = encode(np.zeros((20, 20), dtype=np.uint8))
    failing(made, tmp_path, r"busi: 1 of 5 cases.*2_malignant: the mask .* is 20x20 pixels, its image 40x30")


def test_images_that_do_not_decode(tmp_path):
    made = data_support.make_busi()
    made.members[made.path("(2).png")] = b"not a picture"
    content = made.members[made.path("(3).png")]
    made.members[made.path("(3).png")] = content[: len(content) // 2]
    failing(
        made,
        tmp_path,
        r"2 of 5 cases.*2_malignant: the image malignant \(2\)\.png does not decode \(not an image\)"
        r".*3_normal: the image normal \(3\)\.png does not decode",
    )


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


def test_a_colour_picture_in_place_of_a_mask(tmp_path):
    made = data_support.make_kvasir()
    made.members[made.path("masks/cju0.jpg")] = made.members[made.path("images/cju0.jpg")]
    failing(made, tmp_path, r"cju0: the mask cju0\.jpg is in colour where a black and white mask is expected")


def test_a_grey_mask_where_red_and_green_are_expected(tmp_path):
    made = data_support.make_bkai()
    key = next(key for key in made.members if "train_gt" in key[1])
    made.members[key] = encode(grey(np.ones(data_support.SIZE[::-1], dtype=bool)), "JPEG")
    failing(made, tmp_path, "without colour where red and green regions are expected")


def test_a_sixteen_bit_image_is_refused(tmp_path):
    made = data_support.make_busi()
    made.members[made.path("(2).png")] = encode(np.zeros(data_support.SIZE[::-1], dtype=np.uint16))
    failing(made, tmp_path, "Pillow mode I;16, not 8 bits a channel")


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


def test_an_archive_that_is_not_there(tmp_path):
    made = data_support.make_isic16()
    made.members = {key: value for key, value in made.members.items() if "Test_Data" not in key[0]}
    failing(made, tmp_path, r"isic16: .* has no ISBI2016_ISIC_Part1_Test_Data\.zip; fetch")


def test_one_case_with_two_images(tmp_path):
    made = data_support.make_kvasir()
    made.members["kvasir-seg.zip", "copy/images/cju0.jpg"] = made.members[made.path("images/cju0.jpg")]
    failing(made, tmp_path, "has 2 images of case cju0: .*images/cju0.jpg and copy/images/cju0.jpg")


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


def test_an_archive_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 3000)
    failing(data_support.make_kvasir(), tmp_path, "unpacks to more than")
