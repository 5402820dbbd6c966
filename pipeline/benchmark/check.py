"""What only the device at hand can tell, in one Markdown file, within ten minutes: ``make gpu-check``.

    python -m pipeline.benchmark.check
    python -m pipeline.benchmark.check --device cpu --size tiny     the command itself, where there is no GPU

One training and scoring as the workflow runs them; plain against fast; what deterministic kernels, a CUDA graph and
bf16 cost or save; how long the full study would take at that pace; and the tests that need a GPU. Images are synthetic
and weights random, which changes no duration. It needs no network. The file is written after each part, so that what
was measured is never lost.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image

from pipeline.benchmark.ceilings import data_sheet
from pipeline.benchmark.preparing import ROOT, run
from pipeline.benchmark.training import CONFIGS, IMAGE_SIZES, PROMPTS, Bench, benchmark, trained_variants, write_files
from pipeline.config import read_study
from pipeline.data.cases import Case, write_cases
from pipeline.data.sources import JOINT, SPLITS, dataset_facts
from pipeline.data.tensors import prepare
from pipeline.demo.tiny import write_tokenizer
from pipeline.models.backbone import empty_backbone, random_backbone, tiny_config
from pipeline.models.precision import computes
from pipeline.models.variants import build_segmenter
from pipeline.plan import Plan
from pipeline.reporting import markdown as md
from pipeline.reporting.formats import NOT_AVAILABLE, number
from pipeline.runtime.atomic import read_json, write_text
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.lease import compute_device
from pipeline.runtime.manifest import device_name, versions
from pipeline.runtime.nvml import driver_version, utilisation_percent
from pipeline.runtime.progress import log
from pipeline.training.settings import TrainingSettings

NO_GPU = "not measured: no CUDA device"
VARIANTS = ["telescopic", "lora", "decoder_only", "end_to_end"]
LEADER = VARIANTS[0]
TEST_SECONDS = 60
"""What the tests get at least."""
SETTINGS = {
    "deterministic kernels": {"deterministic": True},
    "CUDA graph": {"cuda_graph": True},
    "bf16": {"precision": "bf16"},
    "bf16 residual stream": {"precision": "bf16_residual"},
}
"""Settings of training that are compared with the defaults."""
EPOCHS = 60
"""Epochs that early stopping leaves a run on average: an assumption of the projection."""


class Size(NamedTuple):
    """How much is measured: images of the benchmark's epoch; records and epochs of the training."""

    images: int
    records: dict[str, int]
    epochs: int


SIZES = {
    "full": Size(256, {"train": 800, "val": 100, "test": 100}, 10),
    "tiny": Size(32, {"train": 8, "val": 4, "test": 4}, 2),
}


class Report:
    """The Markdown file, and the lines that are printed last."""

    def __init__(self, path: Path):
        self.path, self.blocks, self.summary, self.failed = path, [["# Measured on this device"]], [], False

    def add(self, title: str, measure: Callable[[], tuple[list[str], dict[str, str]]]) -> None:
        """Write the lines that ``measure`` gives, and its rows of the summary. A failure stops no other part."""
        log(title)
        try:
            lines, rows = measure()
        except Exception as error:
            lines, rows, self.failed = [f"Failed: {md.escape(str(error) or repr(error))}"], {title: "failed"}, True
        self.blocks.append([f"## {title}", "", *lines])
        self.summary += rows.items()
        table = md.table(["", "Measured"], [[md.escape(name), md.escape(value)] for name, value in self.summary], "lr")
        blocks = [*self.blocks, ["## Summary", "", *table]]
        write_text(self.path, "\n\n".join("\n".join(lines) for lines in blocks) + "\n")

    def printed(self) -> str:
        """The summary as plain text."""
        width = max(len(name) for name, _ in self.summary)
        return "\n".join(f"{name:{width}}  {value}" for name, value in self.summary)


