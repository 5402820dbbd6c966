"""Images of one's own: which they are, and their pixels as the model takes them, RGB of 8 bits a channel."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipeline.data.images import DEEP_MODES, ImageError, decode
from pipeline.evaluation.csv_table import read_table
from pipeline.inference.dicom import is_dicom, read_dicom
from pipeline.runtime.errors import PipelineError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VOLUMES = (".nii", ".nii.gz")
SLICES = (
    "python -c \"import nibabel, PIL.Image as i; v = nibabel.load('IN.nii.gz').get_fdata(dtype='float32'); "
    "[i.fromarray(v[:, :, n].T[::-1].copy()).save(f'slice{n:03}.tif') for n in range(v.shape[2])]\""
)
# Percentiles of the automatic window: burnt-in labels and defects are brighter than any tissue.
AUTOMATIC = (0.5, 99.5)

Window = tuple[float, float]
"""The levels that become black and white."""


@dataclass(frozen=True)
class Request:
    """An image, its prompt, and the name that its results begin with, a path below the output folder."""

    path: Path
    prompt: str
    name: str


@dataclass(frozen=True)
class Picture:
    """An image as displayed.

    Attributes:
        image: mode RGB.
        window: how its levels were scaled to 0..255; none if it has 8 bits a channel.
        automatic: whether neither the user nor the file gave the window.
    """

    image: Image.Image
    window: Window | None = None
    automatic: bool = False


def find_images(paths: Sequence[Path], prompt: str | None) -> list[Request]:
    """The images that ``paths`` name: files, folders (the images directly in them, sorted), or CSV files.

    A CSV has the columns image (a path, relative to the CSV's folder) and prompt. Results are named by the image's full
    file name, those of a CSV by the path it gives; where an image is listed with several prompts, -2, -3 ... follow.

    Raises:
        PipelineError: a path does not exist or has no image, results of two images would have the same name, or an
            image has no prompt, or two.
    """
    requests: list[Request] = []
    for path in paths:
        if path.suffix.lower() == ".csv":
            if prompt is not None:
                raise PipelineError(f"--prompt: {path} gives each image its own; leave the option out")
            requests += _listed(path)
        elif not (prompt or "").strip():
            raise PipelineError(f"--prompt: say what to segment in {path}, or list images and prompts in a CSV")
        else:
            requests += [Request(file, prompt, file.name) for file in _found(path)]
    return list(_told_apart(requests))


def _found(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.is_file():
            raise PipelineError(f"{path}: no such image")
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    images = [file for file in files if file.name.lower().endswith((*SUFFIXES, *VOLUMES)) or is_dicom(file)]
    if not images:
        raise PipelineError(f"{path}: no image in this folder; looked for {', '.join(SUFFIXES)} and DICOM")
    return images


def _listed(table: Path) -> Iterator[Request]:
    rows = read_table(table, ["image", "prompt"], as_text=True, fix="give it the columns image,prompt")
    if rows.empty:
        raise PipelineError(f"{table}: lists no image")
    for row in rows.itertuples():
        given = Path(row.image.strip())
        path = table.parent / given
        if not path.is_file():
            raise PipelineError(f"{table}: line {row.Index + 2}: {path}: no such image")
        below = not given.is_absolute() and ".." not in given.parts
        yield Request(path, row.prompt, given.as_posix() if below else given.name)


def _told_apart(requests: Sequence[Request]) -> Iterator[Request]:
    first: dict[str, Path] = {}
    count: Counter[str] = Counter()
    for request in requests:
        name, path = request.name, request.path
        if first.setdefault(name, path).resolve() != path.resolve():
            raise PipelineError(
                f"results of {first[name]} and {path} would have the same name; list them in a CSV (image,prompt) in a "
                "folder above both, or give them different --output folders"
            )
        count[name] += 1
        yield Request(path, request.prompt, f"{name}-{count[name]}") if count[name] > 1 else request


def read_picture(path: Path, window: Window | None = None, page: int | None = None) -> Picture:
    """An image as displayed.

    Levels of more than 8 bits are scaled by ``window``, else by the file's own (DICOM), else by the percentiles
    :data:`AUTOMATIC`.

    Args:
        page: of a file with several pages or frames, from 1.

    Raises:
        PipelineError: the file cannot be read as one image; says how to put it right.
    """
    if path.name.lower().endswith(VOLUMES):
        raise PipelineError(f"{path}: a NIfTI volume; save its slices as images, and give --window: {SLICES}")
    own, inverted = None, False
    try:
        if is_dicom(path):
            pixels, own, inverted = read_dicom(path, page)
        else:
            # Cameras store rotated images with an orientation tag; the mask is that of the image as displayed.
            image = ImageOps.exif_transpose(decode(path, deep=True, page=page))
            pixels = np.asarray(image if image.mode in DEEP_MODES else image.convert("RGB"))
        if pixels.ndim == 3:
            if window:
                raise ImageError("has 8 bits a channel already; --window is for more")
            return Picture(Image.fromarray(pixels))
        if not np.isfinite(pixels).all():
            raise ImageError("has levels that are no finite numbers; replace them")
    except ImageError as error:
        hint = ", or choose one by --page" if page is None and "pages or frames" in str(error) else ""
        raise PipelineError(f"{path}: the image {error}{hint}") from None
    low, high = chosen = window or own or _automatic(pixels)
    grey = np.clip((pixels - low) / (high - low), 0, 1)
    grey = np.round(255 * (1 - grey if inverted else grey)).astype(np.uint8)
    return Picture(Image.fromarray(grey).convert("RGB"), chosen, not (window or own))


def _automatic(levels: np.ndarray) -> Window:
    low, high = (float(value) for value in np.percentile(levels, AUTOMATIC))
    if low == high:
        low, high = float(levels.min()), float(levels.max())
    return low, high if high > low else low + 1
