"""Measure the fast way of training against the plain one, on the device at hand.

    python -m pipeline.benchmark.training --output benchmark.csv
    python -m pipeline.benchmark.training --variants telescopic lora --batch-sizes 32 --cases 800

MFU is the share of the device's matmul ceiling that the training FLOPs of cost.csv take. These count the vision
encoder's forward in each step: where its states are computed once and kept, the share can be above 100%.

Synthetic images of the size that Kvasir-SEG's have, a CLIPSeg of full size with random weights. Each measurement is a
process of its own, so that its peak memory is its own.
"""

import argparse
import itertools
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.benchmark import Timer

from pipeline.benchmark.plain import ImageFiles, PlainTrainer, build_plain
from pipeline.config import read_study
from pipeline.cost.count import CONFIGS, count_costs
from pipeline.demo.tiny import write_tokenizer
from pipeline.models.backbone import random_backbone
from pipeline.models.precision import AUTOCAST
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.textcache import TextCache
from pipeline.models.variants import build_segmenter
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.lease import compute_device
from pipeline.runtime.manifest import device_name, peak_memory_mib
from pipeline.runtime.progress import log
from pipeline.training.determinism import set_mode
from pipeline.training.loop import Trainer, to_device
from pipeline.training.settings import TrainingSettings

FILE_SIZE = (622, 529)  # Kvasir-SEG's median width and height
PROMPTS = [
    "polyp",
    "pink round polyp",
    "one small pink round polyp, located in right of the image",
    "polyp which is a small lump in the lining of colon",
]
IMAGE_SIZES = {"full": 352, "tiny": 96}


def write_files(folder: Path, cases: int) -> list[tuple[Path, Path]]:
    """Smooth random JPEG images with an ellipse as mask, of Kvasir-SEG's size."""
    generator = np.random.default_rng(0)
    width, height = FILE_SIZE
    y, x = np.mgrid[:height, :width]
    pairs = []
    for index in range(cases):
        coarse = Image.fromarray(generator.integers(40, 215, (34, 40, 3), dtype=np.uint8))
        centre, radius = generator.uniform((150, 120), (450, 400)), generator.uniform(50, 120)
        mask = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
        pairs.append((folder / f"{index}.jpg", folder / f"{index}_mask.jpg"))
        coarse.resize(FILE_SIZE, Image.Resampling.BICUBIC).save(pairs[-1][0], quality=90)
        Image.fromarray((mask * 255).astype(np.uint8)).save(pairs[-1][1], quality=90)
    return pairs


def prepare(pairs: list[tuple[Path, Path]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """The files as prepared tensors: (cases, size, size, 3) and (cases, size, size), both uint8."""
    images, masks = [], []
    for image_path, mask_path in pairs:
        with Image.open(image_path) as image, Image.open(mask_path) as mask:
            images.append(np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)))
            masks.append(np.asarray(mask.resize((size, size), Image.Resampling.NEAREST)) >= 128)
    return np.stack(images), np.stack(masks).astype(np.uint8)


