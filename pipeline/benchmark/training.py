"""Measure the fast way of training against the plain one, on the device at hand.

    python -m pipeline.benchmark.training --output benchmark.csv
    python -m pipeline.benchmark.training --variants telescopic lora --batch-sizes 32 --cases 800
    python -m pipeline.benchmark.training --training '{"precision": "fp32"}' '{"precision": "bf16"}' --repeats 3

MFU is the share of a ceiling that the FLOPs of the step take, matrix products of forward and backward alone, without
what was computed before and kept. There are two ceilings: what large products reach on this device, and its data sheet.

Synthetic images of the size that Kvasir-SEG's have, a CLIPSeg of full size with random weights. Each measurement is a
process of its own, so that its peak memory is its own. All ways take turns, ``--repeats`` times; the table has medians.
Where other work keeps the CPU busy, the time that an image takes of it (``cpu_ms``, loader processes included) tells
more than images/s.
"""

import argparse
import functools
import itertools
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from pipeline.benchmark.ceilings import data_sheet, matmul_ceiling
from pipeline.benchmark.plain import ImageFiles, PlainTrainer, build_plain
from pipeline.config import read_study
from pipeline.cost.flops import executed_flops
from pipeline.demo.tiny import write_tokenizer
from pipeline.models.backbone import empty_backbone, full_size_config, random_backbone, tiny_config
from pipeline.models.kinds import VariantSettings
from pipeline.models.precision import AUTOCAST
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.segmenter import Segmenter
from pipeline.models.textcache import TextCache
from pipeline.models.variants import build_segmenter
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.lease import compute_device
from pipeline.runtime.manifest import device_name, peak_memory_mib
from pipeline.runtime.options import json_value
from pipeline.runtime.progress import log
from pipeline.training.augmentation import draw_views
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
CONFIGS = {"full": full_size_config, "tiny": tiny_config}


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


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _cpu_seconds() -> float:
    """Of this process and of those it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _on_meta(value: Any) -> Any:
    """``value`` (a tensor, or lists or mappings of such) without storage, numbers as float32."""
    if isinstance(value, Tensor):
        return value.to("meta", torch.float32 if value.is_floating_point() else value.dtype)
    if isinstance(value, Mapping):
        return {name: _on_meta(part) for name, part in value.items()}
    return [_on_meta(part) for part in value]


def _measure(
    way: str, settings: TrainingSettings, variant: dict, pairs: list[tuple[Path, Path]], tokenizer: Path, size: str,
    threads: int, warm_up: bool,
) -> dict[str, Any]:  # fmt: skip
    """One epoch of one way in this process."""
    with compute_device() as device:
        set_mode(device, settings.deterministic, threads)
        backbone, tokenizer = random_backbone(CONFIGS[size](), seed=0), load_tokenizer(tokenizer)
        prompts = [PROMPTS[index % len(PROMPTS)] for index in range(len(pairs))]
        build: Callable[..., Segmenter] = build_plain if way == "plain" else build_segmenter
        torch.manual_seed(0)
        start = _now(device)
        if way == "plain":
            files = ImageFiles(pairs, prompts, tokenizer, IMAGE_SIZES[size])
            workers = min(4, len(os.sched_getaffinity(0)))
            trainer = PlainTrainer(build(variant, backbone).to(device), files, settings, workers)
            epoch = trainer.train_epoch
            inputs = {name: value[None] for name, value in files[0].items() if name != "mask"}
        else:
            images, masks = prepare(pairs, IMAGE_SIZES[size])
            segmenter = build(variant, backbone).to(device)
            text = TextCache(segmenter, tokenizer, PROMPTS)
            index = text.index(prompts)
            val = to_device(images[:1], masks[:1], device)
            train = to_device(images, masks, device)
            cases = list(map(str, range(len(pairs))))
            views = None if settings.augmentation == "none" else lambda number: draw_views(cases, 0, number).values
            trainer = Trainer(
                segmenter, text, train, val, lambda _: index, index[:1], settings, seed=0, train_views=views
            )
            epoch = functools.partial(trainer.train_epoch, 1)
            first = torch.zeros(1, dtype=torch.long, device=device)
            inputs = {**train.inputs(first), "text": text.take(first)}
        prepared = _now(device) - start
        if warm_up:
            epoch()
        start, busy = _now(device), _cpu_seconds()
        epoch()
        seconds, busy = _now(device) - start, _cpu_seconds() - busy
        memory = peak_memory_mib(device)
        # Counted on the meta device with eager attention: the same whatever kernels the step runs.
        counted = build(variant, empty_backbone(CONFIGS[size](), "eager"))
        _, flops = executed_flops(counted, **_on_meta(inputs))
        return {
            "images_per_second": len(pairs) / seconds,
            "step_ms": 1000 * seconds / -(-len(pairs) // settings.batch_size),
            "cpu_ms": 1000 * busy / len(pairs),
            "prepare_seconds": prepared,
            "peak_mib": memory.get("gpu_mib", memory["host_mib"]),
            "gflops_per_image": flops / 1e9,
            "device": device_name(device),
            "precision": trainer.precision,
            "steps": replayed.how if (replayed := getattr(trainer, "replayed", None)) else "eager",
        }


def _ceiling(precision: str, threads: int) -> float:
    with compute_device() as device:
        set_mode(device, deterministic=False, threads=threads)
        return matmul_ceiling(device, precision)


class Bench:
    """Measures ways of training on the same files.

    Args:
        folder: for the files.
        cases: images in the epoch.
        size: ``full`` (352 x 352, clipseg-rd64's size) or ``tiny`` (96 x 96, the demo's).
        warm_up: whether an epoch runs before the measured one.
    """

    def __init__(self, folder: Path, cases: int, size: str, threads: int, warm_up: bool = True):
        write_tokenizer(folder / "tokenizer")
        self.pairs = write_files(folder, cases)
        self._options = (folder / "tokenizer", size, threads, warm_up)
        self._threads = threads
        self._ceilings: dict[torch.dtype | None, float] = {}

    @staticmethod
    def _run(function: Callable, *arguments: Any) -> Any:
        """Call a function in a process of its own, forked from one that has imported all this but computed nothing."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(function, *arguments).result()

    def measure(self, way: str, variant: dict, batch_size: int, **training: Any) -> dict[str, Any]:
        """Throughput, memory and MFU of ``plain`` or ``fast``; a row without its names.

        Args:
            variant: settings of its kind.
            training: further settings of the training; ``fast`` alone has ``deterministic``, ``cuda_graph`` and
                ``augmentation``.
        """
        settings = TrainingSettings(batch_size=batch_size, **training)
        row = self._run(_measure, way, settings, variant, self.pairs, *self._options)
        precision, rate = row["precision"], row["images_per_second"] * row["gflops_per_image"] * 1e9
        dtype = AUTOCAST.get(precision)
        if dtype not in self._ceilings:
            self._ceilings[dtype] = self._run(_ceiling, precision, self._threads)
        sheet = data_sheet(row["device"], precision)
        row["mfu_percent"] = 100 * rate / self._ceilings[dtype]
        row["data_sheet_percent"] = 100 * rate / sheet[0] if sheet else None
        row["ceiling_tflops"] = self._ceilings[dtype] / 1e12
        return row