def surroundings(device: str) -> tuple[list[str], dict[str, str]]:
    """Device, versions and commit."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    name, found = device_name(device), versions()
    rows = {
        "device": name,
        "driver": driver_version(device) or NOT_AVAILABLE,
        "CUDA of torch": torch.version.cuda or NOT_AVAILABLE,
        "CPU cores": str(len(os.sched_getaffinity(0))),
        "commit": (commit + (", changed" if git("status", "--porcelain") else "")) if commit else NOT_AVAILABLE,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        **{package: version for package, version in found.items() if version != "absent"},
    }
    return md.table(["", ""], [[name, md.escape(value)] for name, value in rows.items()], "ll"), {"device": name}


def gpu_tests(device: str, deadline: float) -> tuple[list[str], dict[str, str]]:
    """pytest's verdict on the tests that need a GPU; they are stopped at ``deadline``."""
    if device != "cuda":
        return [NO_GPU], {"GPU tests": NO_GPU}
    if importlib.util.find_spec("pytest") is None:
        return ["not run: pytest is not installed"], {"GPU tests": "not run"}
    # Others may import what is not installed here.
    files = [str(path) for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text("utf-8")]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", *files]
    left = max(TEST_SECONDS, deadline - time.monotonic())
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=left)
    lines = done.stdout.strip().splitlines()
    verdict = lines[-1].strip("= ") if lines else f"pytest ended with status {done.returncode}"
    return ["```", *(lines[-30:] if done.returncode else [verdict]), "```"], {"GPU tests": verdict}


def write_dataset(folder: Path, records: Mapping[str, int]) -> None:
    """A standardised dataset of a few images that recur; ``records`` by split."""
    for part in ("files", "images", "masks"):
        (folder / part).mkdir(parents=True)
    pairs = write_files(folder / "files", min(32, sum(records.values())))
    foreground = []
    for at, (_, path) in enumerate(pairs):
        with Image.open(path) as mask:
            binary = np.asarray(mask) >= 128
        Image.fromarray(binary.astype(np.uint8) * 255).save(folder / "files" / f"{at}.png")
        foreground.append(int(binary.sum()))
    with Image.open(pairs[0][0]) as image:
        width, height = image.size
    # As many prompt types as the published lists have; p0 is the empty one.
    prompts = {"p0": "", **{f"p{at}": PROMPTS[at % len(PROMPTS)] for at in range(1, 7)}}
    cases = []
    for split in SPLITS:
        for index in range(records[split]):
            name, at = f"{split}_{index:04d}", len(cases) % len(pairs)
            (folder / "images" / f"{name}.jpg").hardlink_to(pairs[at][0])
            (folder / "masks" / f"{name}.png").hardlink_to(folder / "files" / f"{at}.png")
            sizes = (width, height, foreground[at])
            cases.append(Case(name, split, f"{name}.jpg", *sizes, "", "", "", None, "", "", prompts))
    write_cases(folder / "cases.csv", cases)


@dataclass
class Run:
    """One run as the workflow makes it; durations in seconds.

    Attributes:
        startup: of its process, all but epochs and scoring.
        epoch: training and validation, the median after the first.
        scoring: of the test cases, under six prompt types.
        utilisation: of the GPU during the epochs, percent, every half second; none where nothing tells it.
    """

    records: Mapping[str, int]
    startup: float
    epoch: float
    scoring: float
    utilisation: list[int]
    manifest: dict[str, Any]
    history: pd.DataFrame


