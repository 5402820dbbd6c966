"""A run as a folder for the Hugging Face hub, and back from there."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from evaluation_support import call
from hub_support import REVISION, running_hub
from model_support import linked
from scoring_support import RUN, SIZE

from pipeline.evaluation.per_case import COLUMNS
from pipeline.fetching.clipseg import KnownFile
from pipeline.inference import export as module
from pipeline.inference.export import export
from pipeline.inference.models import find_runs, load_runs
from pipeline.models.weights import load_weights
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import PipelineError

SCORES = {"dsc": [0.5, 0.75], "iou": [0.4, 0.6], "hd95": [10, 20], "target_pixels": [5, 5], "missed": [0, 1]}


@pytest.fixture(scope="module")
def run(study, tmp_path_factory) -> Path:
    """The study's run with scores, in a results folder of its own."""
    results = tmp_path_factory.mktemp("results")
    linked(study.results / "backbone", results / "backbone")
    folder = results / RUN
    folder.parent.mkdir(parents=True)
    linked(study.results / RUN, folder)
    rows = pd.DataFrame({column: SCORES.get(column, [0.5, 0.5]) for column in COLUMNS})
    write_csv(folder / "per_case.csv", rows.assign(case=["a", "b"], prompt="p1 p2"))
    return folder


@pytest.fixture
def exported(run, tmp_path) -> Path:
    export(run, tmp_path / "exported")
    return tmp_path / "exported"


def same_weights(one: Path, other: Path) -> bool:
    return (one / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()


def test_the_folder_is_a_run_with_its_backbone(run, exported):
    assert sorted(path.name for path in exported.iterdir()) == [
        *("README.md", "backbone", "config.json", "manifest.json", "weights.safetensors")
    ]
    config = json.loads((exported / "config.json").read_text())
    assert config["variant"]["kind"] == "telescopic" and config["image_size"] == 352
    (found,) = find_runs(str(exported))
    assert same_weights(found, run)
    moved = shutil.move(exported, exported.with_name("elsewhere"))
    assert len(load_runs([str(moved)], None, SIZE).segmenters) == 1


def test_the_card_says_what_the_manifest_and_the_scores_say(exported):
    head, text = (exported / "README.md").read_text().removeprefix("---\n").split("\n---\n", 1)
    metadata = yaml.safe_load(head)
    (result,) = metadata["model-index"][0]["results"]
    expected = {"dsc": 0.625, "iou": 0.5, "hd95": 15, "nsd": 0.5, "ece": 0.5}
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == expected
    assert metadata["pipeline_tag"] == "image-segmentation" and "phantoms" not in metadata["tags"]
    for words in (
        "Research software, not a medical device.",
        "with 98,225 trained parameters",
        "| images | BUSI |",
        "| licence | ",
        "| SHA-256 of the prepared cases | dddd",
        '"learning_rate": 0.001',
        "| epochs | 7, weights of epoch 5 |",
        "| validation DSC, % | 51.24 |",
        "| test cases | 2, at their original size",
        "| DSC, % | 62.50 |",
        "| missed cases | 1.0 |",
        "arXiv:2512.13855",
        "Al-Dhabyani",
    ):
        assert words in text, words
    assert "{{" not in text and "\n\n\n" not in text and "hantom" not in text


def test_phantoms_are_called_so(run, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(run.parents[3], results)
    (results / "phantoms").mkdir()
    call(module.main, results / RUN)
    card = (results / "hub/busi/telescopic/seed41/README.md").read_text()
    assert "**Trained on phantoms**" in card and "| images | phantoms of BUSI |" in card and "licence |" not in card


def test_a_run_that_was_not_scored(run, tmp_path):
    plain = linked(run, tmp_path / "seed41", without="per_case.csv")
    export(plain, tmp_path / "exported", run.parents[3] / "backbone")
    card = (tmp_path / "exported/README.md").read_text()
    assert "| test cases | not scored |" in card and "model-index" not in card


def test_what_cannot_be_exported(run, tmp_path):
    with pytest.raises(PipelineError, match=r"manifest\.json: cannot be read .*train the run again"):
        export(linked(run, tmp_path / "a", without="manifest.json"), tmp_path / "out")
    broken = linked(run, tmp_path / "b", without="manifest.json")
    for content in ('{"run": "busi/telescopic/seed41"}', '{"run": 7}'):
        (broken / "manifest.json").write_text(content)
        with pytest.raises(PipelineError, match=r"manifest\.json: no usable manifest \(.*; train the run again"):
            export(broken, tmp_path / "out", run.parents[3] / "backbone")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_on_the_hub(run, exported, cache, monkeypatch):
    with running_hub(monkeypatch, "clinic/busi", files(exported)) as hub:
        model = load_runs([f"clinic/busi@{REVISION}"], None, SIZE)
    assert "README.md" not in hub.fetched and "backbone/model.safetensors" in hub.fetched
    own = load_weights(run / "weights.safetensors", model.segmenters[0].clipseg)
    assert own.trained_state().keys() == model.segmenters[0].trained_state().keys()


def test_a_published_backbone_is_named_and_fetched(run, cache, tmp_path, monkeypatch):
    backbone, name = run.parents[3] / "backbone", "model.safetensors"
    known = KnownFile("CIDAS/tiny", REVISION, name, 0, "")
    monkeypatch.setattr(module, "known_weights", lambda sha256, facts: known)
    export(run, tmp_path / "exported")
    assert not (tmp_path / "exported/backbone").exists()
    assert "base_model: CIDAS/tiny" in (tmp_path / "exported/README.md").read_text()
    with running_hub(monkeypatch, "CIDAS/tiny", files(backbone)) as hub:
        assert load_runs([str(tmp_path / "exported")], None, SIZE).size == SIZE
    assert name in hub.fetched


def test_what_the_hub_does_not_have(run, cache, monkeypatch):
    with running_hub(monkeypatch, "clinic/busi", {"README.md": b"nothing"}) as hub:
        with pytest.raises(PipelineError, match=r"holds no weights\.safetensors; name a model that `python -m"):
            find_runs(f"clinic/busi@{REVISION}")
        with pytest.raises(PipelineError, match=rf"clinic/none@main: could not be had from {hub.endpoint} .*correct"):
            find_runs("clinic/none@main")
