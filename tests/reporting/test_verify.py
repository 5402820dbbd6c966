"""Recomputing tables from per-case scores."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation_support import call, forge, write_run

from pipeline.evaluation import collect
from pipeline.reporting import verify
from pipeline.reporting.tables import comparison, regression
from pipeline.reporting.tables import scores as tables
from pipeline.runtime.errors import PipelineError

REPORTED = Path(__file__).parents[2] / "workflow" / "resources" / "reported.csv"
DATASETS = ["bkai", "busi"]
MAIN = ["zero_shot", "uniform", "telescopic"]
LABELS = json.dumps({"telescopic": "Telescopic | ours", "zero_shot": "Zero & shot"})


def _write_study(results: Path, run) -> None:
    """The chain of results as the workflow makes it; ``run`` calls a command line."""
    generator = np.random.default_rng(6)
    folders = {}
    for dataset in DATASETS:
        base = generator.uniform(0.4, 0.8, 12)
        for variant, gain in (("zero_shot", -0.3), ("uniform", -0.05), ("telescopic", 0.0), ("reversed", 0.01)):
            for seed in (41, 42):
                scores = base + gain + generator.uniform(-0.02, 0.02, 12)
                folders[dataset, variant, seed] = str(write_run(results, dataset, variant, seed, scores).folder)
    main = json.dumps(
        [folders[dataset, variant, seed] for dataset in DATASETS for variant in MAIN for seed in (41, 42)]
    )
    depth = json.dumps([folders["busi", variant, 41] for variant in ("reversed", "telescopic")])
    (results / "tables").mkdir()
    (results / "ablations").mkdir()
    run(collect, "--runs", main, "--output", results / "dsc.csv")
    run(collect, "--runs", depth, "--output", results / "ablations" / "depth.csv")
    cost = {"variant": [*MAIN, "reversed"], "trainable_parameters": [0, 613297, 613297, 613297]}
    pd.DataFrame(cost).assign(inference_gmacs=41.86).to_csv(results / "cost.csv", index=False)
    shared = ["--labels", LABELS, "--note", "Demo: not comparable."]
    own = ["--variants", json.dumps(MAIN), "--datasets", json.dumps(DATASETS), *shared]
    dsc, cost, marks = results / "dsc.csv", results / "cost.csv", results / "tables" / "comparison.csv"
    outputs = [
        text for kind in ("csv", "md", "tex") for text in (f"--output-{kind}", results / f"tables/comparison.{kind}")
    ]
    run(comparison, "--runs", main, "--reference", "telescopic", "--bootstrap", 300, *shared, *outputs)
    run(
        *(tables, "main", "--dsc", dsc, "--reported", REPORTED, "--comparison", marks, "--runs", main, *own),
        *("--output", results / "tables/main"),
    )
    run(
        *(tables, "efficiency", "--dsc", dsc, "--reported", REPORTED, "--cost", cost, *own),
        *("--output", results / "tables/efficiency"),
    )
    run(
        *(tables, "ablation", "--dsc", results / "ablations/depth.csv", "--cost", cost, "--title", "Depth: widths"),
        *("--runs", depth),
        *("--variants", '["reversed", "telescopic"]', "--datasets", '["busi"]', "--reference", "telescopic"),
        *(*shared, "--output", results / "tables/ablation_depth"),
    )
    run(
        *(regression, "--dsc", dsc, "--reported", REPORTED, "--runs", main, "--datasets", json.dumps(DATASETS)),
        *("--must-reproduce", '["telescopic"]', "--comparable", "false", "--bootstrap", 300, "--note", "Demo."),
        *("--output", results / "regression.json", "--table", results / "tables/regression.md"),
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    results = tmp_path_factory.mktemp("study") / "results"
    with pytest.MonkeyPatch.context() as patch:
        _write_study(results, lambda module, *arguments: call(patch, module.main, *arguments))
    return results


@pytest.fixture
def results(study, tmp_path) -> Path:
    """A copy of the study that a test may damage."""
    return Path(shutil.copytree(study, tmp_path / "results"))


def _verify(results: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["verify", str(results), "--reported", str(REPORTED)])
    verify.main()


def test_an_untouched_study_agrees(results, monkeypatch, capsys):
    _verify(results, monkeypatch)
    printed = capsys.readouterr().out
    assert "16 files agree with the per-case scores of 12 runs" in printed
    for name in ("dsc.csv", "ablations/depth.csv", "tables/main.tex", "tables/ablation_depth.md", "regression.json"):
        assert f"agrees  {name}\n" in printed
    assert "DIFFERS" not in printed


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("dsc.csv", r"(?<=uniform,41,12,)0\.\d+"),
        ("ablations/depth.csv", r"(?<=reversed,41,12,)0\.\d+"),
        ("tables/main.csv", r"\d\d\.\d{6}"),
        ("tables/main.md", r"\d\d\.\d\d(?= ±)"),
        ("tables/main.md", r"(?<=per-case scores )\w{12}"),
        ("tables/main.tex", r"\d\d\.\d\d(?=\\,)"),
        ("tables/comparison.csv", r"(?<=busi,uniform,telescopic,12,2,)[\d.]+"),
        ("tables/comparison.md", r"-\d+\.\d\d \["),
        ("tables/efficiency.csv", r"\d\d\.\d{6}"),
        ("tables/ablation_depth.md", r"\*\*\d\d\.\d\d\*\*"),
        ("regression.json", r'(?<="value": )\d\d\.\d+'),
        ("tables/regression.md", r"not comparable"),
    ],
)
def test_a_forged_number_is_found(results, monkeypatch, capsys, name, pattern):
    forge(results / name, pattern)
    with pytest.raises(PipelineError, match="1 of 16 files are not what the 12 runs' per-case scores give") as error:
        _verify(results, monkeypatch)
    assert f"\n  {name}: line " in str(error.value)
    assert "12.345678" in str(error.value)
    assert f"DIFFERS {name}\n" in capsys.readouterr().out


def test_changed_scores_are_found_in_all_tables_that_have_them(results, monkeypatch, capsys):
    folder = results / "runs" / "busi" / "telescopic" / "seed41"
    table = pd.read_csv(folder / "per_case.csv", dtype={"case": str})
    table.loc[0, "dsc"] /= 2
    table.to_csv(folder / "per_case.csv", index=False)
    with pytest.raises(PipelineError, match=r"summary\.json: dsc is .* but per_case\.csv gives"):
        _verify(results, monkeypatch)
    summary = json.loads((folder / "summary.json").read_text()) | {"dsc": float(table["dsc"].mean())}
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(PipelineError, match="16 of 16 files"):
        _verify(results, monkeypatch)


def test_the_last_bits_of_a_number_are_no_difference(results, monkeypatch, capsys):
    path = results / "dsc.csv"
    table = pd.read_csv(path)
    for shift, agrees in ((1e-14, True), (1e-6, False)):
        table.assign(dsc=table["dsc"] + shift).to_csv(path, index=False)
        if agrees:
            _verify(results, monkeypatch)
        else:
            with pytest.raises(PipelineError, match="1 of 16 files"):
                _verify(results, monkeypatch)


def test_a_missing_row_and_a_missing_file_are_found(results, monkeypatch, capsys):
    path = results / "tables" / "main.md"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "Zero" not in line))
    (results / "tables" / "comparison.tex").unlink()
    with pytest.raises(PipelineError, match="2 of 16 files") as error:
        _verify(results, monkeypatch)
    assert "tables/main.md: line " in str(error.value)
    assert "tables/comparison.tex: cannot be read (No such file or directory)" in str(error.value)


def test_tables_from_other_sources_are_named_as_not_checked(results, monkeypatch, capsys):
    (results / "tables" / "notes.csv").write_text("variant,dsc\n")
    (results / "tables" / "efficiency.csv").unlink()
    _verify(results, monkeypatch)
    printed = capsys.readouterr().out
    expected = ["tables/efficiency.md", "tables/efficiency.tex", "tables/notes.csv"]
    assert [line.removeprefix("not checked ") for line in printed.splitlines() if "not checked" in line] == expected
    assert "13 files agree with the per-case scores of 12 runs" in printed


def test_exit_status_and_no_traceback(results):
    command = [sys.executable, "-m", "pipeline.reporting.verify", str(results)]
    root = REPORTED.parents[2]
    (results / "dsc.csv").write_text(
        (results / "dsc.csv").read_text().replace("busi,uniform,41,12", "busi,uniform,41,13")
    )
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: 1 of 16 files are not what the 12 runs' per-case scores give")
    assert "Traceback" not in done.stderr


def test_what_is_not_there_is_not_checked(results, monkeypatch, capsys):
    for name in ("comparison.csv", "efficiency.csv", "ablation_depth.csv"):
        (results / "tables" / name).unlink()
    (results / "regression.json").unlink()
    # Without the comparison the marks in the main table cannot be justified.
    with pytest.raises(PipelineError, match="2 of 5 files"):
        _verify(results, monkeypatch)
    (results / "dsc.csv").unlink()
    with pytest.raises(PipelineError, match=r"dsc\.csv: no such file"):
        _verify(results, monkeypatch)
