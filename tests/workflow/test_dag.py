"""The workflow as a user meets it: what it plans, what it refuses, what a change recomputes."""

import functools
import http.server
import shutil
import threading
import time
import zipfile

import pandas as pd
import pytest
import yaml
from workflow_support import FAMILY, ROOT, SMALL, planned, snakemake

from pipeline.config import read_study
from pipeline.plan import Plan

SHARED = ROOT.parent / "shared" / "data"


def test_the_full_study_is_planned_quickly():
    start = time.monotonic()
    result = snakemake(ROOT, "all", "--dry-run", "--quiet", "rules", "--nolock")
    seconds = time.monotonic() - start
    assert result.returncode == 0, result.stderr[-2000:]
    jobs = planned(result.stdout)
    plan = Plan(read_study(ROOT / "config.yaml"))
    runs = set().union(*(plan.trainings(group) for group in plan.groups))
    joint = {run for run in runs if run[0] == "joint"}
    trials = {run for run in runs if plan.is_trial(run[1])}
    assert jobs["train"] == len(runs) and jobs["evaluate"] == len(runs - joint - trials)
    assert len(joint) > 10 and len(trials) > 10
    assert jobs["fetch_pretrained"] == 1
    assert jobs["evaluate_transfer"] == len(plan.further["transfer"].runs()) + len(joint)
    assert seconds < 60  # 15 s on an idle machine; tests share theirs


def test_one_figure_needs_only_its_family():
    result = snakemake(ROOT, "results/ablation_alpha.pdf", "--dry-run", "--quiet", "rules", "--nolock")
    jobs = planned(result.stdout)
    assert (jobs["train"], jobs["figure_ablation_alpha"]) == (6 * 3 * 3, 1)
    assert not {"figure_pareto", "table_main", "cost", "fetch_pretrained"} & jobs.keys()


def test_learned_widths_wait_for_the_first_run_and_tuned_rates_for_the_trials():
    run, tuned = "results/runs/busi/learned/seed42", "results/runs/isic16/lora_tuned/seed42"
    result = snakemake(ROOT, *(f"{folder}/weights.safetensors" for folder in (run, tuned)), "--dry-run", "--nolock")
    jobs = planned(result.stdout)
    # All 70 trials; the tuned run, and that of the protocol, which may be the same.
    assert (jobs["train"], jobs["learn_widths"], jobs["tuning"]) == (2 + 70 + 2, 1, 1)
    assert "evaluate" not in jobs
    (line,) = [line for line in result.stdout.splitlines() if "results/tuning.json," in line and "input:" in line]
    assert "results/runs/isic16/lora/seed42/manifest.json" in line
    first = "results/runs/busi/uniform_128/seed42/weights.safetensors"
    learn, train = (result.stdout.split(f"{name}:\n    input: ")[1:] for name in ("learn_widths", "rule train"))
    assert learn[0].startswith(f"{first}\n    output: {run}/widths.json")
    assert any(f"{run}/widths.json" in job.splitlines()[0] for job in train)


def test_a_published_checkpoint_is_scored_without_training():
    result = snakemake(ROOT, "results/tables/released.md", "--dry-run", "--quiet", "rules", "--nolock")
    jobs = planned(result.stdout)
    data = {"fetch_archives", "fetch_annotations", "standardise", "verify", "tensors"}
    scored = {"fetch_backbone", "fetch_checkpoint", "evaluate_checkpoint", "table_released"}
    assert jobs == dict.fromkeys(data | scored, 1) | {"total": len(data | scored)}
    assert "results/archives/bkai" in snakemake(ROOT, "results/tables/released.md", "--dry-run", "--nolock").stdout


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("seeds=[41,41]", "seeds: 41 is listed more than once"),
        ("variants={telescopic: {text_width: 0}}", "text_width: Input should be greater than or equal to 2"),
        ("variants={telescopic: {width_sum: 2000}}", "telescopic: width 395 in vision_9_mlp (vision: at most 192)"),
    ],
)
def test_mistakes_are_refused_before_any_job(option, words):
    result = snakemake(ROOT, "all", "--dry-run", "--nolock", "--config", option)
    assert result.returncode != 0
    assert words in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_lint():
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
    for name in ("pareto", "qualitative", "failures_supplement", "training_curves", "width_schedule", "ablation_depth"):
        assert (results / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (results / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "Not comparable with the paper" in (results / "tables/main.md").read_text()


@pytest.mark.slow
def test_every_case_is_scored_under_every_prompt_type(small_study):
    run = small_study.finished / small_study.results / "runs/busi/telescopic/seed41"
    prompts = pd.read_csv(run / "per_prompt.csv")
    assert prompts["prompt_type"].value_counts().to_dict() == {f"p{index}": 6 for index in range(7)}
    cases = pd.read_csv(run / "per_case.csv").set_index("case")
    means = prompts[prompts["prompt_type"] != "p0"].groupby("case")["dsc"].mean()
    pd.testing.assert_series_equal(cases["dsc"].sort_index(), means)


@pytest.fixture
def changeable(small_study, tmp_path):
    """A copy of the finished study in another place, and what a dry run of it plans."""
    folder = tmp_path / "another place"
    shutil.copytree(small_study.finished, folder)

    def plan() -> dict[str, int]:
        result = snakemake(folder, "all", "--dry-run", "--configfile", "small.yaml", "--quiet", "rules")
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return planned(result.stdout)

    return folder, plan


def append(file, text: str) -> None:
    file.write_text(f"{file.read_text()}\n{text}\n")


@pytest.mark.slow
def test_a_moved_checkout_has_nothing_to_do(changeable):
    _, plan = changeable
    assert plan() == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "edit", "jobs", "untouched"),
    [
        ("training/loop", "# A comment.", {}, None),
        ("reporting/figures/pareto", "EXTRA = 1", {"figure_pareto": 1}, {"evaluate", "tensors"}),
        ("evaluation/metrics", "EXTRA = 1", {"evaluate": 4, "table_main": 1}, {"train", "tensors"}),
        ("models/kinds/end_to_end", "EXTRA = 1", {"train": 1, "evaluate": 1, "cost": 1}, {"tensors"}),
        ("training/loop", "EXTRA = 1", {"train": 4, "evaluate": 4}, {"tensors"}),
        ("data/standardise", "EXTRA = 1", {"standardise": 1, "tensors": 1, "train": 4}, {"pretrain_backbone"}),
    ],
    ids=["comment", "figure", "metric", "kind", "loop", "data"],
)
def test_an_edited_module_recomputes_what_depends_on_it(changeable, module, edit, jobs, untouched):
    folder, plan = changeable
    append(folder / f"pipeline/{module}.py", edit)
    planned_jobs = plan()
    assert {name: planned_jobs.get(name) for name in jobs} == jobs
    assert not planned_jobs.keys() & untouched if untouched else planned_jobs == {}


