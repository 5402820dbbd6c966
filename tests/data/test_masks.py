"""What mask files mark as foreground."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.data.masks import read_mask


def image(pixels, mode=None):
    return Image.fromarray(np.array(pixels, dtype=np.uint8), mode)


def test_the_threshold_is_128():
    foreground, group = read_mask(image([[0, 127, 128, 255]]), "grey")
    assert foreground.tolist() == [[False, False, True, True]]
    assert foreground.dtype == bool
    assert group == ""


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_grey_masks_of_every_mode(mode):
    source = image([[0, 255], [255, 0]]).convert(mode)
    assert read_mask(source, "grey")[0].tolist() == [[False, True], [True, False]]


def test_jpeg_noise_is_no_foreground():
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[20:44, 20:44] = 255
    buffer = io.BytesIO()
    Image.fromarray(mask).convert("RGB").save(buffer, "JPEG", quality=50)
    lossy = Image.open(buffer)
    assert (np.asarray(lossy.convert("L")) > 0).sum() > (mask > 0).sum()
    assert (read_mask(lossy, "grey")[0] == (mask > 0)).all()


def test_a_photograph_is_no_mask():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="in colour"):
        read_mask(Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)), "grey")


def test_sixteen_bits_are_refused():
    with pytest.raises(ValueError, match="I;16"):
        read_mask(Image.fromarray(np.zeros((4, 4), dtype=np.uint16)), "grey")


RED, GREEN, DARK = [200, 10, 10], [5, 128, 5], [127, 127, 0]


@pytest.mark.parametrize(
    ("row", "foreground", "group"),
    [
        ([RED, DARK], [True, False], "neoplastic"),
        ([GREEN, DARK], [True, False], "non-neoplastic"),
        ([RED, GREEN], [True, True], "both"),
        ([DARK, DARK], [False, False], ""),
    ],
)
def test_red_and_green_are_both_foreground(row, foreground, group):
    found, told = read_mask(image([row]), "red_green")
    assert found.tolist() == [foreground]
    assert told == group


def test_stray_pixels_do_not_change_the_class():
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    pixels[...] = RED
    pixels[0, 0] = GREEN
    assert read_mask(Image.fromarray(pixels), "red_green")[1] == "neoplastic"


def test_a_grey_mask_where_colour_is_expected_is_refused():
    with pytest.raises(ValueError, match="without colour"):
        read_mask(image([[0, 255]]), "red_green")
