"""Images of one's own: found, named apart, and read as displayed or refused with the fix."""

import io
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from data_support import deep_png, encode, two_pages
from PIL import Image

from pipeline.inference.images import find_images, read_picture
from pipeline.runtime.errors import PipelineError

COLOUR = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
# Twelve bits in sixteen, the last level far above the others.
DEEP = np.concatenate([np.arange(399), [4000]]).reshape(20, 20).astype(np.uint16)


@pytest.fixture
def write(tmp_path):
    """Write a file, and return its path."""

    def into(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return into


def dicom(pixels: np.ndarray, syntax: str | None = None, **elements) -> bytes:
    """A DICOM file of ``pixels``, (H, W[, 3]) or (frames, H, W)."""
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    colour = pixels.shape[-1] == 3
    if pixels.ndim == 3 and not colour:
        data.NumberOfFrames = len(pixels)
    data.Rows, data.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    data.SamplesPerPixel = 3 if colour else 1
    data.PlanarConfiguration = 0
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * pixels.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(data, name, value)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def rgb(picture) -> np.ndarray:
    return np.asarray(picture.image)


def test_files_folders_and_tables(write, tmp_path):
    image = encode(COLOUR)
    for name in ("folder/b.png", "folder/a.PNG", "folder/._b.png", "patients/1/scan.png", "patients/2/scan.png"):
        write(name, image)
    write("folder/notes.txt", "none")
    write("folder/1.2.840.10008", dicom(DEEP))
    table = write("patients/list.csv", "image,prompt\n1/scan.png,polyp\n2/scan.png,\n1/scan.png,lesion\n")
    assert [(found.name, found.prompt) for found in find_images([tmp_path / "folder"], "polyp")] == [
        *(("1.2.840.10008", "polyp"), ("a.PNG", "polyp"), ("b.png", "polyp"))
    ]
    listed = find_images([table], None)
    assert [(found.name, found.prompt) for found in listed] == [
        *(("1/scan.png", "polyp"), ("2/scan.png", ""), ("1/scan.png-2", "lesion"))
    ]
    assert listed[1].path.samefile(tmp_path / "patients/2/scan.png")


def test_what_is_no_list_of_images(write, tmp_path):
    write("a/scan.png", encode(COLOUR)), write("b/scan.png", encode(COLOUR)), write("empty/notes.txt", "none")
    table = write("list.csv", "image,prompt\na/scan.png,polyp\nc.png,polyp\n")
    for message, paths, prompt in (
        (r"absent\.png: no such image", ["absent.png"], "polyp"),
        (r"empty: no image in this folder; looked for .* and DICOM", ["empty"], "polyp"),
        (r"--prompt: say what to segment in .*a, or list", ["a"], None),
        (r"--prompt: .*list\.csv gives each image its own", [table], "polyp"),
        (r"list\.csv: line 3: .*c\.png: no such image", [table], None),
        (r"column prompt is missing .*give it the columns image,prompt", [write("x.csv", "image\na.png\n")], None),
        (r"y\.csv: lists no image", [write("y.csv", "image,prompt\n")], None),
        (r"results of .*a/scan\.png and .*b/scan\.png would have the same name", ["a/scan.png", "b"], "polyp"),
    ):
        with pytest.raises(PipelineError, match=message):
            find_images([tmp_path / path for path in paths], prompt)


def test_images_of_8_bits_stay_as_they_are(write):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = read_picture(write("turned.png", encode(Image.fromarray(COLOUR), exif=exif.tobytes())))
    assert np.array_equal(rgb(turned), np.rot90(COLOUR, -1)) and turned.window is None and not turned.automatic
    grey = read_picture(write("grey.bmp", encode(COLOUR[..., 0], "BMP")))
    assert np.array_equal(rgb(grey), np.dstack([COLOUR[..., 0]] * 3))


@pytest.mark.parametrize(("levels", "form"), [(DEEP, "PNG"), (DEEP.astype(np.int32) - 500, "TIFF"), (DEEP / 7, "TIFF")])
def test_levels_of_more_bits_are_scaled(write, levels, form):
    path = write("image", encode(levels.astype(np.float32) if levels.dtype == float else levels, form))
    low, high = (float(levels.flat[index]) for index in (100, 200))
    given = read_picture(path, (low, high))
    assert given.window == (low, high) and not given.automatic
    expected = np.clip(np.arange(400) - 100, 0, 100) * 2.55
    assert np.abs(rgb(given)[..., 0].ravel() - expected).max() <= 0.51
    automatic = read_picture(path)
    # The one level far above the others does not make them black.
    assert automatic.automatic and np.allclose(automatic.window, np.percentile(levels, (0.5, 99.5)))
    assert 120 < rgb(automatic).mean() < 135


def test_an_image_of_one_level_is_black(write):
    assert not rgb(read_picture(write("flat.png", encode(np.full((4, 4), 900, np.uint16))))).any()


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.png", b"not an image", {}, r"the image does not decode \(not an image\)"),
        ("a.png", deep_png(np.dstack([DEEP] * 3)), {}, "has more than 8 bits a channel .* scale it to 0..255"),
        ("a.tif", two_pages(), {}, "has 2 pages or frames; .* of its own, or choose one by --page"),
        ("a.tif", two_pages(), {"page": 3}, "has no page 3; its pages are 1 to 2"),
        ("a.tif", encode(np.full((2, 2), np.nan, np.float32), "TIFF"), {}, "levels that are no finite numbers"),
        ("a.png", encode(COLOUR), {"window": (0, 9)}, "has 8 bits a channel already"),
        ("a.nii.gz", b"", {}, r"a\.nii\.gz: a NIfTI volume; save its slices as images.*nibabel"),
        ("a.dcm", b"no DICOM", {}, "does not decode as DICOM"),
        ("a.dcm", dicom(np.zeros((3, 4, 5), np.uint8)), {}, "has 3 pages or frames.*--page"),
        ("a.dcm", dicom(np.zeros((4, 4, 3), np.uint16)), {}, "more than 8 bits a channel in colour; export it with 8"),
    ],
)
def test_what_cannot_be_read_names_its_fix(write, name, content, options, message):
    with pytest.raises(PipelineError, match=message):
        read_picture(write(name, content), **options)