@pytest.mark.slow
@pytest.mark.parametrize(("change", "trained"), [({"label": "Ours"}, 0), ({"base_dimension": 32}, 1)])
def test_a_setting_trains_its_own_variant_and_a_label_none(changeable, change, trained):
    folder, plan = changeable
    overlay = yaml.safe_load((folder / "small.yaml").read_text())
    (folder / "small.yaml").write_text(yaml.safe_dump(overlay | {"variants": {"telescopic": change}}))
    jobs = plan()
    assert jobs.get("train", 0) == trained
    assert jobs["table_main"] == 1


@pytest.mark.slow
def test_a_variant_under_another_key_is_taken_up_with_its_folders(changeable):
    folder, plan = changeable
    overlay = yaml.safe_load((folder / "small.yaml").read_text())
    flat = {"flat": {"kind": "telescopic", "label": "Uniform", "schedule": "uniform"}}
    overlay |= {"variants": flat, "ablations": {"depth": FAMILY | {"variants": ["telescopic", "flat"]}}}
    (folder / "small.yaml").write_text(yaml.safe_dump(overlay))
    assert plan()["train"] == 1
    for path in (folder / "results/small/runs").glob("*/uniform"):
        path.rename(path.with_name("flat"))
    assert not {"train", "evaluate"} & plan().keys()


@pytest.mark.slow
def test_a_report_of_a_part_shows_what_there_is(changeable, tmp_path):
    folder, _ = changeable
    (folder / "results/small/pages/tables/main.html").unlink()
    (folder / "results/small/pareto.png").unlink()
    result = snakemake(folder, "--report", str(tmp_path / "report.zip"), "--configfile", "small.yaml")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    shown = str(zipfile.ZipFile(tmp_path / "report.zip").namelist())
    assert "overview" in shown and "pareto" not in shown


@pytest.mark.slow
def test_a_variant_that_cannot_be_built_stops_the_study_before_its_first_job(changeable):
    folder, _ = changeable
    kind = folder / "pipeline/models/kinds/end_to_end.py"
    kind.write_text(
        kind.read_text().replace("for parameter in", "raise KeyError('layer 13')\n        for parameter in")
    )
    result = snakemake(folder, "all", "--configfile", "small.yaml", "--quiet", "rules")
    output = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in output
    assert "variants.end_to_end: KeyError('layer 13') (end_to_end.py, line " in output
    assert "Error in rule" not in output


@pytest.mark.slow
def test_another_threshold_scores_again_and_trains_nothing(changeable):
    folder, plan = changeable
    overlay = yaml.safe_load((folder / "small.yaml").read_text())
    (folder / "small.yaml").write_text(yaml.safe_dump(overlay | {"evaluation": {"threshold": 0.4}}))
    jobs = plan()
    assert (jobs["evaluate"], jobs.get("train", 0)) == (4, 0)


@pytest.mark.slow
def test_runs_are_scored_in_the_process_that_trained_them(small_study):
    results = small_study.finished / small_study.results
    logs = list((results / "logs/evaluate").rglob("seed*.log"))
    assert len(logs) == 4
    assert all("scored by the process that trained the run" in log.read_text() for log in logs)


@pytest.mark.slow
def test_jobs_have_their_libraries_from_the_server(small_study):
    logs = {log: log.read_text() for log in (small_study.finished / small_study.results / "logs").rglob("*.log")}
    assert len(logs) > 40
    assert not [log for log, text in logs.items() if "started cold" in text]


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
