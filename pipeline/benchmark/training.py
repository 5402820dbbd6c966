"""Measure the fast way of training against the plain one, on the device at hand.

    python -m pipeline.benchmark.training --output benchmark.csv
    python -m pipeline.benchmark.training --variants telescopic lora --batch-sizes 32 --cases 800

MFU is the share of the device's matmul ceiling that the training FLOPs of cost.csv take. These count the vision
encoder's forward in each step: where its states are computed once and kept, the share can be above 100%.

Synthetic images of the size that Kvasir-SEG's have, a CLIPSeg of full size with random weights. Each measurement is a
process of its own, so that its peak memory is its own.
"""

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from pipeline.benchmark.plain import ImageFiles, PlainTrainer, build_plain
from pipeline.config import read_study
from pipeline.cost.count import CONFIGS, count_costs
from pipeline.demo.tiny import write_tokenizer
from pipeline.models.backbone import random_backbone
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.textcache import TextCache
from pipeline.models.variants import build_segmenter
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.lease import compute_device
from pipeline.runtime.manifest import device_name, peak_memory_mib
from pipeline.runtime.progress import log
from pipeline.training.determinism import set_mode
from pipeline.training.loop import AUTOCAST, Trainer, to_device
from pipeline.training.settings import TrainingSettings

FILE_SIZE = (622, 529)  # Kvasir-SEG's median width and height
PROMPTS = [
    "polyp",
    "pink round polyp",
    "one small pink round polyp, located in right of the image",
    "polyp which is a small lump in the lining of colon",
]
IMAGE_SIZES = {"full": 352, "tiny": 96}
COLUMNS = [
    "variant",
    "batch_size",
    "way",
    "images_per_second",
    "step_ms",
    "prepare_seconds",
    "peak_mib",
    "mfu_percent",
    "device",
    "precision",
]


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
    best = float("inf")
    for _ in range(6):
        start = _now(device)
        a @ b
        best = min(best, _now(device) - start)
    return 2 * side**3 / best


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _measure(task: dict[str, Any]) -> dict[str, Any]:
    """One way, variant and batch size in this process."""
    settings = TrainingSettings(batch_size=task["batch_size"])
    pairs = [tuple(map(Path, pair)) for pair in task["pairs"]]
    with compute_device() as device:
        set_mode(device, deterministic=False, threads=task["threads"])
        config = CONFIGS[task["size"]]()
        tokenizer = load_tokenizer(task["tokenizer"])
        prompts = [PROMPTS[index % len(PROMPTS)] for index in range(len(pairs))]
        torch.manual_seed(0)
        start = _now(device)
        if task["way"] == "plain":
            segmenter = build_plain(task["settings"], random_backbone(config, seed=0)).to(device)
            files = ImageFiles(pairs, prompts, tokenizer, task["image_size"])
            trainer = PlainTrainer(segmenter, files, settings, workers=4)
            epoch = trainer.train_epoch
        else:
            images, masks = prepare(pairs, task["image_size"])
            segmenter = build_segmenter(task["settings"], random_backbone(config, seed=0)).to(device)
            text = TextCache(segmenter, tokenizer, PROMPTS)
            index = text.index(prompts)
            val = to_device(images[:1], masks[:1], device)
            train = to_device(images, masks, device)
            trainer = Trainer(segmenter, text, train, val, lambda _: index, index[:1], settings, seed=0)
            epoch = lambda: trainer.train_epoch(1)  # noqa: E731
        prepared = _now(device) - start
        if task["warm_up"]:
            epoch()
        start = _now(device)
        epoch()
        seconds = _now(device) - start
        memory = peak_memory_mib(device)
        ceiling = matmul_ceiling(device, trainer.precision) if task["way"] == "fast" else None
    steps = -(-len(pairs) // task["batch_size"])
    return {
        "images_per_second": len(pairs) / seconds,
        "step_ms": 1000 * seconds / steps,
        "prepare_seconds": prepared,
        "peak_mib": memory.get("gpu_mib", memory["host_mib"]),
        "ceiling": ceiling,
        "device": device_name(device),
        "precision": trainer.precision,
    }


def _in_own_process(task: dict[str, Any]) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, task).result()


def benchmark(
    variants: dict[str, dict], batch_sizes: list[int], cases: int, size: str, threads: int, warm_up: bool
) -> pd.DataFrame:
    """One row per variant, batch size and way.

    Args:
        variants: settings by name.
        size: ``full`` (352 x 352, clipseg-rd64's size) or ``tiny`` (96 x 96, the demo's).
        warm_up: whether an epoch runs before the measured one.
    """
    image_size = IMAGE_SIZES[size]
    gflops = count_costs(variants, CONFIGS[size](), image_size).set_index("variant")["training_gflops"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder) / "tokenizer")
        pairs = write_files(Path(folder), cases)
        for variant, settings in variants.items():
            for batch_size in batch_sizes:
                task = {
                    "settings": settings,
                    "batch_size": batch_size,
                    "pairs": [tuple(map(str, pair)) for pair in pairs],
                    "tokenizer": f"{folder}/tokenizer",
                    "image_size": image_size,
                    "size": size,
                    "threads": threads,
                    "warm_up": warm_up,
                }
                results = {way: _in_own_process(task | {"way": way}) for way in ("plain", "fast")}
                plain, fast = results["plain"], results["fast"]
                for way, result in results.items():
                    used = result["images_per_second"] * gflops[variant] * 1e9
                    result["mfu_percent"] = 100 * used / fast["ceiling"]
                    rows.append({"variant": variant, "batch_size": batch_size, "way": way, **result})
                log(
                    f"{variant}, batch {batch_size}, {fast['device']}, {fast['precision']}: "
                    f"fast {fast['images_per_second']:.2f} images/s, "
                    f"{fast['images_per_second'] / plain['images_per_second']:.2f} times plain; "
                    f"MFU {fast['mfu_percent']:.0f}%; "
                    f"peak memory {100 * fast['peak_mib'] / plain['peak_mib']:.0f}% of plain's"
                )
    return pd.DataFrame(rows)[COLUMNS]


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
