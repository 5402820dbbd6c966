"""Segment images of your own with trained runs or a released checkpoint. Research software, not a medical device.

Writes into --output, at each image's own size and named by its full file name,
  NAME_mask.png         0 and 255
  NAME_overlay.png      the image with the mask tinted and outlined
  NAME_probability.tif  with --probabilities: 32-bit floating-point numbers, 0..1
and summary.csv, a row for each image and prompt: the mask's pixels, its share of the image, its box (left, top, right,
bottom, as Pillow crops: right and bottom lie outside), its regions, and the highest probability; how levels of more
than 8 bits were scaled (window); of several runs their agreement, the mean DSC of each one's mask with that of all.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import label
from transformers import PreTrainedTokenizerBase

from pipeline.data.overlays import overlay
from pipeline.evaluation.metrics import Target, upsample_probability
from pipeline.evaluation.probability_maps import probability_maps
from pipeline.inference.images import Picture, Request, find_images, read_picture
from pipeline.inference.models import Model, load_checkpoint, load_runs
from pipeline.runtime.atomic import atomic_path, write_csv
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.lease import compute_device
from pipeline.runtime.progress import log, track

IMAGES_PER_PASS = 8
COLUMNS = ["image", "prompt", "mask", "width", "height", "pixels", "share", "left", "top", "right", "bottom", "regions"]
COLUMNS += ["highest_probability", "agreement", "window_low", "window_high", "error"]


def predict_images(
    model: Model, requests: Sequence[Request], options: argparse.Namespace
) -> Iterator[tuple[Request, Picture | PipelineError, np.ndarray]]:
    """Yield each request, its image, and the foreground probabilities by each run: float32 (runs, S, S).

    In place of an image that cannot be read comes the error, without probabilities.

    Args:
        options: of the command line: window, page.
    """
    side = (model.size, model.size)
    for start in range(0, len(requests), IMAGES_PER_PASS):
        part = requests[start : start + IMAGES_PER_PASS]
        read = [_read(request, options) for request in part]
        good = [index for index, picture in enumerate(read) if isinstance(picture, Picture)]
        # As in training.
        inputs = [np.asarray(read[index].image.resize(side, Image.Resampling.BILINEAR)) for index in good]
        prompts, maps = [part[index].prompt for index in good], {}
        if good:
            each = [list(probability_maps(one, model.tokenizer, np.stack(inputs), prompts)) for one in model.segmenters]
            maps = dict(zip(good, np.stack(each, axis=1), strict=True))
        for index, (request, picture) in enumerate(zip(part, read, strict=True)):
            yield request, picture, maps.get(index, np.empty((0, *side), np.float32))


def _read(request: Request, options: argparse.Namespace) -> Picture | PipelineError:
    try:
        return read_picture(request.path, options.window, options.page)
    except PipelineError as error:
        return error


def describe(mask: np.ndarray) -> dict[str, Any]:
    """Size, pixels, share, box and number of regions (8-connected) of ``mask`` (H, W) bool."""
    box = Image.fromarray(mask).getbbox() or (None,) * 4
    return {
        "width": mask.shape[1],
        "height": mask.shape[0],
        "pixels": int(mask.sum()),
        "share": float(mask.mean()),
        **dict(zip(("left", "top", "right", "bottom"), box, strict=True)),
        "regions": label(mask, structure=np.ones((3, 3)))[1],
    }


def write_results(request: Request, picture: Picture, maps: np.ndarray, options: argparse.Namespace) -> dict[str, Any]:
    """Write an image's results; its row of summary.csv.

    Args:
        maps: foreground probabilities by each run, float32 (runs, S, S).
        options: of the command line: output, threshold, probabilities.
    """
    average = maps.mean(axis=0)
    probability = upsample_probability(average, picture.image.height, picture.image.width)
    mask = probability > options.threshold
    files = {
        "mask.png": Image.fromarray(mask.astype(np.uint8) * 255),
        "overlay.png": Image.fromarray(overlay(np.asarray(picture.image), mask)),
    }
    if options.probabilities:
        files["probability.tif"] = Image.fromarray(probability)
    for name, image in files.items():
        with atomic_path(options.output / f"{request.name}_{name}") as temporary:
            image.save(temporary)
    together = Target(average > options.threshold)
    row = {"mask": f"{request.name}_mask.png", "highest_probability": float(probability.max()), **describe(mask)}
    if len(maps) > 1:
        row["agreement"] = float(np.mean([together.dsc(one > options.threshold) for one in maps]))
    if picture.window:
        row["window_low"], row["window_high"] = picture.window
    return row


def warn_of_cut_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], context: int) -> None:
    """Log the prompts of more than ``context`` tokens, of which the model does not see the end."""
    for prompt in dict.fromkeys(prompts):
        tokens = tokenizer(prompt, verbose=False)["input_ids"]
        if len(tokens) > context:
            # The last token that is seen is that of the end.
            lost = tokenizer.decode(tokens[context - 1 : -1])
            log(f"warning: a prompt of {len(tokens)} tokens is cut to {context}; not seen: {lost!r} of {prompt!r}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--run",
        nargs="+",
        help="folder of a trained run, of a variant (all its seeds), or one that `export` wrote, or "
        "OWNER/NAME@REVISION on the Hugging Face hub; probabilities of several are averaged",
    )
    source.add_argument("--checkpoint", type=Path, help="released .ckpt of Telescopic Adapters or VLSM-Adapter")
    parser.add_argument(
        "--image",
        type=Path,
        nargs="+",
        required=True,
        help="images (PNG, JPEG, TIFF, WebP, BMP, DICOM), folders of images, or a CSV with the columns image,prompt",
    )
    parser.add_argument("--prompt", help="what to segment in all of them, e.g. 'one small pink polyp'")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability above which a pixel is foreground")
    parser.add_argument("--probabilities", action="store_true", help="write the probabilities too")
    parser.add_argument(
        "--window",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="levels that become black and white, of images of more than 8 bits; the file's (DICOM), or percentiles",
    )
    parser.add_argument("--page", type=int, help="of files with several pages or frames: which one, from 1")
    parser.add_argument("--backbone", type=Path, help="folder of CLIPSeg, if it is not where the run says")
    parser.add_argument("--image-size", type=int, help="side of the model's input, pixels; the run's, or 352")
    options = parser.parse_args()
    if not 0 < options.threshold < 1:
        raise PipelineError(f"--threshold: {options.threshold:g} is not between 0 and 1")
    if options.window and not -np.inf < options.window[0] < options.window[1] < np.inf:
        raise PipelineError(f"--window: LOW must be below HIGH, got {options.window[0]:g} {options.window[1]:g}")
    if any(folder.is_dir() and options.output.resolve() == folder.resolve() for folder in options.image):
        raise PipelineError(f"--output: {options.output} is where the images are; name another folder")
    return options


def main() -> None:
    options = _options()
    requests = find_images(options.image, options.prompt)
    options.output.mkdir(parents=True, exist_ok=True)
    if options.run:
        model = load_runs(options.run, options.backbone, options.image_size)
    else:
        model = load_checkpoint(options.checkpoint, options.backbone or Path("results/backbone"), options.image_size)
    if context := model.segmenters[0].context:
        warn_of_cut_prompts(model.tokenizer, [request.prompt for request in requests], context)
    else:
        log("this model reads no prompt: whatever it says, the mask is the same")
    rows, errors, scaled = [], [], []
    with compute_device() as device:
        for segmenter in model.segmenters:
            segmenter.to(device)
        for request, picture, maps in track(predict_images(model, requests, options), "predicting", len(requests)):
            row = {"image": str(request.path), "prompt": request.prompt}
            if isinstance(picture, PipelineError):
                errors.append(str(picture))
                rows.append(row | {"error": errors[-1]})
                continue
            rows.append(row | write_results(request, picture, maps, options))
            if picture.automatic:
                scaled.append(f"{request.path}: levels {picture.window[0]:g} to {picture.window[1]:g}")
    write_csv(options.output / "summary.csv", pd.DataFrame(rows, columns=COLUMNS))
    if scaled:
        more = f", and {len(scaled) - 1} more (windows in summary.csv)" if len(scaled) > 1 else ""
        log(f"scaled to 0..255 by percentiles: {scaled[0]}{more}; --window LOW HIGH sets them")
    of = f"by the average of {len(model.segmenters)} runs " if len(model.segmenters) > 1 else ""
    log(f"{len(rows) - len(errors)} masks and overlays {of}in {options.output}, with summary.csv")
    log("Research software, not a medical device.")
    if errors:
        raise PipelineError(f"{len(errors)} of {len(rows)} images left out (see summary.csv): {'; '.join(errors[:3])}")


if __name__ == "__main__":
    run_command(main)
