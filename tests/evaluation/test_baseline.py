"""The demo's baseline: written once, and what a comparison with it notices."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from evaluation_support import call, write_dsc_of, write_run

from pipeline.evaluation import baseline
from pipeline.runtime.errors import PipelineError

RUN = Path("results/runs/busi/telescopic/seed41")


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A clean git repository, the current folder, with the results of a small demo that git ignores."""
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".gitignore").write_text("results\n")
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "--message", "Start"]):
        subprocess.run(["git", *command], check=True, capture_output=True)
    results = tmp_path / "results"
    runs = [
        write_run(results, "busi", "telescopic", 41, [0.5, 0.7], shapes={"down": [64, 8], "norm": [8]}),
        write_run(results, "busi", "zero_shot", 41, [0.1, 0.2], shapes={}, losses=[]),
    ]
    write_dsc_of(results, runs)
    return tmp_path


def _write(monkeypatch, *more: object) -> None:
    arguments = ["--dsc", "results/dsc.csv", "--output", "results/baseline.json", *more]
    call(monkeypatch, baseline.main, "write", *arguments)


def _compare(monkeypatch) -> None:
    arguments = ["--dsc", "results/dsc.csv", "--baseline", "results/baseline.json"]
    call(monkeypatch, baseline.main, "compare", *arguments)


def _rewrite(path: Path, old: str, new: str) -> None:
    content = path.read_bytes()
    assert old.encode() in content
    assert len(old) == len(new) or path.suffix != ".safetensors"  # the length of its header comes before it
    path.write_bytes(content.replace(old.encode(), new.encode()))


def test_a_baseline_agrees_with_itself(repository, monkeypatch, capsys):
    _write(monkeypatch, "--tolerance", 0.5)
    record = json.loads(Path("results/baseline.json").read_text())
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert record["commit"] == head
    assert {"python", "torch", "numpy", "pipeline"} <= record["versions"].keys()
    assert (record["tolerance"], record["loss_tolerance"]) == (0.5, 1e-3)
    telescopic, zero_shot = record["runs"]
    assert (telescopic["dsc"], telescopic["cases"], telescopic["trained_parameters"]) == (60.0, 2, 64 * 8 + 8)
    assert (telescopic["train_loss"], telescopic["val_loss"]) == (0.9, 0.8)
    assert (zero_shot["trained_parameters"], zero_shot["train_loss"]) == (0, None)
    _compare(monkeypatch)
    assert "2 runs as in results/baseline.json" in capsys.readouterr().err


def test_a_dirty_tree_gets_no_baseline(repository, monkeypatch):
    (repository / "new.py").write_text("")
    with pytest.raises(PipelineError, match=r"uncommitted changes; commit them first\n  \?\? new.py"):
        _write(monkeypatch)
    (repository / "new.py").unlink()
    (repository / ".gitignore").write_text("results\nother\n")
    with pytest.raises(PipelineError, match=r"uncommitted changes; commit them first\n   M .gitignore"):
        _write(monkeypatch)
    assert not Path("results/baseline.json").exists()


def test_no_repository_gets_no_baseline(repository, monkeypatch):
    (repository / ".git").rename(repository / "git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository.parent))
    with pytest.raises(PipelineError, match="run this in a clone of the repository"):
        _write(monkeypatch)


def test_numbers_of_one_processor_are_no_baseline(repository, monkeypatch):
    _rewrite(RUN / "manifest.json", "portable", "deterministic")
    with pytest.raises(PipelineError, match=r"busi/telescopic/seed41 .* 'deterministic'.*set jobs\.portable"):
        _write(monkeypatch)
    assert not Path("results/baseline.json").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("weights.safetensors", "[64, 8]", "[64, 9]", "trained parameters: 584, baseline 520"),
        ("weights.safetensors", "[64, 8]", "[8, 64]", "names and shapes of the trained tensors changed"),
        ("weights.safetensors", '"norm"', '"bias"', "names and shapes of the trained tensors changed"),
        ("manifest.json", "portable", "fast", "numerical mode: fast, baseline portable"),
        ("per_case.csv", "000,a polyp", "000,a wart", "prompts of the test cases changed"),
        ("per_case.csv", ",100,90", ",101,90", "targets of the test cases changed"),
        ("history.csv", "1,0.9,0.8", "1,0.902,0.8", "training loss of the first epoch: 0.902, baseline 0.9, relative"),
        ("history.csv", "1,0.9,0.8\n2,0.7,0.6\n", "", "training loss of the first epoch: None, baseline 0.9"),
        ("history.csv", "1,0.9,0.8", "1,0.9,0.79", "validation loss of the first epoch: 0.79, baseline 0.8"),
    ],
)
def test_a_damage_is_caught(repository, monkeypatch, file, old, new, message):
    _write(monkeypatch)
    _rewrite(RUN / file, old, new)
    with pytest.raises(PipelineError, match=f"busi/telescopic/seed41: {message}") as error:
        _compare(monkeypatch)
    assert "zero_shot" not in str(error.value)
    assert "pipeline.evaluation.baseline write" in str(error.value)


@pytest.mark.parametrize(("new", "caught"), [(0.719, False), (0.721, True), (0.679, True)])
def test_the_dsc_may_move_within_the_tolerance(repository, monkeypatch, new, caught):
    """One of two cases moves from 0.7: the mean moves by half as many points."""
    _write(monkeypatch)
    _rewrite(RUN / "per_case.csv", ",0.7,", f",{new},")
    table = pd.read_csv("results/dsc.csv")
    table.loc[table["variant"] == "telescopic", "dsc"] = (0.5 + new) / 2
    table.to_csv("results/dsc.csv", index=False)
    if caught:
        with pytest.raises(PipelineError, match=r"DSC \d\d\.\d+, baseline 60.000, tolerance 1"):
            _compare(monkeypatch)
    else:
        _compare(monkeypatch)


def test_a_small_change_of_a_loss_is_another_processor(repository, monkeypatch):
    _write(monkeypatch)
    _rewrite(RUN / "history.csv", "1,0.9,0.8", "1,0.90001,0.8")
    _compare(monkeypatch)
    _rewrite(RUN / "history.csv", "1,0.90001,0.8", "1,,0.8")
    with pytest.raises(PipelineError, match="training loss of the first epoch: nan"):
        _compare(monkeypatch)


def test_missing_and_extra_runs_and_other_versions(repository, monkeypatch):
    _write(monkeypatch)
    path = Path("results/baseline.json")
    record = json.loads(path.read_text())
    record["runs"][1]["seed"] = 42
    record["versions"]["torch"] = "0.0"
    path.write_text(json.dumps(record))
    with pytest.raises(PipelineError) as error:
        _compare(monkeypatch)
    assert "  busi/zero_shot/seed41: not in the baseline\n  busi/zero_shot/seed42: not run" in str(error.value)
    assert "versions that differ: torch" in str(error.value)


def test_files_that_contradict_each_other(repository, monkeypatch):
    _write(monkeypatch)
    _rewrite(RUN / "per_case.csv", ",0.7,", ",0.71,")
    with pytest.raises(PipelineError, match=r"its DSC of .*telescopic/seed41 disagrees with per_case\.csv"):
        _compare(monkeypatch)
    for content, message in [("{", "cannot be read"), ('{"runs": []}', "loss_tolerance, tolerance, versions missing")]:
        Path("results/baseline.json").write_text(content)
        with pytest.raises(PipelineError, match=message):
            _compare(monkeypatch)
    (RUN / "weights.safetensors").unlink()
    with pytest.raises(PipelineError, match=r"weights\.safetensors: cannot be read"):
        _write(monkeypatch)
