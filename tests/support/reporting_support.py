"""Seeded synthetic results in the contracts on disk, and checks on rendered figures."""

import itertools
import json
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from evaluation_support import write_dsc_of, write_run

from pipeline.evaluation.runs import Run

REPORTED = Path(__file__).parents[2] / "workflow" / "resources" / "reported.csv"
_DATASETS = {
    "kvasir_seg": ("Kvasir-SEG", 0.03),
    "clinicdb": ("CVC-ClinicDB", 0.05),
    "bkai": ("BKAI-IGH NeoPolyp", 0.02),
    "isic16": ("ISIC 2016", 0.07),
    "busi": ("BUSI", -0.19),
}
DATASETS = list(_DATASETS)
TITLES = {name: title for name, (title, _) in _DATASETS.items()}
EASE = {name: gain for name, (_, gain) in _DATASETS.items()}
"""What a dataset adds to a variant's DSC (0..1)."""
_METHODS = {
    "zero_shot": ("CLIPSeg (zero-shot)", 0.35, 0),
    "decoder_only": ("CLIPSeg, decoder only", 0.83, 1_127_009),
    "end_to_end": ("CLIPSeg, end-to-end", 0.86, 150_747_746),
    "vlsm_dense": ("VLSM-Adapter (dense)", 0.845, 3_237_376),
    "vlsm_shallow": ("VLSM-Adapter (shallow)", 0.832, 4_201_984),
    "uniform": ("Uniform adapters", 0.851, 613_297),
    "lora": ("LoRA", 0.848, 608_256),
    "telescopic": ("Telescopic Adapters", 0.856, 613_297),
}
VARIANTS = list(_METHODS)
LABELS = {name: label for name, (label, _, _) in _METHODS.items()}
QUALITY = {name: quality for name, (_, quality, _) in _METHODS.items()}
PARAMETERS = {name: parameters for name, (_, _, parameters) in _METHODS.items()}