def run_once(folder: Path, device: str, size: str, variant: dict, threads: int) -> Run:
    """Train and score ``variant`` (settings of its kind) on a synthetic dataset, in a process of its own."""
    plan = SIZES[size]
    write_dataset(folder / "dataset", plan.records)
    prepare(folder / "dataset", IMAGE_SIZES[size], threads, folder / "tensors")
    random_backbone(CONFIGS[size](), seed=0).save_pretrained(folder / "backbone")
    write_tokenizer(folder / "backbone")
    training = TrainingSettings(min_epochs=plan.epochs, max_epochs=plan.epochs)
    samples: list[tuple[float, int]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            share = utilisation_percent(device)
            if share is not None:
                samples.append((time.time(), share))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        whole = run(
            "evaluation.train_and_score", tensors=folder / "tensors", backbone=folder / "backbone",
            variant=json.dumps(variant), training=training.model_dump_json(), seed=41, threads=threads,
            state=folder / "state", name="check", scoring=json.dumps({"threshold": 0.5, "batch_size": 32}),
            output=folder / "run",
        ).seconds  # fmt: skip
        ended = time.time()
    finally:
        done.set()
        watcher.join()
    written = folder / "run" / "manifest.json"
    manifest = read_json(written, dict, "run again")
    history = pd.read_csv(folder / "run" / "history.csv")
    # The manifest stands between training and scoring.
    trained, seconds = written.stat().st_mtime, manifest["training_seconds"]
    scoring = ended - trained
    during = [share for at, share in samples if trained - seconds < at < trained]
    epoch = float(history["seconds"].iloc[1:].median())
    return Run(plan.records, whole - seconds - scoring, epoch, scoring, during, manifest, history)


def one_run(run: Run, size: str) -> tuple[list[str], dict[str, str]]:
    """What one run took."""
    on_gpu = run.manifest["device"]["type"] == "cuda"
    load, joules = run.utilisation, run.manifest["energy_joules"]
    untold = "not measured: NVML does not tell" if on_gpu else NO_GPU
    memory = run.manifest["peak_memory"]
    rate = run.history["images_per_second"].iloc[1:].median()
    rows = {
        "epochs": str(len(run.history)),
        "epoch with validation": f"{run.epoch:.2f} s",
        "images/s of the training alone": f"{rate:.1f}",
        "start-up": f"{run.startup:.1f} s",
        "scoring": f"{run.scoring:.1f} s",
        "GPU utilisation during the epochs": f"{np.mean(load):.0f}%, {len(load)} samples" if load else untold,
        "energy": untold if joules is None else f"{joules:.0f} J, of the whole card",
        "peak memory": f"{memory.get('gpu_mib', memory['host_mib']):.0f} MiB",
        "stored weights": f"{run.manifest['weights_bytes'] / 1e6:.2f} MB",
        "mode, precision": f"{run.manifest['mode']}, {run.manifest['precision']}",
    }
    records = ", ".join(f"{count} {split}" for split, count in run.records.items())
    lines = [f"{LEADER}, {size} size, random weights; records: {records}.", ""]
    lines += md.table(["", ""], [[name, md.escape(value)] for name, value in rows.items()], "lr")
    shown = ("epoch with validation", "GPU utilisation during the epochs", "energy")
    return lines, {f"one run: {name}": rows[name] for name in shown}


def plain_against_fast(tables: Sequence[pd.DataFrame], skipped: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Throughput, memory and MFU of both ways."""
    if not tables:
        return ["not measured: out of time"], {}
    table = pd.concat(tables, ignore_index=True)
    header = ["Variant", "Batch", "Way", "Images/s", "Times plain", "Step, ms", "Peak, MiB", "GFLOP an image"]
    header += ["MFU, measured ceiling, %", "MFU, data sheet, %"]
    lines, summary = [], {}
    for (variant, batch), pair in table.groupby(["variant", "batch_size"], sort=False):
        plain = pair.set_index("way").loc["plain"]
        for row in pair.itertuples():
            times = row.images_per_second / plain["images_per_second"]
            cells = [md.escape(variant), str(batch), row.way, f"{row.images_per_second:.2f}", f"{times:.2f}"]
            cells += [f"{row.step_ms:.1f}", f"{row.peak_mib:.0f}", f"{row.gflops_per_image:.1f}"]
            cells += [f"{row.mfu_percent:.1f}", number(row.data_sheet_percent, ".1f")]
            lines.append(cells)
        sheet = f", {row.data_sheet_percent:.0f}% of the data sheet" if pd.notna(row.data_sheet_percent) else ""
        memory = 100 * row.peak_mib / plain["peak_mib"]
        summary[f"{variant}, batch {batch}"] = (
            f"{row.images_per_second:.1f} images/s, {times:.2f} times plain, {memory:.0f}% of its memory, "
            f"MFU {row.mfu_percent:.0f}% of the measured ceiling{sheet}"
        )
    ceilings = []
    for (device, precision), rows in table.groupby(["device", "precision"]):
        sheet = data_sheet(device, precision)
        stated = f"{sheet[0] / 1e12:.1f} TFLOP/s, {sheet[1]}" if sheet else "unknown for this device"
        measured = rows["ceiling_tflops"].iloc[0]
        ceilings.append(f"Ceiling in {precision}: measured {measured:.3g} TFLOP/s; data sheet: {stated}.")
    notes = [
        "MFU: FLOPs of the matrix products that a step computes, without what was computed before and kept, over the "
        "time that it takes, as a share of a ceiling.",
        *ceilings,
        *([f"Not measured, out of time: {', '.join(skipped)}."] if skipped else []),
    ]
    return [*md.table(header, lines, "lrl" + "r" * 7), "", *notes], summary


def other_settings(
    bench: Bench, variant: dict, batch_size: int, device: str, fast: pd.DataFrame | None
) -> tuple[list[str], dict[str, str]]:
    """What settings of training cost or save.

    Args:
        fast: the rows of the defaults, of the same variant and batch size; none if they were not measured.
    """
    if fast is None:
        text = f"not measured: it needs the benchmark of {LEADER}"
        return [text], dict.fromkeys(SETTINGS, text)
    default, rows, summary = fast.set_index("way").loc["fast"], [], {}
    for name, training in SETTINGS.items():
        precision = training.get("precision")
        reason = NO_GPU if device != "cuda" and not precision else ""
        if precision and not computes(device, precision):
            reason = f"not measured: the device has no {precision}"
        if reason:
            rows.append([name, reason, *[NOT_AVAILABLE] * 3])
            summary[name] = reason
            continue
        found = bench.measure("fast", variant, batch_size, **training)
        times = found["images_per_second"] / default["images_per_second"]
        memory = found["peak_mib"] / default["peak_mib"]
        rows.append(
            [
                name,
                f"{found['images_per_second']:.2f}",
                f"{times:.2f}",
                f"{100 * memory:.0f}%",
                md.escape(f"{found['precision']}, {found['steps']}"),
            ]
        )
        summary[name] = f"{times:.2f} times the defaults' images/s, {100 * memory:.0f}% of their memory"
    header = ["Setting", "Images/s", "Times the defaults", "Memory", "Precision, steps"]
    pace = f"{default['images_per_second']:.2f} images/s in {default['precision']}"
    lines = [f"{LEADER}, batch {batch_size}; the defaults: {pace}.", "", *md.table(header, rows, "lrrrl")]
    return lines, summary


def measured_as(study, variant: str, rates: Mapping[str, float]) -> str | None:
    """The measured variant whose pace stands for that of ``variant``; None if it trains nothing.

    That of the same kind; else of those that train the same part of the vision encoder: all, none, or adapters in it.
    A network without CLIPSeg is trained as a whole.
    """
    settings = study.variants[variant].settings
    if settings.kind == "zero_shot":
        return None
    for name in rates:
        if study.variants[name].settings.kind == settings.kind:
            return name
    wanted = "end_to_end"
    if settings.reads_prompt:
        segmenter = build_segmenter(settings, empty_backbone(tiny_config()))
        first = segmenter.first_trained_layer("vision")
        wanted = wanted if first < 0 else "decoder_only" if first == segmenter.vision_depth else LEADER
    return wanted if wanted in rates else LEADER


def project(plan: Plan, rates: Mapping[str, float], run: Run, epochs: int = EPOCHS) -> dict[str, tuple[int, float]]:
    """Runs and hours of one device, one after the other, for the main table and for all families.

    Args:
        rates: images/s of fast training by measured variant; that of telescopic among them.
        epochs: of each run; fewer where its settings allow fewer.
    """
    study = plan.study
    main = plan.trainings(plan.main)
    every = set().union(*(plan.trainings(group) for group in plan.groups))
    like = {variant: measured_as(study, variant, rates) for variant in {variant for _, variant, _ in every}}

    def records(dataset: str, split: str) -> int:
        names = study.datasets if dataset == JOINT else [dataset]
        return sum(dataset_facts(name).records[split] for name in names)

    def seconds(dataset: str, variant: str, _: int) -> float:
        rest = run.startup + run.scoring * records(dataset, "test") / run.records["test"]
        if like[variant] is None:
            return rest
        share = records(dataset, "train") / run.records["train"] * rates[LEADER] / rates[like[variant]]
        return rest + min(epochs, study.training_of(variant).max_epochs) * run.epoch * share

    return {
        name: (len(runs), sum(seconds(*entry) for entry in runs) / 3600)
        for name, runs in (("main table", main), ("all families", every))
    }


def projection(
    plan: Plan, tables: Sequence[pd.DataFrame], run: Run | None, size: str
) -> tuple[list[str], dict[str, str]]:
    """The hours of the full study at the pace that was measured."""
    name = "main table, projected"
    rates = {}
    for table in tables:
        fast = table.set_index("way").loc["fast"]
        # The last one of a variant has the largest batch.
        rates[fast["variant"]] = fast["images_per_second"]
    missing = "--size full" if size != "full" else "one run and the benchmark" if not run or LEADER not in rates else ""
    if missing:
        return [f"not projected: that needs {missing}"], {name: f"not projected: that needs {missing}"}
    most = plan.study.training.max_epochs
    columns = [project(plan, rates, run, epochs) for epochs in (EPOCHS, most)]
    rows = [
        [family, str(columns[0][family][0]), *(f"{column[family][1]:.1f}" for column in columns)]
        for family in columns[0]
    ]
    header = ["", "Runs", f"Hours at {EPOCHS} epochs a run", f"Hours at {most}"]
    note = (
        "One run after the other on this device. Assumed are the epochs of a run, since early stopping needs real "
        "data; all else follows from the run and the pace of each variant (or of the measured one nearest to it) above."
    )
    hours = columns[0]["main table"][1]
    return [*md.table(header, rows, "lrrr"), "", note], {name: f"{hours:.1f} h at {EPOCHS} epochs a run"}


def check(device: str, arguments: argparse.Namespace, report: Report) -> None:
    """All parts, one after the other."""
    deadline = time.monotonic() + 60 * arguments.minutes
    variants = trained_variants(arguments.config, arguments.variants)
    leader = trained_variants(arguments.config, [LEADER])[LEADER]
    plan = Plan(read_study(*arguments.config))
    runs: list[Run] = []
    tables: list[pd.DataFrame] = []
    skipped: list[str] = []
    report.add("Device", lambda: surroundings(device))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def train() -> tuple[list[str], dict[str, str]]:
            runs.append(run_once(folder / "run", device, arguments.size, leader, arguments.threads))
            return one_run(runs[0], arguments.size)

        def compare() -> tuple[list[str], dict[str, str]]:
            longest = 0.0
            for variant, settings in variants.items():
                for batch_size in arguments.batch_sizes:
                    start = time.monotonic()
                    # Room for the settings and the tests.
                    if start + 2.5 * longest + TEST_SECONDS > deadline:
                        skipped.append(f"{variant} at {batch_size}")
                        continue
                    tables.extend(benchmark(bench, {variant: settings}, [batch_size]))
                    longest = max(longest, time.monotonic() - start)
            return plain_against_fast(tables, skipped)

        report.add("One run", train)
        (folder / "bench").mkdir()
        bench = Bench(folder / "bench", SIZES[arguments.size].images, arguments.size, arguments.threads)
        report.add("Plain against fast", compare)
        largest = arguments.batch_sizes[-1]
        same = [t for t in tables if t["variant"].iloc[0] == LEADER and t["batch_size"].iloc[0] == largest]
        fast = same[0] if same and not skipped else None
        report.add("Settings", lambda: other_settings(bench, leader, largest, device, fast))
    report.add("The full study", lambda: projection(plan, tables, runs[0] if runs else None, arguments.size))
    report.add("Tests that need a GPU", lambda: gpu_tests(device, deadline))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--size", choices=list(SIZES), default="full", help="of the backbone and the images")
    parser.add_argument("--config", nargs="+", default=["config.yaml"], help="the study that is projected")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, help="of the benchmark")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[8, 32], help="of the benchmark, ascending")
    parser.add_argument("--threads", type=int, help="CPU threads; as many as there are cores, 4 at most, 1 if tiny")
    parser.add_argument("--minutes", type=float, default=9.5, help="after which it ends, with what was measured")
    parser.add_argument("--output", type=Path, default=Path("results/gpu_check.md"), help="Markdown file")
    arguments = parser.parse_args()
    if arguments.threads is None:
        # Threads of tiny matrices only wait for each other.
        arguments.threads = 1 if arguments.size == "tiny" else min(4, torch.get_num_threads())
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        raise PipelineError("torch finds no CUDA device; --device cpu --size tiny tries this command without one")
    report = Report(arguments.output)
    with compute_device() as device:
        check(device, arguments, report)
    print(f"{arguments.output}\n\n{report.printed()}")
    if report.failed:
        raise PipelineError(f"a part failed; {arguments.output} says which and why")


if __name__ == "__main__":
    run_command(main)
