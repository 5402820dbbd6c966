"""The workflow as a user meets it: what it plans, what it refuses, what a change recomputes."""

import functools
import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"

# The smallest study that trains: one dataset, few cases, few steps.
SMALL = {
    "datasets": ["busi"],
    "seeds": [41],
    "archives": {"phantoms": {"train": 8, "val": 4, "test": 6}, "official": False},
    "image_size": 64,
    "backbone": {"source": "phantom", "steps": 3},
    "training": {"batch_size": 4, "max_epochs": 30, "save_every": 1},
    "main": ["zero_shot", "end_to_end", "telescopic"],
    "jobs": {"threads": 1, "memory_mb": 1500, "warm_start": True, "gpus": 0},
}
FAMILY = {"title": "Depth", "reference": "telescopic", "variants": ["telescopic", "uniform"]}


def snakemake(folder: Path, *arguments: str, start: bool = False, **environment: str):
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder), **environment}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    if start:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
        )
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)


def planned(output: str) -> dict[str, int]:
    """Jobs by rule from Snakemake's own statistics."""
    table = output.split("Job stats:")[1].split("\n\n")[0] if "Job stats:" in output else ""
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the repository's own files, to be run and changed in."""
    folder = tmp_path_factory.mktemp("checkout") / "repository"
    ignore = shutil.ignore_patterns(".git", ".venv", ".snakemake", "results", "__pycache__", "*.egg-info", ".*_cache")
    shutil.copytree(ROOT, folder, ignore=ignore)
    overlay = {**SMALL, "results": "results/small", "ablations": {"depth": FAMILY}}
    # Overlays are merged key by key: families of the full study that the small one leaves out are cut from its copy.
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["ablations"] = {}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "small.yaml").write_text(yaml.safe_dump(overlay))
    return folder


def test_the_full_study_is_planned_quickly():
    start = time.monotonic()
    result = snakemake(ROOT, "all", "--dry-run", "--quiet", "rules", "--nolock")
    seconds = time.monotonic() - start
    assert result.returncode == 0, result.stderr[-2000:]
    jobs = planned(result.stdout)
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    runs = {(dataset, variant) for dataset in config["datasets"] for variant in config["main"]}
    for family in config["ablations"].values():
        runs |= {(d, v) for d in family.get("datasets", config["datasets"]) for v in family["variants"]}
    assert jobs["train"] == jobs["evaluate"] == 3 * len(runs)
    assert seconds < 60  # 15 s on an idle machine; tests share theirs


def test_one_figure_needs_only_its_family():
    result = snakemake(ROOT, "results/ablation_alpha.pdf", "--dry-run", "--quiet", "rules", "--nolock")
    jobs = planned(result.stdout)
    assert (jobs["train"], jobs["ablation"]) == (5 * 3 * 3, 1)
    assert not {"pareto", "table_main", "cost"} & jobs.keys()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("seeds=[41,41]", "seeds: 41 given twice"),
        ("datasets=[kvasir]", "'kvasir'"),
        ("trainig={}", "trainig: no such key"),
        ("main=[telescopik]", "variant 'telescopik' is unknown; allowed: zero_shot, decoder_only"),
        ("variants={telescopic: {text_width: 0}}", "text_width: Input should be greater than or equal to 8"),
    ],
)
def test_mistakes_are_refused_before_any_job(option, words):
    result = snakemake(ROOT, "all", "--dry-run", "--nolock", "--config", option)
    assert result.returncode != 0
    assert words in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_every_step_that_a_rule_starts_has_a_command_line():
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    started = set(re.findall(r"python -m (?:pipeline\.runtime\.start )?(pipeline\.[a-z_.]+)", rules))
    assert len(started) > 25
    for module in started - {"pipeline.runtime.start"}:
        source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()
        assert "run_command(main)" in source, f"{module} does nothing when it is started"


def test_lint_and_format():
    lint = snakemake(ROOT, "--lint", "--nolock")
    assert "good condition" in lint.stdout + lint.stderr, lint.stdout + lint.stderr


