"""The workflow as a user meets it: what it plans, what it refuses, what a change recomputes."""

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
import yaml
from workflow_support import ROOT, SMALL, planned, snakemake

SHARED = ROOT.parent / "shared" / "data"


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
    assert not {"evaluate_at_input_size", "prompt_sensitivity_run"} & jobs.keys(), "these are on request only"
    # What each family adds stands above the plan; its sum is the number of trainings.
    counts = re.findall(r"^(\w+(?: table)?) +(\d+) +(\d+) +(\d+)$", result.stderr, re.MULTILINE)
    assert [name for name, *_ in counts] == ["main table", *config["ablations"]]
    assert sum(int(added) for *_, added in counts) == jobs["train"]
    assert all(int(runs) - int(shared) == int(added) for _, runs, shared, added in counts)
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
def test_a_killed_training_is_taken_up(small_study):
    assert small_study.saved
    assert not small_study.left, "a training that was killed left a result"
    results = small_study.finished / small_study.results
    assert "resuming after epoch" in (results / "logs/train/busi/telescopic/seed41.log").read_text()
    assert not (results / "state/busi/telescopic/seed41/state.pt").exists()


@pytest.mark.slow
def test_the_small_study_is_whole(small_study):
    results = small_study.finished / small_study.results
    scores = pd.read_csv(results / "dsc.csv")
    assert set(scores["variant"]) == {"zero_shot", "end_to_end", "telescopic"}
    assert scores["dsc"].between(0, 1).all()
    assert (scores["cases"] == 6).all()
    for name in ("pareto", "qualitative", "training_curves", "width_schedule", "ablation_depth"):
        assert (results / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (results / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "Not comparable with the paper" in (results / "tables/main.md").read_text()


@pytest.mark.slow
def test_what_is_made_on_request(small_study, tmp_path):
    folder, results = tmp_path / "repository", small_study.results
    shutil.copytree(small_study.finished, folder)
    targets = [str(results / name) for name in ("tables/evaluation_choices.csv", "prompt_sensitivity.pdf")]
    result = snakemake(folder, *targets, "--configfile", "small.yaml", "--quiet", "rules")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    prompts = pd.read_csv(folder / results / "prompt_sensitivity/busi/telescopic/seed41/per_case.csv")
    assert prompts["prompt_type"].value_counts().to_dict() == dict.fromkeys(["random", *(f"p{i}" for i in range(7))], 6)
    verified = subprocess.run(
        [sys.executable, "-m", "pipeline.reporting.verify", str(results)], cwd=folder, capture_output=True, text=True
    )
    assert verified.returncode == 0, verified.stderr
    assert "agrees  tables/prompt_sensitivity.csv" in verified.stdout
    assert "not checked" not in verified.stdout


@pytest.mark.slow
def test_a_change_recomputes_what_depends_on_it(small_study):
    checkout, small = small_study.checkout, ("--configfile", "small.yaml", "--quiet", "rules")
    again = snakemake(checkout, "all", "--dry-run", *small[:2])
    assert "Nothing to be done" in again.stdout + again.stderr

    # An edited plotting module draws its figure anew and trains nothing.
    module = checkout / "pipeline/reporting/figures/pareto.py"
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
