"""CLIPSeg's files from a local folder, and from a hub on the loopback interface."""

import csv
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hub_support import REVISION, running_hub
from model_support import linked, save_tiny, tiny

from pipeline.fetching import clipseg as module
from pipeline.fetching.clipseg import check_folder, copy_from_folder, fetch_from_hub, known_files
from pipeline.models.backbone import load_backbone, tiny_config
from pipeline.models.preprocessing import load_tokenizer
from pipeline.runtime.errors import PipelineError

ROOT = Path(__file__).parents[2]
FACTS = ROOT / "workflow" / "resources" / "backbone_files.csv"
REPOSITORY = "someone/tiny-clipseg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("backbone"))


def test_a_local_folder_is_copied(folder, tmp_path):
    output = tmp_path / "results/backbone"
    copy_from_folder(folder, output, FACTS)
    assert {file.name for file in output.iterdir()} == {
        "config.json",
        "merges.txt",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "vocab.json",
    }
    for file in output.iterdir():
        assert file.read_bytes() == (folder / file.name).read_bytes()
    assert torch.equal(
        load_backbone(output).clip.text_projection.weight.detach(), tiny().clip.text_projection.weight.detach()
    )
    assert load_tokenizer(output)("polyp")["input_ids"] == load_tokenizer(folder)("polyp")["input_ids"]


def test_incomplete_local_folders_are_refused(folder, tmp_path):
    def refused(path: Path) -> str:
        with pytest.raises(PipelineError) as error:
            copy_from_folder(path, tmp_path / "output", FACTS)
        assert not (tmp_path / "output").exists()
        return str(error.value)

    assert "absent is not a folder; set backbone.folder" in refused(tmp_path / "absent")
    path = linked(folder, tmp_path / "a", without="merges.txt")
    assert f"{path}: no merges.txt; a backbone's folder holds config.json" in refused(path)
    path = linked(folder, tmp_path / "b", without="model.safetensors")
    (path / "pytorch_model.bin").write_bytes(b"")
    assert "holds pytorch_model.bin only, which can run code when it is opened" in refused(path)
    path = linked(folder, tmp_path / "c", without="model.safetensors")
    (path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1_000_000])
    assert "not a complete safetensors file" in refused(path)
    path = linked(folder, tmp_path / "d", without="config.json")
    config = tiny_config()
    config.extract_layers = [3, 9]
    config.save_pretrained(path)
    assert "not the weights of config.json beside it: 0 tensors missing" in refused(path)


@pytest.fixture
def hub(folder, monkeypatch):
    """A hub that serves the tiny CLIPSeg."""
    with running_hub(monkeypatch, REPOSITORY, {file.name: file.read_bytes() for file in folder.iterdir()}) as server:
        yield server


@pytest.fixture
def facts(folder, tmp_path):
    """A table of facts that knows the tiny CLIPSeg."""
    path = tmp_path / "facts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["repository", "revision", "file", "bytes", "sha256"])
        for stored in sorted(folder.iterdir()):
            content = stored.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            writer.writerow([REPOSITORY, REVISION, stored.name, len(content), digest])
    return path


def test_the_table_of_facts_is_the_protocols():
    files = {
        file.name: file
        for file in known_files("CIDAS/clipseg-rd64-refined", "999e0328d9e10b484360c477313983f9afdd7050", FACTS)
    }
    assert len(files) == 7 and sum(file.size for file in files.values()) == 604_640_635
    weights = files["model.safetensors"]
    assert weights.size == 603_049_496
    assert weights.sha256 == "d00ca85d6b859f9d07b7cfb8ef26fe9771cb275b34c9368f2ecf603139307f55"
    with pytest.raises(
        PipelineError, match="no checksums for revision main of CIDAS/clipseg-rd64-refined; add its files"
    ):
        known_files("CIDAS/clipseg-rd64-refined", "main", FACTS)