def benchmark(
    bench: Bench,
    variants: Mapping[str, dict],
    batch_sizes: Sequence[int],
    trainings: Sequence[dict] = ({},),
    repeats: int = 1,
) -> Iterator[pd.DataFrame]:
    """For each variant and batch size a row of plain and one of fast for each of ``trainings``, medians of ``repeats``.

    Args:
        variants: settings by name.
        trainings: further settings of the training; the first is plain's too.
    """
    ways = [("plain", trainings[0]), *(("fast", training) for training in trainings)]
    for (variant, settings), batch_size in itertools.product(variants.items(), batch_sizes):
        names = {"variant": variant, "batch_size": batch_size}
        turns = [
            [bench.measure(way, settings, batch_size, **training) for way, training in ways] for _ in range(repeats)
        ]
        rows = []
        for (way, training), *found in zip(ways, *turns, strict=True):
            medians = pd.DataFrame(found).median(numeric_only=True)
            rows.append({**names, "way": way, "training": json.dumps(training), **found[0], **medians})
        plain = rows[0]
        for fast in rows[1:]:
            log(
                f"{variant}, batch {batch_size}, {fast['device']}, {fast['precision']}: "
                f"fast {fast['images_per_second']:.2f} images/s, "
                f"{fast['images_per_second'] / plain['images_per_second']:.2f} times plain "
                f"({plain['cpu_ms'] / fast['cpu_ms']:.2f} by CPU time); MFU {fast['mfu_percent']:.0f}%; "
                f"peak memory {100 * fast['peak_mib'] / plain['peak_mib']:.0f}% of plain's"
            )
        yield pd.DataFrame(rows)


def trained_variants(files: Sequence[str], names: Sequence[str]) -> dict[str, dict]:
    """Settings of the variants ``names`` of the study that ``files`` (config.yaml, overlays) define.

    Raises:
        PipelineError: one is not in the study, or trains nothing.
    """
    study = read_study(*files)
    trained = {
        name: entry
        for name, entry in study.variants.items()
        if entry.settings.kind != "zero_shot" and isinstance(entry.settings, VariantSettings)
    }
    for name in names:
        if name not in trained:
            raise PipelineError(f"--variants: {name!r} is not a trained variant; allowed: {', '.join(trained)}")
    return {name: trained[name].settings.model_dump(mode="json") for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", default=["config.yaml"], help="where the variants are defined")
    parser.add_argument("--variants", nargs="+", default=["telescopic", "decoder_only", "end_to_end"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[32])
    parser.add_argument("--cases", type=int, default=800, help="images in the epoch; Kvasir-SEG trains on 800")
    parser.add_argument("--size", choices=list(CONFIGS), default="full", help="of the backbone and the images")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument(
        "--training",
        type=json_value("--training", dict),
        nargs="+",
        default=[{}],
        help='further settings as JSON, such as {"precision": "bf16"} or {"cuda_graph": true}, each measured as a way '
        "of its own; plain has the first, and is fp32 on a CPU",
    )
    parser.add_argument("--repeats", type=int, default=1, help="of all ways in turns")
    parser.add_argument("--no-warm-up", dest="warm_up", action="store_false", help="measure the first epoch")
    parser.add_argument("--output", type=Path, help="CSV file")
    arguments = parser.parse_args()
    variants = trained_variants(arguments.config, arguments.variants)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), arguments.cases, arguments.size, arguments.threads, arguments.warm_up)
        tables = benchmark(bench, variants, arguments.batch_sizes, arguments.training, arguments.repeats)
        table = pd.concat(tables, ignore_index=True)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    if arguments.output:
        write_csv(arguments.output, table)


if __name__ == "__main__":
    run_command(main)