@pytest.mark.slow
def test_small_study(checkout):
    """Runs everything, then again, then after changes; a killed training is taken up."""
    small = ("--configfile", "small.yaml", "--quiet", "rules")
    results = checkout / "results/small"

    # A training that is killed in its middle leaves no half-written result, and the next call finishes it.
    run, state = results / "runs/busi/telescopic/seed41", results / "state/busi/telescopic/seed41/state.pt"
    killed = snakemake(checkout, str(run.relative_to(checkout) / "weights.safetensors"), *small[:2], start=True)
    deadline = time.monotonic() + 300
    while not state.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait(20)
    time.sleep(0.5)
    assert state.exists()
    assert not list(run.glob("*")), "a training that was killed left a result"
    snakemake(checkout, "--unlock", *small[:2])

    result = snakemake(checkout, "all", *small, "--rerun-incomplete")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "resuming after epoch" in (results / "logs/train/busi/telescopic/seed41.log").read_text()
    assert not state.exists()
    scores = pd.read_csv(results / "dsc.csv")
    assert set(scores["variant"]) == {"zero_shot", "end_to_end", "telescopic"}
    assert scores["dsc"].between(0, 1).all()
    assert (scores["cases"] == 6).all()
    for name in ("pareto", "qualitative", "training_curves", "width_schedule", "ablation_depth"):
        assert (results / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (results / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "Not comparable with the paper" in (results / "tables/main.md").read_text()

    again = snakemake(checkout, "all", "--dry-run", *small[:2])
    assert "Nothing to be done" in again.stdout + again.stderr

    # An edited plotting module draws its figure anew and trains nothing.
    module = checkout / "pipeline/reporting/pareto.py"
    module.write_text(module.read_text() + "\n# edited\n")
    jobs = planned(snakemake(checkout, "all", "--dry-run", *small).stdout)
    assert jobs["pareto"] == 1
    assert not {"train", "evaluate", "tensors"} & jobs.keys()
    snakemake(checkout, "all", "--touch", *small)

    # A changed setting of one variant trains that variant alone; a changed label trains nothing.
    overlay = yaml.safe_load((checkout / "small.yaml").read_text())
    for change, trained in (({"label": "Ours"}, 0), ({"base_dimension": 32}, 1)):
        overlay["variants"] = {"telescopic": change}
        (checkout / "small.yaml").write_text(yaml.safe_dump(overlay))
        jobs = planned(snakemake(checkout, "all", "--dry-run", *small).stdout)
        assert jobs.get("train", 0) == trained, jobs
        assert jobs["table_main"] == 1


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real images in ../shared/data")
def test_real_images_over_http(checkout):
    """BUSI's images from a web server, through every step to the main table."""
    handler = functools.partial(QuietHandler, directory=str(SHARED))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    overlay = {
        **SMALL,
        "results": "results/real",
        "archives": {
            "base_url": f"http://127.0.0.1:{server.server_address[1]}/archives",
            "annotations_folder": str(SHARED / "annotations"),
            "description": "reduced copies of the images",
            "official": False,
        },
        "training": {"batch_size": 16, "max_epochs": 1, "min_epochs": 1, "train_fraction": 0.1},
    }
    (checkout / "real.yaml").write_text(yaml.safe_dump(overlay))
    try:
        result = snakemake(checkout, "results/real/tables/main.md", "--configfile", "real.yaml", "--quiet", "rules")
    finally:
        server.shutdown()
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    cases = pd.read_csv(checkout / "results/real/datasets/busi/cases.csv")
    assert cases["split"].value_counts().to_dict() == {"train": 624, "val": 78, "test": 78}
    scores = pd.read_csv(checkout / "results/real/dsc.csv")
    assert (scores["cases"] == 78).all()
    assert len(scores) == 3
    assert "reduced copies of the images" in (checkout / "results/real/tables/main.md").read_text()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        pass