def test_every_file_is_fetched_once_and_checked(hub, facts, tmp_path):
    output = tmp_path / "results/backbone"
    fetch_from_hub(REPOSITORY, REVISION, output, facts)
    assert {file.name: file.read_bytes() for file in output.iterdir()} == hub.files
    assert sorted(hub.fetched) == sorted(hub.files)
    # Nothing is left beside it.
    assert [entry.name for entry in output.parent.iterdir()] == ["backbone"]
    check_folder(output)


def test_what_has_arrived_is_not_fetched_again(hub, facts, tmp_path):
    output = tmp_path / "results/backbone"
    weights = hub.files.pop("model.safetensors")
    with pytest.raises(PipelineError, match=r"model\.safetensors could not be downloaded from http://127"):
        fetch_from_hub(REPOSITORY, REVISION, output, facts)
    assert not output.exists()
    hub.files["model.safetensors"] = weights
    before = len(hub.fetched)
    fetch_from_hub(REPOSITORY, REVISION, output, facts)
    again = hub.fetched[before:]
    assert "model.safetensors" in again and "config.json" not in again and "merges.txt" not in again
    assert (output / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    "spoil, reason",
    [
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "SHA-256 [0-9a-f]{64} instead of [0-9a-f]{64}"),
        (lambda content: content[:-10], "bytes instead of"),
    ],
)
def test_a_file_that_is_not_the_known_one_is_refused_and_removed(hub, facts, tmp_path, spoil, reason):
    output = tmp_path / "results/backbone"
    right = hub.files["vocab.json"]
    hub.files["vocab.json"] = spoil(right)
    with pytest.raises(
        PipelineError, match=rf"vocab\.json from http.* is not the file of revision {REVISION}: .*{reason}"
    ):
        fetch_from_hub(REPOSITORY, REVISION, output, facts)
    assert not output.exists()
    hub.files["vocab.json"] = right
    fetch_from_hub(REPOSITORY, REVISION, output, facts)
    assert (output / "vocab.json").read_bytes() == right


def test_without_a_network_the_error_says_what_to_do(hub, facts, tmp_path, monkeypatch):
    hub.shutdown()
    hub.server_close()
    # The hub's library tries again after ever longer pauses.
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(PipelineError) as error:
        fetch_from_hub(REPOSITORY, REVISION, tmp_path / "results/backbone", facts)
    message = str(error.value)
    assert message.startswith(f"backbone: config.json could not be downloaded from {hub.endpoint} (")
    for part in (
        f"https://huggingface.co/{REPOSITORY}/tree/{REVISION}",
        "download config.json, merges.txt, model.safetensors",
        "backbone: {source: folder, folder: THAT FOLDER}",
        "HF_ENDPOINT",
    ):
        assert part in message
    assert "\n" not in message
    assert not (tmp_path / "results/backbone").exists()


def command(*options):
    return [sys.executable, "-m", "pipeline.fetching.clipseg", *map(str, options)]


def test_the_command_line_fetches_from_a_mirror(hub, facts, tmp_path):
    """Through the variable that names a mirror."""
    output = tmp_path / "results/backbone"
    options = ["--repository", REPOSITORY, "--revision", REVISION, "--facts", facts, "--output", output]
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"}
    subprocess.run(command(*options), cwd=ROOT, env=environment, timeout=300, check=True)
    assert {file.name for file in output.iterdir()} == set(hub.files)


def test_the_command_line_copies_a_folder(folder, tmp_path, monkeypatch, capsys):
    output = ["--facts", str(FACTS), "--output", str(tmp_path / "backbone")]
    monkeypatch.setattr("sys.argv", ["clipseg", "--folder", str(folder), *output])
    module.main()
    assert (tmp_path / "backbone/config.json").is_file()
    assert "the weights are unknown to backbone_files.csv, SHA-256" in capsys.readouterr().err
    for wrong in (["--repository", REPOSITORY], ["--folder", "x", "--revision", REVISION], []):
        monkeypatch.setattr("sys.argv", ["clipseg", *wrong, *output])
        with pytest.raises(SystemExit):
            module.main()