def matmul_ceiling(device: str, precision: str) -> float:
    """FLOP/s that large matrix products reach on ``device`` in the type that ``precision`` multiplies in."""
    side = 8192 if device == "cuda" else 2048
    dtype = AUTOCAST.get(precision, torch.float32)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    timer = Timer("a @ b", globals={"a": a, "b": b}, num_threads=torch.get_num_threads())
    return 2 * side**3 / timer.blocked_autorange(min_run_time=1).median


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _measure(
    way: str, variant: dict, batch_size: int, pairs: list[tuple[Path, Path]], tokenizer: Path, size: str, threads: int,
    warm_up: bool,
) -> dict[str, Any]:  # fmt: skip
    """One epoch of one way in this process."""
    settings = TrainingSettings(batch_size=batch_size)
    with compute_device() as device:
        set_mode(device, deterministic=False, threads=threads)
        backbone, tokenizer = random_backbone(CONFIGS[size](), seed=0), load_tokenizer(tokenizer)
        prompts = [PROMPTS[index % len(PROMPTS)] for index in range(len(pairs))]
        torch.manual_seed(0)
        start = _now(device)
        if way == "plain":
            files = ImageFiles(pairs, prompts, tokenizer, IMAGE_SIZES[size])
            trainer = PlainTrainer(build_plain(variant, backbone).to(device), files, settings)
            epoch = trainer.train_epoch
        else:
            images, masks = prepare(pairs, IMAGE_SIZES[size])
            segmenter = build_segmenter(variant, backbone).to(device)
            text = TextCache(segmenter, tokenizer, PROMPTS)
            index = text.index(prompts)
            val = to_device(images[:1], masks[:1], device)
            train = to_device(images, masks, device)
            trainer = Trainer(segmenter, text, train, val, lambda _: index, index[:1], settings, seed=0)
            epoch = partial(trainer.train_epoch, 1)
        prepared = _now(device) - start
        if warm_up:
            epoch()
        start = _now(device)
        epoch()
        seconds = _now(device) - start
        memory = peak_memory_mib(device)
        return {
            "images_per_second": len(pairs) / seconds,
            "step_ms": 1000 * seconds / -(-len(pairs) // batch_size),
            "prepare_seconds": prepared,
            "peak_mib": memory.get("gpu_mib", memory["host_mib"]),
            "ceiling": matmul_ceiling(device, trainer.precision) if way == "fast" else None,
            "device": device_name(device),
            "precision": trainer.precision,
        }


def benchmark(
    variants: dict[str, dict], batch_sizes: list[int], cases: int, size: str, threads: int, warm_up: bool
) -> pd.DataFrame:
    """One row per variant, batch size and way.

    Args:
        variants: settings by name.
        size: ``full`` (352 x 352, clipseg-rd64's size) or ``tiny`` (96 x 96, the demo's).
        warm_up: whether an epoch runs before the measured one.
    """
    gflops = count_costs(variants, CONFIGS[size](), IMAGE_SIZES[size]).set_index("variant")["training_gflops"]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tokenizer(folder / "tokenizer")
        pairs = write_files(folder, cases)
        for (variant, settings), batch_size in itertools.product(variants.items(), batch_sizes):
            options = (settings, batch_size, pairs, folder / "tokenizer", size, threads, warm_up)
            results = {}
            for way in ("plain", "fast"):
                with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                    results[way] = pool.submit(_measure, way, *options).result()
            plain, fast = results["plain"], results["fast"]
            for way, result in results.items():
                used = result["images_per_second"] * gflops[variant] * 1e9
                share = {"mfu_percent": 100 * used / fast["ceiling"]}
                rows.append({"variant": variant, "batch_size": batch_size, "way": way, **result, **share})
            log(
                f"{variant}, batch {batch_size}, {fast['device']}, {fast['precision']}: "
                f"fast {fast['images_per_second']:.2f} images/s, "
                f"{fast['images_per_second'] / plain['images_per_second']:.2f} times plain; "
                f"MFU {rows[-1]['mfu_percent']:.0f}%; "
                f"peak memory {100 * fast['peak_mib'] / plain['peak_mib']:.0f}% of plain's"
            )
    return pd.DataFrame(rows).drop(columns="ceiling")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", default=["config.yaml"], help="where the variants are defined")
    parser.add_argument("--variants", nargs="+", default=["telescopic", "decoder_only", "end_to_end"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[32])
    parser.add_argument("--cases", type=int, default=800, help="images in the epoch; Kvasir-SEG trains on 800")
    parser.add_argument("--size", choices=["full", "tiny"], default="full", help="of the backbone and the images")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--no-warm-up", dest="warm_up", action="store_false", help="measure the first epoch")
    parser.add_argument("--output", type=Path, help="CSV file")
    arguments = parser.parse_args()
    study = read_study(*arguments.config)
    trained = {name: entry for name, entry in study.variants.items() if entry.settings.kind != "zero_shot"}
    for variant in arguments.variants:
        if variant not in trained:
            raise PipelineError(f"--variants: {variant!r} is not a trained variant; allowed: {', '.join(trained)}")
    variants = {variant: trained[variant].settings.model_dump(mode="json") for variant in arguments.variants}
    table = benchmark(
        variants, arguments.batch_sizes, arguments.cases, arguments.size, arguments.threads, arguments.warm_up
    )
    print(table.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    if arguments.output:
        write_csv(arguments.output, table)


if __name__ == "__main__":
    run_command(main)
