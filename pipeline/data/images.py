"""Decode images that nobody has checked."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 64 * 10**6
"""Pixels of an image beyond which it is not decoded; the five datasets' largest has 30 million."""


def decode(path: Path, luma: bool = False) -> Image.Image:
    """An image with its pixels; with ``luma`` of a JPEG its luma plane alone, as OpenCV reads a greyscale image.

    The luma is not the grey level of the decoded colours: where a colour is out of range they are clipped.

    Raises:
        ValueError: it does not decode, or is too large; says why.
    """
    try:
        image = Image.open(path)
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels are more than {MAX_PIXELS // 10**6} million")
        if luma and image.format == "JPEG":
            image.draft("L", None)
        image.load()
        return image
    except UnidentifiedImageError:
        raise ValueError("not an image") from None
    except Exception as error:
        # Pillow's plug-ins raise whatever their parsing runs into, from SyntaxError to struct.error.
        raise ValueError(str(error) or type(error).__name__) from None
