"""Segment your own images with a trained run or a released checkpoint.

Writes, for each image, NAME_mask.png (0 and 255, at the image's own size) and NAME_overlay.png, and with
--probabilities NAME_probability.npy (float32, at the image's own size).
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy.ndimage import binary_erosion
from transformers import CLIPSegForImageSegmentation, PreTrainedTokenizerBase

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
        found = [path]
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        elif not path.is_file():
            raise PipelineError(f"{path}: no such image")
        if not found:
            raise PipelineError(f"{path}: no image in this folder; looked for {', '.join(SUFFIXES)}")
        images += found
    repeated = [stem for stem, count in Counter(image.stem for image in images).items() if count > 1]
    if repeated:
        raise PipelineError(f"two images are named {repeated[0]}; run them separately, with different --output folders")
    return images


def load_run(run: Path, backbone: Path, clipseg: CLIPSegForImageSegmentation) -> tuple[Segmenter, int | None]:
    """The segmenter of a run and the side of its input in pixels, if recorded.

    Args:
        backbone: Folder that ``clipseg`` was read from.

    Raises:
        PipelineError: a file is missing or broken, or the run was trained on another backbone.
    """
    weights = run / "weights.safetensors"
    metadata = read_metadata(weights)
    if metadata.get("backbone_sha256") not in (None, file_sha256(backbone / WEIGHTS)):
        raise PipelineError(
            f"{weights}: trained on another backbone than {backbone / WEIGHTS}; pass the right one as --backbone"
        )
    return load_weights(weights, clipseg), int(metadata["image_size"]) if "image_size" in metadata else None


def predict_images(
    segmenter: Segmenter, tokenizer: PreTrainedTokenizerBase, images: Sequence[Path], prompt: str, size: int
) -> Iterator[tuple[Path, Image.Image, np.ndarray]]:
    """Yield the path, the image and its foreground probabilities: (H, W) float32 at the image's own size.

    Args:
        size: Side of the model's input, pixels; images are resized to it as in training (Pillow's bilinear).

    Raises:
        PipelineError: a file is not an image.
    """
    for start in range(0, len(images), IMAGES_PER_PASS):
        paths = images[start : start + IMAGES_PER_PASS]
        originals = [_read(path) for path in paths]
        inputs = [np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)) for image in originals]
        maps = probability_maps(segmenter, tokenizer, np.stack(inputs), [prompt] * len(paths))
        for path, image, probability in zip(paths, originals, maps, strict=True):
            yield path, image, upsample_probability(probability, image.height, image.width)


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``image`` (H, W, 3) uint8 with ``mask`` (H, W) bool tinted and outlined."""
    result = image.astype(np.float32)
    result[mask] = (1 - OPACITY) * result[mask] + OPACITY * np.array(TINT, dtype=np.float32)
    result[mask & ~binary_erosion(mask, border_value=1)] = 255
    return result.round().astype(np.uint8)


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as file:
            # Cameras store rotated images with an orientation tag; the mask is that of the image as displayed.
            return ImageOps.exif_transpose(file).convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise PipelineError(f"{path}: cannot be read as an image ({error})") from None


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
    options = parser.parse_args()
    images = find_images(options.image)
    # A run lies in {results}/runs/{dataset}/{variant}/seed{seed}.
    results = options.run.absolute().parents[:4][-1] if options.run else Path("results")
    backbone = options.backbone or results / "backbone"
    if not backbone.is_dir():
        raise PipelineError(f"{backbone}: no such folder; pass the CLIPSeg that was trained on as --backbone")
    clipseg, recorded = load_backbone(backbone), None
    if options.run:
        segmenter, recorded = load_run(options.run, backbone, clipseg)
    else:
        segmenter = load_released_checkpoint(options.checkpoint, clipseg)
    size, patch = options.image_size or recorded or 352, clipseg.config.vision_config.patch_size
    if size % patch:
        raise PipelineError(f"--image-size: {size} is not a multiple of {patch}")
    options.output.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(backbone)
    with compute_device() as device:
        predicted = predict_images(segmenter.to(device), tokenizer, images, options.prompt, size)
        for path, image, probability in track(predicted, "predicting", len(images)):
            mask = probability > options.threshold
            pictures = {"mask": mask.astype(np.uint8) * 255, "overlay": overlay(np.asarray(image), mask)}
            for name, pixels in pictures.items():
                with atomic_path(options.output / f"{path.stem}_{name}.png") as temporary:
                    Image.fromarray(pixels).save(temporary)
            if options.probabilities:
                with atomic_path(options.output / f"{path.stem}_probability.npy") as temporary:
                    np.save(temporary, probability)
    log(f"{len(images)} masks and overlays in {options.output}")


if __name__ == "__main__":
    run_command(main)
