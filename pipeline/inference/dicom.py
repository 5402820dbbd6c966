"""One image of a DICOM file, by pydicom, which is optional: pip install pydicom."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.data.images import ImageError, check_page
from pipeline.runtime.errors import PipelineError

SUFFIXES = (".dcm", ".dicom")
# What enhanced objects say by frame and others of the whole.
BY_FRAME = ("PixelValueTransformationSequence", "FrameVOILUTSequence")


class Dicom(NamedTuple):
    """What a file shows.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, or (H, W) float64 levels after the file's rescaling (of CT: Hounsfield units).
        window: the levels that become black and white, if the file gives a linear window.
        inverted: whether the lowest level is shown white.
    """

    pixels: np.ndarray
    window: tuple[float, float] | None
    inverted: bool


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its ending or, as archives often have no endings, by its preamble."""
    if path.suffix.lower() in SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_dicom(path: Path, frame: int | None = None) -> Dicom:
    """One frame of a DICOM file.

    Args:
        frame: from 1; needed where there are several.

    Raises:
        ImageError: it holds no such frame, or it does not decode.
        PipelineError: pydicom is not installed.
    """
    try:
        import pydicom
        from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array
    except ImportError:
        raise PipelineError(f"{path}: DICOM is read by pydicom, which is not installed: pip install pydicom") from None
    try:
        header = pydicom.dcmread(path)
        check_page(int(header.get("NumberOfFrames") or 1), frame)
        index = (frame or 1) - 1
        for groups in (
            header.get("SharedFunctionalGroupsSequence", []),
            header.get("PerFrameFunctionalGroupsSequence", [])[index : index + 1],
        ):
            for group in groups:
                for name in BY_FRAME:
                    for item in group.get(name, []):
                        header.update(item)
        pixels = pixel_array(header, index=index)
        if header.PhotometricInterpretation == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, header)
            pixels = (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
        if pixels.ndim == 3:
            if pixels.dtype != np.uint8:
                raise ImageError("has more than 8 bits a channel in colour; export it with 8")
            return Dicom(pixels, None, False)
        levels = apply_modality_lut(pixels, header).astype(np.float64)
        return Dicom(levels, _window(header), header.PhotometricInterpretation == "MONOCHROME1")
    except ImageError:
        raise
    except Exception as error:
        # pydicom and its decoders raise whatever their parsing runs into.
        raise ImageError(f"does not decode as DICOM ({' '.join(str(error).split()) or type(error).__name__})") from None


def _window(header) -> tuple[float, float] | None:
    """The file's first window, if it is linear (DICOM PS3.3 C.11.2.1), or all levels of an image of 8 bits."""
    centre, width = (header.get(f"Window{name}") for name in ("Center", "Width"))
    function = header.get("VOILUTFunction", "LINEAR")
    if centre is not None and width is not None and function in ("LINEAR", "LINEAR_EXACT"):
        centre, width = (float(np.atleast_1d(value)[0]) for value in (centre, width))
        exact = function == "LINEAR_EXACT"
        middle, half = (centre, width / 2) if exact else (centre - 0.5, (width - 1) / 2)
        return (middle - half, middle + half) if half > 0 else None
    plain = header.get("BitsStored", 16) == 8 and not header.get("PixelRepresentation")
    return (0.0, 255.0) if plain and "RescaleSlope" not in header and "ModalityLUTSequence" not in header else None
