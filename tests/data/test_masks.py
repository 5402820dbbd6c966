"""What mask files mark as foreground."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.data.masks import read_mask
from pipeline.runtime.errors import PipelineError

RED, GREEN, DARK, BLACK = [250, 10, 10], [5, 230, 5], [127, 127, 0], [0, 0, 0]


def image(pixels, mode=None):
    return Image.fromarray(np.array(pixels, dtype=np.uint8), mode)


def on_black(rows, size=12):
    """The pixels in the corner of a black image, so that they are no more than an edge of a mask."""
    pixels = np.array(rows, dtype=np.uint8)
    result = np.zeros((size, size, *pixels.shape[2:]), dtype=np.uint8)
    result[: pixels.shape[0], : pixels.shape[1]] = pixels
    return Image.fromarray(result)


def test_the_threshold_is_128():
    foreground, group = read_mask(on_black([[0, 127, 128, 255]]), "grey")
    assert foreground[0, :5].tolist() == [False, False, True, True, False]
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


def palette(colours):
    indices = np.zeros((12, 12), dtype=np.uint8)
    indices[:4, :4] = 1
    result = Image.fromarray(indices, "P")
    result.putpalette([value for colour in colours for value in colour])
    return result


def alpha_only():
    shape = np.zeros((12, 12, 4), dtype=np.uint8)
    shape[:4, :4, 3] = 255
    return Image.fromarray(shape)


PHOTOGRAPH = np.linspace(0, 255, 144).reshape(12, 12)


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        (on_black([[1, 1]]), "grey", r"not black \(0\) and white \(255\): its levels are 0, 1$"),
        (on_black([[100]]), "grey", "levels are 0, 100$"),
        (on_black([[127]]), "grey", "levels are 0, 127$"),
        (palette([(0, 0, 0), (1, 1, 1)]), "grey", "levels are 0, 1$"),
        (palette([(0, 0, 0), (128, 0, 0)]), "grey", "levels are 0, 38$"),
        (alpha_only(), "grey", "partly transparent"),
        (alpha_only(), "red_green", "partly transparent"),
        (Image.fromarray(PHOTOGRAPH.astype(np.uint8)), "grey", "levels are 0, 1, 3, .* to 255$"),
        (on_black([[1, 2]]), "red_green", "levels are 0, 1, 2$"),
        (on_black([[DARK, DARK]]), "red_green", "levels are 0, 127$"),
        (Image.fromarray(PHOTOGRAPH.astype(np.uint8)).convert("RGB"), "red_green", "levels are 0, 1, 3, .* to 255$"),
    ],
)
def test_other_levels_are_named(source, kind, message):
    with pytest.raises(ValueError, match=message):
        read_mask(source, kind)


def test_an_unknown_kind_names_the_known_ones():
    with pytest.raises(PipelineError, match=r"mask_kind 'gray' is unknown; correct datasets\.yaml: grey, red_green"):
        read_mask(on_black([[255]]), "gray")


def test_a_photograph_is_no_mask():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="in colour"):
        read_mask(Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)), "grey")


def test_sixteen_bits_are_refused():
    with pytest.raises(ValueError, match="I;16"):
        read_mask(Image.fromarray(np.zeros((4, 4), dtype=np.uint16)), "grey")


@pytest.mark.parametrize(
    ("row", "foreground", "group"),
    [
        ([RED, DARK], [True, False], "neoplastic"),
        ([GREEN, DARK], [True, False], "non-neoplastic"),
        ([RED, GREEN], [True, True], "both"),
        ([BLACK, BLACK], [False, False], ""),
    ],
)
def test_red_and_green_are_both_foreground(row, foreground, group):
    found, told = read_mask(on_black([row]), "red_green")
    assert found[0, :2].tolist() == foreground
    assert told == group


def test_stray_pixels_do_not_change_the_class():
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    pixels[...] = RED
    pixels[0, 0] = GREEN
    assert read_mask(Image.fromarray(pixels), "red_green")[1] == "neoplastic"


def test_a_grey_mask_where_colour_is_expected_is_refused():
    with pytest.raises(ValueError, match="without colour"):
        read_mask(image([[0, 255]]), "red_green")


@pytest.mark.parametrize("mode", ["L", "P"])
def test_the_border_of_a_trimap_is_foreground(mode):
    foreground, group = read_mask(image([[1, 2], [3, 2]], mode), "trimap")
    assert foreground.tolist() == [[True, False], [True, False]]
    assert group == ""


@pytest.mark.parametrize("levels", [[[1, 2], [0, 2]], [[1, 2], [4, 2]], [[0, 255], [0, 255]]])
def test_other_levels_are_no_trimap(levels):
    with pytest.raises(ValueError, match="no trimap"):
        read_mask(image(levels), "trimap")
