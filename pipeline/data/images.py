"""Decode images that nobody has checked."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 64 * 10**6
"""Pixels of an image beyond which it is not decoded; the five datasets' largest has 30 million."""
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "F")
"""One channel of more than 8 bits, or of floating-point numbers."""
# Their first frame is the image, what follows a preview or an animation; frames of other formats are pages.
ONE_IMAGE = ("MPO", "GIF")


class ImageError(ValueError):
    """An image cannot be used; the message completes "the image ..." and says how to put it right."""


def decode(path: Path, luma: bool = False, deep: bool = False, page: int | None = None) -> Image.Image:
    """An image with its pixels, 8 bits a channel; with ``luma`` of a JPEG its luma plane alone, as OpenCV reads it.

    The luma is not the grey level of the decoded colours: where a colour is out of range they are clipped.

    Args:
        deep: take images of :data:`DEEP_MODES` as they are.
        page: which page of a file of several, from 1.

    Raises:
        ImageError: it does not decode, is too large, or has several pages or more bits.
    """
    try:
        image = Image.open(path)
        check_page(1 if image.format in ONE_IMAGE else getattr(image, "n_frames", 1), page)
        if page:
            image.seek(page - 1)
        if image.width * image.height > MAX_PIXELS:
            size = f"{image.width}x{image.height} pixels"
            raise ImageError(f"has {size}, more than {MAX_PIXELS // 10**6} million; cut or shrink it")
        if not (deep and image.mode in DEEP_MODES):
            _check_depth(image)
        if luma and image.format == "JPEG":
            image.draft("L", None)
        image.load()
        return image
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("does not decode (not an image)") from None
    except Exception as error:
        # Pillow's plug-ins raise whatever their parsing runs into, from SyntaxError to struct.error.
        raise ImageError(f"does not decode ({str(error) or type(error).__name__})") from None


def check_page(pages: int, page: int | None) -> None:
    """Check that ``page`` (from 1) is one of a file's ``pages``, and given where there are several.

    Raises:
        ImageError: it is not.
    """
    if page is None and pages > 1:
        raise ImageError(f"has {pages} pages or frames; save the one that is meant as a file of its own")
    if page is not None and not 1 <= page <= pages:
        raise ImageError(f"has no page {page}; its pages are 1 to {pages}")


def _check_depth(image: Image.Image) -> None:
    # Of 16 bits a colour Pillow keeps the upper 8, which are black where 12 are used. Only what it is about to unpack
    # (the raw mode of the tiles) tells.
    if image.mode in DEEP_MODES or ";16" in str(image.tile):
        raise ImageError(f"has more than 8 bits a channel (mode {image.mode}); scale it to 0..255 and save it with 8")
    if image.mode not in EIGHT_BIT_MODES:
        raise ImageError(f"has colours of mode {image.mode}; save it as RGB")
