"""The demo's baseline: written once, and what a comparison with it notices."""

import json
import subprocess
from pathlib import Path

import pytest
from evaluation_support import call, write_dsc_of, write_run, write_weights

from pipeline.evaluation import baseline
from pipeline.runtime.errors import PipelineError

RUN = Path("results/runs/busi/telescopic/seed41")
BASELINE = Path("results/baseline.json")


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
        write_run(results, "busi", "telescopic", 41, [0.5, 0.7]),
        write_run(results, "busi", "zero_shot", 41, [0.1, 0.2], losses=[]),
    ]
    write_weights(runs[0].folder / "weights.safetensors", down=(64, 8), norm=(8,))
    write_weights(runs[1].folder / "weights.safetensors")
    write_dsc_of(results, runs)
    return tmp_path


def _write(**more: object) -> None:
    call(baseline.main, "write", dsc="results/dsc.csv", output=BASELINE, **more)


def _compare() -> None:
    call(baseline.main, "compare", dsc="results/dsc.csv", baseline=BASELINE)


def _rewrite(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


def test_a_baseline_agrees_with_itself(repository, capsys):
    _write(tolerance=0.5)
    record = json.loads(BASELINE.read_text())
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert record["commit"] == head
    assert {"python", "torch", "numpy", "pipeline"} <= record["versions"].keys()
    assert (record["tolerance"], record["loss_tolerance"]) == (0.5, 1e-3)
    telescopic, zero_shot = record["runs"]
    assert (telescopic["dsc"], telescopic["cases"], telescopic["trained_parameters"]) == (60.0, 2, 64 * 8 + 8)
    assert (telescopic["train_loss"], telescopic["val_loss"]) == (0.9, 0.8)
    assert (zero_shot["trained_parameters"], zero_shot["train_loss"]) == (0, None)
    _compare()
    assert "2 runs as in results/baseline.json" in capsys.readouterr().err


def test_when_no_baseline_is_written(repository, monkeypatch):
    def refused(message: str) -> None:
        with pytest.raises(PipelineError, match=message):
            _write()
        assert not BASELINE.exists()

    (repository / "new.py").write_text("")
    refused(r"uncommitted changes; commit them first\n\?\? new.py")
    (repository / "new.py").unlink()
    _rewrite(repository / ".gitignore", "results", "results\nother")
    refused(r"uncommitted changes; commit them first\n M .gitignore")
    _rewrite(repository / ".gitignore", "results\nother", "results")
    _rewrite(RUN / "manifest.json", "portable", "deterministic")
    refused(r"busi/telescopic/seed41 .* 'deterministic'.*set jobs\.portable")
    (RUN / "weights.safetensors").unlink()
    refused(r"weights\.safetensors: cannot be read")
    (repository / ".git").rename(repository / "git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository.parent))
    refused("run this in a clone of the repository")


def _refused(message: str) -> str:
    with pytest.raises(PipelineError, match=message) as error:
        _compare()
    return str(error.value)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("manifest.json", "portable", "fast", "numerical mode: fast, baseline portable"),
        ("per_prompt.csv", "000,a polyp", "000,a wart", "prompts of the test cases changed"),
        ("per_case.csv", ",100,90", ",101,90", "targets of the test cases changed"),
        ("per_case.csv", ",0.7,", ",0.721,", r"DSC 61\.050, baseline 60\.000, tolerance 1"),
        ("per_case.csv", ",0.7,", ",0.679,", r"DSC 58\.950, baseline 60\.000, tolerance 1"),
        ("history.csv", "1,0.9,0.8", "1,0.902,0.8", "training loss of the first epoch: 0.902, baseline 0.9, relative"),
        ("history.csv", "1,0.9,0.8", "1,,0.8", "training loss of the first epoch: nan"),
        ("history.csv", "1,0.9,0.8\n2,0.7,0.6\n", "", "training loss of the first epoch: None, baseline 0.9"),
        ("history.csv", "1,0.9,0.8", "1,0.9,0.79", "validation loss of the first epoch: 0.79, baseline 0.8"),
    ],
)
def test_a_damage_is_caught(repository, file, old, new, message):
    _write()
    _rewrite(RUN / file, old, new)
    error = _refused(f"busi/telescopic/seed41: {message}")
    assert "zero_shot" not in error and "pipeline.evaluation.baseline write" in error


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"down": (64, 9), "norm": (8,)}, "trained parameters: 584, baseline 520"),
        ({"down": (8, 64), "norm": (8,)}, "names and shapes of the trained tensors changed"),
        ({"down": (64, 8), "bias": (8,)}, "names and shapes of the trained tensors changed"),
    ],
)
def test_other_tensors_are_caught(repository, shapes, message):
    _write()
    write_weights(RUN / "weights.safetensors", **shapes)
    _refused(f"busi/telescopic/seed41: {message}")


def test_small_changes_of_dsc_and_loss_are_another_processor(repository):
    """One of two cases moves from 0.7: the mean moves by half as many points."""
    _write()
    _rewrite(RUN / "per_case.csv", ",0.7,", ",0.719,")
    _rewrite(RUN / "history.csv", "1,0.9,0.8", "1,0.90001,0.8")
    _compare()


def test_missing_and_extra_runs_and_other_versions(repository):
    _write()
    record = json.loads(BASELINE.read_text())
    record["runs"][1]["seed"] = 42
    record["versions"]["torch"] = "0.0"
    BASELINE.write_text(json.dumps(record))
    error = _refused("versions that differ: torch")
    assert "  busi/zero_shot/seed41: not in the baseline\n  busi/zero_shot/seed42: not run" in error


@pytest.mark.parametrize(
    ("content", "message"), [("{", "JSONDecodeError"), ('{"runs": []}', "versions"), ('{"runs": [{}]}', "dataset")]
)
def test_a_file_that_is_no_baseline(repository, content, message):
    BASELINE.write_text(content)
    _refused(rf"baseline\.json: no usable baseline .*{message}")
