"""A finished study as an RO-Crate, read back by the library."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
from evaluation_support import call, write_run
from rocrate.rocrate import ROCrate
from workflow_support import ROOT

from pipeline import crate
from pipeline.config import read_study
from pipeline.data.sources import dataset_facts
from pipeline.plan import Plan
from pipeline.runtime.errors import PipelineError

MORE = {"versions": {"python": "3.11.7", "torch": "2.13.0"}, "device": {"name": "A100"}, "wall_seconds": 1800}


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """config.yaml and the overlay of a study of two runs on BUSI, all of whose files are there."""
    none = dict.fromkeys(("transfer", "joint", "leaks", "tuning", "more_seeds"))
    study = {"results": str(tmp_path / "results"), "datasets": ["busi"], "seeds": [41]} | none
    study |= {"main": ["zero_shot", "telescopic"], "ablations": dict.fromkeys(FAMILIES)}
    (tmp_path / "small.yaml").write_text(json.dumps(study))
    found = [ROOT / "config.yaml", tmp_path / "small.yaml"]
    for variant in study["main"]:
        run = write_run(tmp_path / "results", "busi", variant, 41, [0.5, 0.6])
        manifest = run.folder / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | MORE))
    for path in map(Path, Plan(read_study(*found)).targets()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    data = tmp_path / "results/datasets/busi"
    data.mkdir(parents=True, exist_ok=True)
    (data / "provenance.json").write_text(json.dumps({"archives": {"Dataset_BUSI.zip": "ab" * 32}}))
    (data / "cases.csv").write_text("case\n")
    return found


FAMILIES = read_study(ROOT / "config.yaml").ablations


def entities(value) -> list:
    return value if isinstance(value, list) else [value]


def test_what_was_run_on_what_with_what_result(files, tmp_path):
    call(crate.main, *files, output=tmp_path / "study.zip", agent="Jane Doe")
    read = ROCrate(tmp_path / "study.zip")
    root, run = read.root_dataset, read.get("#run")
    assert {entity.id for entity in root["conformsTo"]} == set(crate.PROFILES) and root["mentions"] == [run]
    assert (read.mainEntity.id, run["instrument"], run["agent"]["name"]) == ("Snakefile", read.mainEntity, "Jane Doe")
    assert "2 trainings of 1.00 hours in sum, on A100" in run["description"] and run["startTime"] < run["endTime"]
    inputs, outputs = run["object"], {entity.id for entity in run["result"]}
    *given, backbone = [entity.id for entity in inputs]
    assert given == ["configuration/config.yaml", "configuration/small.yaml", "datasets/busi/"]
    assert backbone.startswith("#the-backbone-")
    assert {"results/tables/main.md", "results/overview.pdf", "results/runs/busi/telescopic/seed41/"} <= outputs
    data = read.get("datasets/busi/")
    assert data["license"]["name"] == dataset_facts("busi").licence and data["identifier"][0]["value"] == "ab" * 32
    weights = tmp_path / "results/runs/busi/telescopic/seed41/weights.safetensors"
    checksum = read.get("results/runs/busi/telescopic/seed41/")["identifier"]
    assert checksum["value"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    for entity in read.data_entities:
        if "sha256" in entity.properties():
            assert hashlib.sha256(Path(entity.source).read_bytes()).hexdigest() == entity["sha256"], entity.id
    named = {(entity["name"], entity["softwareVersion"]) for entity in read.mainEntity["softwareRequirements"]}
    assert named == set(MORE["versions"].items())


def test_an_unfinished_study_and_no_library(files, tmp_path, monkeypatch):
    (tmp_path / "results/tables/main.md").unlink()
    with pytest.raises(PipelineError, match=r"main\.md: not made yet \(1 files"):
        call(crate.main, *files, output=tmp_path / "study.zip")
    monkeypatch.setitem(sys.modules, "rocrate.rocrate", None)
    with pytest.raises(PipelineError, match="pip install rocrate"):
        call(crate.main, *files, output=tmp_path / "study.zip")
    assert not (tmp_path / "study.zip").exists()