def test_one_page_or_frame(write):
    assert rgb(read_picture(write("a.tif", two_pages()), page=2)).min() == 255
    frames = np.stack([np.full((4, 6), level, np.uint8) for level in (10, 20)])
    assert (rgb(read_picture(write("a", dicom(frames)), page=2)) == 20).all()


CT = {"RescaleSlope": 1, "RescaleIntercept": -1024}


@pytest.mark.parametrize(
    ("elements", "options", "low", "high"),
    [
        # The standard's linear window runs from center - 0.5 - (width - 1) / 2 to center - 0.5 + (width - 1) / 2.
        ({"WindowCenter": 40, "WindowWidth": 401}, {}, -160.5, 239.5),
        ({"WindowCenter": [40, 300], "WindowWidth": [401, 1500]}, {}, -160.5, 239.5),
        ({"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "LINEAR_EXACT"}, {}, -160, 240),
        ({"WindowCenter": 40, "WindowWidth": 400}, {"window": (-200, 100)}, -200, 100),
    ],
)
def test_dicom_is_shown_through_its_window(write, elements, options, low, high):
    stored = np.arange(400, 1424, dtype=np.uint16).reshape(32, 32)
    picture = read_picture(write("scan.dcm", dicom(stored, **CT, **elements)), **options)
    assert picture.window == (low, high) and not picture.automatic
    shown = np.clip((stored - 1024.0 - low) / (high - low), 0, 1) * 255
    assert np.abs(rgb(picture)[..., 1] - shown).max() <= 0.51
    inverted = {"PhotometricInterpretation": "MONOCHROME1"}
    negative = read_picture(write("negative.dcm", dicom(stored, **CT, **elements, **inverted)), **options)
    assert np.abs(255.0 - rgb(negative)[..., 1] - shown).max() <= 0.51


def test_dicom_without_a_linear_window_is_scaled_by_percentiles(write):
    for elements in ({}, {"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "SIGMOID"}):
        assert read_picture(write("scan.dcm", dicom(DEEP, **elements))).automatic


def test_the_window_of_an_enhanced_object_is_that_of_the_frame(write):
    def group(center: int) -> pydicom.Dataset:
        item, values = pydicom.Dataset(), pydicom.Dataset()
        values.WindowCenter, values.WindowWidth = center, 101
        item.FrameVOILUTSequence = [values]
        return item

    scale, shared = pydicom.Dataset(), pydicom.Dataset()
    scale.RescaleSlope, scale.RescaleIntercept = 2, -10
    shared.PixelValueTransformationSequence = [scale]
    frames = np.stack([np.full((4, 6), level, np.uint16) for level in (50, 60)])
    elements = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": [group(80), group(150)]}
    picture = read_picture(write("scan.dcm", dicom(frames, **elements)), page=2)
    assert picture.window == (99.5, 199.5) and (rgb(picture) == round(255 * 10.5 / 100)).all()


def test_colours_of_dicom(write):
    assert np.array_equal(rgb(read_picture(write("us.dcm", dicom(COLOUR)))), COLOUR)
    grey = COLOUR[..., 0].copy()
    assert np.array_equal(rgb(read_picture(write("grey.dcm", dicom(grey))))[..., 2], grey)


def test_dicom_needs_pydicom(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(PipelineError, match="not installed: pip install pydicom"):
        read_picture(write("scan.dcm", b""))


def test_slices_of_a_volume_are_made_as_the_message_says(tmp_path):
    volume = np.arange(60, dtype=np.float32).reshape(3, 4, 5) - 1000
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "IN.nii.gz")
    with pytest.raises(PipelineError) as refused:
        read_picture(tmp_path / "IN.nii.gz")
    command = str(refused.value).partition("--window: ")[2].removeprefix("python ")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(f"python {command}", shell=True, check=True, cwd=tmp_path, env=os.environ | {"PATH": path})
    assert len(list(tmp_path.glob("slice*.tif"))) == 5
    picture = read_picture(tmp_path / "slice002.tif", window=(-1000, -941))
    assert np.allclose(rgb(picture)[..., 0], np.round(255 * (volume[:, :, 2].T[::-1] + 1000) / 59), atol=1)
