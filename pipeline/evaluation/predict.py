"""Segment your own images with a trained run or a released checkpoint.

Writes, for each image, NAME_mask.png (0 and 255, at the image's own size) and NAME_overlay.png, and with
--probabilities NAME_probability.npy (float32, at the image's own size).
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from transformers import PreTrainedTokenizerBase

from pipeline.evaluation.metrics import upsample_probability
from pipeline.evaluation.probability_maps import probability_maps
from pipeline.models.backbone import load_backbone
from pipeline.models.checkpoints import load_released_checkpoint
from pipeline.models.folder import WEIGHTS
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.segmenter import Segmenter
from pipeline.models.weights import load_weights, read_metadata
from pipeline.runtime.atomic import atomic_path
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.lease import compute_device
from pipeline.runtime.manifest import file_sha256
from pipeline.runtime.progress import log, track

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
IMAGES_PER_PASS = 8
# Blue occurs in neither tissue nor skin, and colour-blind readers see it; the outline is white.
TINT, OPACITY = (0, 114, 255), 0.4


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The image files that ``paths`` name; for a folder, the images directly in it, sorted.

    Raises:
        PipelineError: a path does not exist, a folder has no image, or two results would have the same name.
    """
    images: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not found:
                raise PipelineError(f"{path}: no image in this folder; looked for {', '.join(SUFFIXES)}")
            images += found
        elif path.is_file():
            images.append(path)
        else:
            raise PipelineError(f"{path}: no such image")
    repeated = [stem for stem, count in Counter(image.stem for image in images).items() if count > 1]
    if repeated:
        raise PipelineError(f"two images are named {repeated[0]}; run them separately, with different --output folders")
    return images


def load_segmenter(
    run: Path | None, checkpoint: Path | None, backbone: Path
) -> tuple[Segmenter, PreTrainedTokenizerBase, int | None]:
    """The segmenter of a run or of a released checkpoint, its tokenizer, and the image size of the run if known.

    Raises:
        PipelineError: a file is missing or broken, or the run was trained on another backbone.
    """
    clipseg, size = load_backbone(backbone), None
    if run is not None:
        weights = run / "weights.safetensors"
        metadata = read_metadata(weights)
        trained_on = metadata.get("backbone_sha256")
        if trained_on is not None and trained_on != file_sha256(backbone / WEIGHTS):
            raise PipelineError(
                f"{weights}: trained on another backbone than {backbone / WEIGHTS}; pass the right one as --backbone"
            )
        segmenter = load_weights(weights, clipseg)
        size = int(metadata["image_size"]) if "image_size" in metadata else None
    else:
        segmenter = load_released_checkpoint(checkpoint, clipseg)
    return segmenter, load_tokenizer(backbone), size


def predict_images(
    segmenter: Segmenter,
    tokenizer: PreTrainedTokenizerBase,
    images: Sequence[Path],
    prompt: str,
    output: Path,
    size: int,
    threshold: float,
    probabilities: bool,
) -> None:
    """Write the mask and overlay of each image into ``output``.

    Args:
        size: Side of the model's input, pixels; images are resized to it as in training (Pillow's bilinear).
        threshold: Probability above which a pixel is foreground.
        probabilities: Whether to write NAME_probability.npy too.

    Raises:
        PipelineError: a file is not an image.
    """
    output.mkdir(parents=True, exist_ok=True)
    parts = [images[start : start + IMAGES_PER_PASS] for start in range(0, len(images), IMAGES_PER_PASS)]

    def maps():
        for part in parts:
            originals = [_read(path) for path in part]
            small = np.stack([np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)) for image in originals])
            predicted = probability_maps(segmenter, tokenizer, small, [prompt] * len(part))
            yield from zip(part, originals, predicted, strict=True)

    for path, original, probability in track(maps(), "predicting", len(images)):
        probability = upsample_probability(probability, original.height, original.width)
        mask = probability > threshold
        _save(output / f"{path.stem}_mask.png", Image.fromarray(mask.astype(np.uint8) * 255))
        _save(output / f"{path.stem}_overlay.png", Image.fromarray(overlay(np.asarray(original), mask)))
        if probabilities:
            with atomic_path(output / f"{path.stem}_probability.npy") as temporary:
                np.save(temporary, probability)


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``image`` (H, W, 3) uint8 with ``mask`` (H, W) bool tinted and outlined."""
    result = image.astype(np.float32)
    result[mask] = (1 - OPACITY) * result[mask] + OPACITY * np.array(TINT, dtype=np.float32)
    # Foreground pixels with a background pixel above, below, left or right of them.
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    result[mask & ~inside] = 255
    return result.round().astype(np.uint8)


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as file:
            # Cameras store rotated images with an orientation tag; the mask is that of the image as displayed.
            return ImageOps.exif_transpose(file).convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise PipelineError(f"{path}: cannot be read as an image ({error})") from None


def _save(path: Path, image: Image.Image) -> None:
    with atomic_path(path) as temporary:
        image.save(temporary)


def _default_backbone(run: Path | None) -> Path:
    if run is None:
        return Path("results/backbone")
    # A run lies in {results}/runs/{dataset}/{variant}/seed{seed}.
    parents = run.absolute().parents
    if len(parents) < 4:
        raise PipelineError(f"{run}: not in a study's results; pass the CLIPSeg it was trained on as --backbone")
    return parents[3] / "backbone"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="folder of a trained run")
    source.add_argument("--checkpoint", type=Path, help="released .ckpt of Telescopic Adapters or VLSM-Adapter")
    parser.add_argument("--image", type=Path, nargs="+", required=True, help="images, or folders of images")
    parser.add_argument("--prompt", required=True, help="what to segment, e.g. 'one small pink polyp'")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--backbone", type=Path, help="folder of CLIPSeg; that of the run's study, or results/backbone")
    parser.add_argument("--image-size", type=int, help="side of the model's input, pixels; the run's, or 352")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability above which a pixel is foreground")
    parser.add_argument("--probabilities", action="store_true", help="write the probabilities too")
    arguments = parser.parse_args()
    images = find_images(arguments.image)
    backbone = arguments.backbone or _default_backbone(arguments.run)
    segmenter, tokenizer, size = load_segmenter(arguments.run, arguments.checkpoint, backbone)
    size = arguments.image_size or size or 352
    patch = segmenter.clipseg.config.vision_config.patch_size
    if size % patch:
        raise PipelineError(f"--image-size: {size} is not a multiple of {patch}")
    with compute_device() as device:
        settings = arguments.prompt, arguments.output, size, arguments.threshold, arguments.probabilities
        predict_images(segmenter.to(device), tokenizer, images, *settings)
    log(f"{len(images)} masks and overlays in {arguments.output}")


if __name__ == "__main__":
    run_command(main)