def write_runs(root: Path, datasets, variants, seeds, cases=24, epochs=30) -> list[Run]:
    """Runs with per_case.csv and history.csv under ``root``/runs, and dsc.csv, which lists them."""
    runs = []
    for dataset, (at, variant), seed in itertools.product(datasets, enumerate(variants), seeds):
        difficulty = np.random.default_rng(len(dataset)).normal(0, 0.08, cases)
        generator = np.random.default_rng([at, seed, len(dataset)])
        level = QUALITY.get(variant, 0.8) + EASE[dataset] + generator.normal(0, 0.004)
        scores = np.clip(level + difficulty + generator.normal(0, 0.02, cases), 0, 1)
        runs.append(write_run(root, dataset, variant, seed, scores))
        length = 0 if variant == "zero_shot" else max(1, epochs - int(generator.integers(0, 8)))
        epoch = np.arange(1, length + 1)
        shape = 1 - np.exp(-epoch / 5)
        history = {
            "epoch": epoch,
            "learning_rate": 1e-3 * 0.3 ** (epoch // 14),
            "train_loss": 1.6 - 1.1 * shape + generator.normal(0, 0.01, length),
            "val_loss": 1.5 - 0.9 * shape + generator.normal(0, 0.02, length),
            "val_dsc": np.clip(level * shape + generator.normal(0, 0.01, length), 0, 1),
        }
        pd.DataFrame(history).to_csv(runs[-1].folder / "history.csv", index=False)
    write_dsc_of(root, runs)
    return runs


def write_cost(root: Path, variants=VARIANTS) -> Path:
    """cost.csv of ``variants``."""
    trained = pd.Series([PARAMETERS.get(variant, 613_297) for variant in variants])
    table = {
        "variant": variants,
        "trainable_parameters": trained,
        "total_parameters": 150_747_746 + trained.where(trained < 150_000_000, 0),
        "trainable_percent": 100 * trained / 151_000_000,
        "inference_gmacs": 41.86 + trained / 5e6,
        "inference_gflops": 84.1,
        "training_gflops": 180.0,
    }
    pd.DataFrame(table).to_csv(root / "cost.csv", index=False)
    return root / "cost.csv"


def write_speed(root: Path, variants=VARIANTS, peak: float | None = None) -> Path:
    """speed.csv of ``variants`` on a GPU, or on a CPU without ``peak`` (MiB at a batch of 1); LoRA is merged too."""
    rows = [
        (variant, merged, batch, 1000 / rate, batch * rate, peak and peak * batch)
        for at, variant in enumerate(variants)
        for merged in ([False, True] if variant == "lora" else [False])
        for batch, rate in ((1, 10.0 + at + merged), (32, 2.0 + at + merged))
    ]
    columns = ["variant", "merged", "batch_size", "latency_ms", "images_per_second", "peak_mib"]
    table = pd.DataFrame(rows, columns=columns).assign(device="A processor", precision="fp32")
    table.to_csv(root / "speed.csv", index=False)
    return root / "speed.csv"


def run_main(module, *options) -> None:
    """Call a module's ``main`` as its command line would be; structured values become JSON."""
    words = [json.dumps(option) if isinstance(option, list | dict) else str(option) for option in options]
    with patch.object(sys, "argv", [module.__name__, *words]):
        module.main()


def texts(figure):
    """Every visible, non-empty text of ``figure`` with its box in pixels."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    found = {}
    for artist in figure.findobj(Text):
        content = artist.get_text().strip()
        if content and _drawn(artist):
            found[id(artist)] = (content, Text.get_window_extent(artist, renderer))
    # Axis objects create tick labels lazily and keep ones beyond the limits: take only those inside the axis.
    outside = set()
    for axes in figure.findobj(lambda artist: hasattr(artist, "get_xticklabels")):
        for axis, interval in ((axes.xaxis, axes.viewLim.intervalx), (axes.yaxis, axes.viewLim.intervaly)):
            low, high = sorted(interval)
            slack = (high - low) * 1e-6
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low - slack <= tick.get_loc() <= high + slack or not axes.axison:
                    outside.update({id(tick.label1), id(tick.label2)})
    return [value for key, value in found.items() if key not in outside]


def _drawn(artist) -> bool:
    while artist is not None:
        if not artist.get_visible():
            return False
        artist = getattr(artist, "axes", None) if getattr(artist, "axes", None) is not artist else None
    return True


def overlaps(figure, slack=1.0):
    """Pairs of texts whose boxes overlap by more than ``slack`` pixels in both directions."""
    pairs = []
    for (first, a), (second, b) in itertools.combinations(texts(figure), 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        if width > slack and height > slack:
            pairs.append((first, second))
    return pairs


def clipped(figure, slack=1.0):
    """Texts that stick out of the figure."""
    box = figure.bbox
    return [
        content
        for content, extent in texts(figure)
        if extent.x0 < box.x0 - slack
        or extent.y0 < box.y0 - slack
        or extent.x1 > box.x1 + slack
        or extent.y1 > box.y1 + slack
    ]


def too_small(figure, smallest=6.99):
    """Texts below the smallest legible size, points."""
    from matplotlib.text import Text

    return [
        artist.get_text()
        for artist in figure.findobj(Text)
        if artist.get_text().strip() and artist.get_visible() and artist.get_fontsize() < smallest
    ]


def write_gallery(root: Path, dataset: str, variants, failures=3, shape=(96, 120)) -> Path:
    """A gallery with blob images: best, median, worst and failures."""
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    generator = np.random.default_rng(len(dataset))
    roles = ["best", "median", "worst", *["failure"] * failures]
    arrays = {
        "cases": np.array([f"{dataset}_cju0qkwl35piu0993l0dewei{index}" for index in range(len(roles))]),
        "roles": np.array(roles),
        "prompts": np.array(["one small round polyp"] * len(roles)),
        "variants": np.array(list(variants)),
    }
    scores = np.zeros((len(roles), len(variants)))
    for index in range(len(roles)):
        centre = generator.uniform(0.35, 0.65, 2) * (height, width)
        distance = np.hypot(rows - centre[0], (columns - centre[1]) * 0.8)
        target = distance < height * 0.22
        image = np.stack([150 + 60 * target, 80 + 30 * target, 70 + 10 * np.sin(columns / 5)], axis=2)
        arrays[f"image_{index}"] = np.clip(image + generator.normal(0, 12, (*shape, 1)), 0, 255).astype(np.uint8)
        arrays[f"target_{index}"] = target
        predictions = []
        for at, _ in enumerate(variants):
            shift = (index + 1) * 3 * (len(variants) - at) / len(variants)
            predictions.append(np.hypot(rows - centre[0] - shift, (columns - centre[1] - shift) * 0.8) < height * 0.2)
            both = (predictions[-1] & target).sum()
            scores[index, at] = 2 * both / (predictions[-1].sum() + target.sum())
        if index == len(roles) - 1:
            predictions[0] = np.zeros(shape, dtype=bool)
            scores[index, 0] = 0
        arrays[f"prediction_{index}"] = np.stack(predictions)
    arrays["dsc"] = scores
    path = root / "gallery" / f"{dataset}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return path


def _depth(**settings):
    return {"kind": "telescopic", **settings}


DEPTH = {
    "telescopic": _depth(),
    "uniform": _depth(schedule="uniform"),
    "reversed": _depth(schedule="reversed"),
    "base_16": _depth(base_dimension=16),
    "base_32": _depth(base_dimension=32),
    "base_128": _depth(base_dimension=128),
    "base_256": _depth(base_dimension=256),
    "layers_1_3": _depth(vision_layers=[1, 2, 3], schedule=[54, 54, 54]),
    "layers_4_6": _depth(vision_layers=[4, 5, 6], schedule=[54, 54, 54]),
    "layers_7_9": _depth(vision_layers=[7, 8, 9], schedule=[54, 54, 54]),
    "attention_only": _depth(placement=["attention"]),
    "mlp_only": _depth(placement=["mlp"]),
    "lora": {"kind": "lora"},
}


def write_manifests(runs, gpu=False) -> None:
    """Adds memory and time to the manifest of each run."""
    for index, run in enumerate(runs):
        memory = {"host_mib": 900.0 + index % 7} | ({"gpu_mib": 4000.0 + 10 * (index % 5)} if gpu else {})
        path = run.folder / "manifest.json"
        record = json.loads(path.read_text()) | {"peak_memory": memory}
        record["training_seconds"] = 0.0 if run.variant == "zero_shot" else 75.0 + index % 11
        path.write_text(json.dumps(record))


def write_alphas(runs, settings) -> None:
    """weights.safetensors with the residual scales that each variant's settings imply."""
    from safetensors.numpy import save_file

    for index, run in enumerate(runs):
        variant = settings[run.variant]
        generator = np.random.default_rng(index)
        start = variant.get("alpha", 0.1)
        scales = {}
        if variant["kind"] == "telescopic":
            for place in ("attention", "mlp"):
                for layer in variant.get("vision_layers", range(1, 10)):
                    scales[f"vision_{layer}_{place}"] = start + 0.02 * layer + generator.normal(0, 0.02)
                for layer in variant.get("text_layers", [10, 11, 12]):
                    scales[f"text_{layer}_{place}"] = start + generator.normal(0, 0.02)
            scales["conditional"] = start + 0.15
        tensors = {f"adapters.{name}.scale": np.float32([value]) for name, value in scales.items()}
        tensors["adapters.other.down.weight"] = np.zeros((2, 2), dtype=np.float32)
        save_file(tensors, run.folder / "weights.safetensors", metadata={"variant": json.dumps(variant)})


def write_transfer(root: Path, datasets, variants, seeds) -> None:
    """transfer.csv with higher DSC on the diagonal."""
    generator = np.random.default_rng(5)
    rows = [
        (variant, train, test, seed, 0.85 + EASE[test] if train == test else generator.uniform(0.1, 0.7))
        for variant, train, test, seed in itertools.product(variants, datasets, datasets, seeds)
    ]
    columns = ["variant", "train_dataset", "test_dataset", "seed", "dsc"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "transfer.csv", index=False)


def write_before_after(root: Path, datasets, variants) -> None:
    """A table of two settings (points), with all outcomes; the last variant has one seed."""
    generator, rows = np.random.default_rng(7), []
    outcomes = itertools.cycle(["worse", "not resolved", "equivalent", "better"])
    for dataset, variant in itertools.product(datasets, variants):
        before = 100 * min(QUALITY[variant] + EASE[dataset], 1)
        gap, half = generator.normal(-2, 3), np.nan if variant == variants[-1] else generator.uniform(0.5, 3)
        rows.append((dataset, variant, before, before + gap, gap, gap - half, gap + half, next(outcomes)))
    columns = ["dataset", "variant", "before", "after", "difference", "low", "high", "outcome"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "before_after.csv", index=False)


def write_dataset(root: Path, dataset: str, cases=30, shape=(90, 120)) -> Path:
    """A standardised dataset: images/, masks/, cases.csv; the last case has an empty mask."""
    from PIL import Image

    folder = root / "datasets" / dataset
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    generator = np.random.default_rng(len(dataset))
    records = []
    for index in range(cases):
        radius = 0 if index == cases - 1 else 5 + index
        mask = np.hypot(rows - height / 2, columns - width / 2) < radius
        image = np.stack([120 + 80 * mask, 90 + 20 * mask, 80 + 10 * np.sin(columns / 4)], axis=2)
        image = np.clip(image + generator.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"case{index:02d}.jpg")
        Image.fromarray((255 * mask).astype(np.uint8)).save(folder / "masks" / f"case{index:02d}.png")
        split = ("train", "val", "test")[index % 3]
        records.append((f"case{index:02d}", split, f"case{index:02d}.jpg", width, height, mask.sum()))
    columns = ["case", "split", "image", "width", "height", "foreground"]
    pd.DataFrame(records, columns=columns).to_csv(folder / "cases.csv", index=False)
    return folder


def write_comparison(root: Path, variants, datasets, reference="telescopic") -> None:
    """What the forest plot reads of comparison.csv (points), with made-up intervals and outcomes."""
    rows = []
    for (at, dataset), (index, variant) in itertools.product(enumerate([*datasets, "average"]), enumerate(variants)):
        if variant != reference:
            gap = 100 * (QUALITY[variant] - QUALITY[reference]) + 0.3 * ((at + index) % 3 - 1)
            resolved = "equivalent" if abs(gap) < 0.3 else "better" if gap > 0 else "worse"
            outcome = "not resolved" if 0.3 <= abs(gap) < 0.8 else resolved
            rows.append((dataset, variant, reference, 1.0, gap, gap - 0.8, gap + 0.8, outcome))
    columns = ["dataset", "variant", "reference", "margin", "difference", "low", "high", "outcome"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "comparison.csv", index=False)


def write_tuning(root: Path, datasets, variants) -> None:
    """tuning.json of five trials each on up to two of ``datasets``; one of the first method's diverged."""
    generator, datasets, methods = np.random.default_rng(8), datasets[:2], {}
    for variant in variants:
        trials = []
        for factor in (0.1, 0.3, 1, 3, 10):
            level = QUALITY[variant] - 0.03 * np.log10(factor) ** 2
            scores = {name: level + 0.1 * EASE[name] + generator.normal(0, 0.005) for name in datasets}
            if factor == 10 and variant == variants[0]:
                scores[datasets[-1]] = None
            mean = None if None in scores.values() else np.mean(list(scores.values()))
            trials.append({"variant": f"{variant} {factor}", "factor": factor, "val_dsc": scores, "mean": mean})
        methods[variant] = {"trials": trials, "chosen": max(trials, key=lambda trial: trial["mean"] or 0)}
    (root / "tuning.json").write_text(json.dumps({"datasets": datasets, "seed": 41, "methods": methods}))


def write_methods(root: Path, variants) -> None:
    """methods.csv (points); what is not trained has neither time nor memory."""
    generator, rows = np.random.default_rng(7), []
    for variant in variants:
        row = {"variant": variant, "trainable_parameters": PARAMETERS[variant], "dsc": 100 * QUALITY[variant]}
        seconds = 600 * generator.random() if PARAMETERS[variant] else None
        row |= {"dsc_sd": 0.5, "seconds": seconds, "memory_gib": seconds and 2 + generator.random()}
        rows.append(row)
    pd.DataFrame(rows).to_csv(root / "methods.csv", index=False)


def write_prompt_types(root: Path, datasets, variants) -> None:
    """prompt_sensitivity.csv (points); the first dataset of several has one more prompt type than the others."""
    generator, rows = np.random.default_rng(6), []
    for dataset, variant in itertools.product(datasets, variants):
        types = ["p0", "p1", "p2", *(["p3"] if dataset == datasets[0] != datasets[-1] else []), "mean"]
        row = {name: 100 * QUALITY[variant] + generator.normal(0, 3) for name in types}
        row |= {f"{name}_sd": 0.5 for name in types} | {"range": abs(row["p1"] - row["p2"])}
        rows.append({"dataset": dataset, "variant": variant, **row})
    pd.DataFrame(rows).to_csv(root / "prompt_sensitivity.csv", index=False)
