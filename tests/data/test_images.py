"""Images that nobody has checked: read as they are, or refused with the fix."""

import numpy as np
import pytest
from data_support import deep_png, encode, two_pages
from PIL import Image

from pipeline.data.images import DEEP_MODES, ImageError, decode

GREY = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300


def photo() -> bytes:
    """What phones write: an image, and a preview in the same file."""
    return encode(Image.new("RGB", (4, 3), "red"), "MPO", save_all=True, append_images=[Image.new("RGB", (4, 3))])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encode(GREY), r"has more than 8 bits a channel \(mode I;16\); scale it to 0\.\.255 and save it with 8"),
        (encode(GREY.astype(np.float32), "TIFF"), r"has more than 8 bits a channel \(mode F\)"),
        (deep_png(np.dstack([GREY] * 3)), r"has more than 8 bits a channel \(mode RGB\)"),
        (encode(Image.new("LAB", (4, 3)), "TIFF"), "has colours of mode LAB; save it as RGB"),
        (two_pages(), "has 2 pages or frames; save the one that is meant as a file of its own"),
        (b"no image", r"does not decode \(not an image\)"),
        (encode(GREY.astype(np.uint8), "TIFF")[:-9], "does not decode"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(tmp_path, content, message):
    (tmp_path / "image").write_bytes(content)
    with pytest.raises(ImageError, match=f"^{message}"):
        decode(tmp_path / "image")


@pytest.mark.parametrize("levels", [GREY, GREY.astype(np.int32) - 1000, GREY.astype(np.float32) / 7])
def test_deep_images_are_taken_as_they_are_where_they_are_wanted(tmp_path, levels):
    (tmp_path / "image.tif").write_bytes(encode(levels, "TIFF"))
    image = decode(tmp_path / "image.tif", deep=True)
    assert image.mode in DEEP_MODES and np.array_equal(np.asarray(image), levels)


def test_colours_of_16_bits_are_refused_even_then(tmp_path):
    (tmp_path / "image.png").write_bytes(deep_png(np.dstack([GREY] * 3)))
    assert np.asarray(Image.open(tmp_path / "image.png")).max() < 13  # as Pillow reads levels up to 3300
    with pytest.raises(ImageError, match="8 bits"):
        decode(tmp_path / "image.png", deep=True)


def test_one_page_of_several(tmp_path):
    (tmp_path / "image.tif").write_bytes(two_pages())
    assert [decode(tmp_path / "image.tif", page=page).getpixel((0, 0)) for page in (1, 2)] == [(0,) * 3, (255,) * 3]
    with pytest.raises(ImageError, match="has no page 3; its pages are 1 to 2"):
        decode(tmp_path / "image.tif", page=3)


def test_the_preview_in_a_photo_is_no_page(tmp_path):
    (tmp_path / "image.jpg").write_bytes(photo())
    assert Image.open(tmp_path / "image.jpg").n_frames == 2
    red, green, blue = decode(tmp_path / "image.jpg").getpixel((0, 0))
    assert red > 250 > 5 > green + blue
