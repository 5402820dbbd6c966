"""Released checkpoints from a hub on the loopback interface and from a folder: what is taken, recorded and enforced."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from hub_support import REVISION, running_hub
from model_support import Attack, inputs, save_tiny, tiny, trained_start
from safetensors.torch import save

from pipeline.data import released as facts
from pipeline.fetching import released as module
from pipeline.fetching.lock import Lock
from pipeline.fetching.released import choose_file, fetch_released
from pipeline.models import load_released_checkpoint
from pipeline.models.backbone import tiny_config
from pipeline.models.checkpoints import export
from pipeline.models.weights import save_weights
from pipeline.runtime.errors import PipelineError

ROOT = Path(__file__).parents[2]
KEY, REPOSITORY = "telescopic_bkai", "Ujjwal101/Telescopic_Adapters"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("backbone"))


def exported(folder: Path, backbone: Path, kind: str) -> bytes:
    """A file in the authors' layout."""
    variant = {"kind": kind}
    save_weights(folder / "weights.safetensors", trained_start(variant, tiny()), variant, {})
    export(folder, backbone, folder / "export.ckpt")
    return (folder / "export.ckpt").read_bytes()


@pytest.fixture(scope="module")
def checkpoint(backbone, tmp_path_factory) -> bytes:
    return exported(tmp_path_factory.mktemp("run"), backbone, "telescopic")


@pytest.fixture
def hub(checkpoint, monkeypatch):
    """A space with an app and one checkpoint."""
    files = {"README.md": b"title", "app.py": b"import gradio", "weights/best.ckpt": checkpoint}
    with running_hub(monkeypatch, REPOSITORY, files, "space") as server:
        yield server


@pytest.fixture
def pinned(monkeypatch, tmp_path):
    """Gives the table's entry further values."""

    def change(**values) -> None:
        entries = yaml.safe_load(facts.TABLE.read_text())
        entries[KEY] |= values
        (tmp_path / "released.yaml").write_text(yaml.safe_dump(entries))
        monkeypatch.setattr(facts, "TABLE", tmp_path / "released.yaml")
        facts.released_checkpoints.cache_clear()

    yield change
    monkeypatch.undo()
    facts.released_checkpoints.cache_clear()


@pytest.fixture
def fetch(backbone, tmp_path):
    """Fetches as the workflow does; returns the folder."""

    def fetched(**options) -> Path:
        output = tmp_path / "results/released" / KEY
        fetch_released(KEY, output, backbone, Lock(tmp_path / "results/released/lock.json"), **options)
        return output

    return fetched


def recorded(tmp_path: Path) -> dict:
    path = tmp_path / "results/released/lock.json"
    return json.loads(path.read_text()) if path.exists() else {}


def test_what_the_table_leaves_out_is_found_and_recorded(hub, fetch, checkpoint, tmp_path):
    output, digest = fetch(), hashlib.sha256(checkpoint).hexdigest()
    assert (output / "checkpoint").read_bytes() == checkpoint
    source = json.loads((output / "source.json").read_text())
    expected = {"repository": REPOSITORY, "revision": REVISION, "file": "weights/best.ckpt", "sha256": digest}
    assert source.items() >= expected.items()
    assert source["official"] is True
    own = trained_start({"kind": "telescopic"}, tiny()).trainable_parameters()
    assert source["trained_parameters"] == sum(value.numel() for value in own.values())
    (entry,) = recorded(tmp_path).values()
    assert entry == {
        "sha256": digest,
        "size": len(checkpoint),
        "source": f"https://huggingface.co/spaces/{REPOSITORY}/tree/{REVISION}",
        "repository": REPOSITORY,
        "revision": REVISION,
        "file": "weights/best.ckpt",
    }
    # Nothing is left beside it, and the second time nothing is searched for.
    assert sorted(entry.name for entry in output.parent.iterdir()) == ["lock.json", KEY]
    assert (hub.listed, hub.fetched) == (1, ["weights/best.ckpt"])
    fetch()
    assert hub.listed == 1


def test_a_file_that_changed_is_refused(hub, fetch, checkpoint, backbone, tmp_path):
    fetch()
    other = tmp_path / "other"
    other.mkdir()
    hub.files["weights/best.ckpt"] = exported(other, backbone, "vlsm_dense")
    with pytest.raises(
        PipelineError, match=r"not the known file of telescopic_bkai: .*remove the record from .*lock\.json"
    ):
        fetch()
    hub.files["weights/best.ckpt"] = checkpoint
    fetch()


def test_a_pinned_value_wins_and_is_enforced(hub, fetch, checkpoint, pinned, tmp_path):
    hub.files["other.pt"] = b"another one"
    pinned(file="weights/best.ckpt", revision=REVISION, sha256=hashlib.sha256(checkpoint).hexdigest())
    fetch()
    assert hub.listed == 0
    pinned(sha256="0" * 64)
    with pytest.raises(PipelineError, match=r"expected 0{64}; it was removed.*correct the entry in .*released\.yaml"):
        fetch()


def test_which_of_several_files(pinned):
    entry = facts.released_checkpoint(KEY)
    assert choose_file(KEY, entry, ["app.py", "a.PT"]) == "a.PT"
    assert choose_file(KEY, entry, ["kvasir/best.ckpt", "BKAI/best.ckpt"]) == "BKAI/best.ckpt"
    for files, reason in (
        (["b.pth", "a.safetensors", "app.py"], "2 checkpoints: a.safetensors, b.pth among its 3 files; give the right"),
        (["bkai-1.ckpt", "bkai-2.ckpt"], "2 checkpoints: bkai-1.ckpt, bkai-2.ckpt"),
        (["README.md"], "no checkpoint among its 1 files"),
    ):
        with pytest.raises(PipelineError) as error:
            choose_file(KEY, entry, files)
        assert "released.yaml: telescopic_bkai: Ujjwal101/Telescopic_Adapters has" in str(error.value)
        assert reason in str(error.value)


def test_safetensors_give_the_same_logits(hub, fetch, tmp_path):
    batch = inputs(tiny_config())
    with torch.no_grad():
        expected = load_released_checkpoint(fetch() / "checkpoint", tiny())(**batch)
    del hub.files["weights/best.ckpt"]
    state = torch.load(tmp_path / f"results/released/{KEY}/checkpoint", weights_only=True)["state_dict"]
    hub.files["model.safetensors"] = save({name: tensor.contiguous().clone() for name, tensor in state.items()})
    (tmp_path / "results/released/lock.json").unlink()
    with torch.no_grad():
        assert torch.equal(load_released_checkpoint(fetch() / "checkpoint", tiny())(**batch), expected)


def refused(fetch, tmp_path: Path) -> str:
    """The message; neither a result nor a record is left."""
    with pytest.raises(PipelineError) as error:
        fetch()
    assert not recorded(tmp_path) and not (tmp_path / f"results/released/{KEY}").exists()
    return str(error.value)


def test_a_malicious_file_executes_nothing_and_is_not_recorded(hub, fetch, tmp_path):
    marker = tmp_path / "executed"
    torch.save({"state_dict": Attack(os.mkdir, str(marker))}, tmp_path / "evil.ckpt")
    hub.files["weights/best.ckpt"] = (tmp_path / "evil.ckpt").read_bytes()
    assert "nothing in it was executed" in refused(fetch, tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "not a whole file of torch.save"),
        ((10).to_bytes(8, "little") + b'{"a": {}}', "not a whole safetensors file"),
    ],
)
def test_what_is_no_checkpoint_is_not_recorded(hub, fetch, tmp_path, content, reason):
    hub.files["weights/best.ckpt"] = content
    assert reason in refused(fetch, tmp_path)


def test_a_checkpoint_of_another_method_or_shape_is_not_recorded(hub, fetch, backbone, tmp_path):
    hub.files["weights/best.ckpt"] = exported(tmp_path, backbone, "vlsm_dense")
    assert "a checkpoint of kind vlsm_dense, where" in refused(fetch, tmp_path)
    state = torch.load(tmp_path / "export.ckpt", weights_only=True)["state_dict"]
    torch.save({"state_dict": dict(list(state.items())[:-1])}, tmp_path / "short.ckpt")
    hub.files = {"short.ckpt": (tmp_path / "short.ckpt").read_bytes()}
    assert "does not fit this backbone: 1 tensors missing" in refused(fetch, tmp_path)


def test_what_cannot_be_fetched_says_what_to_do(hub, fetch, pinned, tmp_path, monkeypatch):
    pinned(file="absent.ckpt")
    assert f"absent.ckpt could not be had from {hub.endpoint} (" in refused(fetch, tmp_path)
    hub.shutdown()
    hub.server_close()
    # The hub's library tries again after ever longer pauses.
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    message = refused(fetch, tmp_path)
    page = "https://huggingface.co/spaces/Ujjwal101/Telescopic_Adapters/tree/main as telescopic_bkai.ckpt"
    for part in ("released.yaml: telescopic_bkai", page, "{released_folder: THAT FOLDER}", "HF_ENDPOINT"):
        assert part in message
    assert "\n" not in message


def test_an_own_file_is_taken_before_any_download(hub, fetch, checkpoint, pinned, tmp_path):
    (tmp_path / f"{KEY}.ckpt").write_bytes(checkpoint)
    output = fetch(folder=tmp_path)
    assert (output / "checkpoint").read_bytes() == checkpoint and not hub.fetched
    (entry,) = recorded(tmp_path).values()
    assert entry["source"] == str(tmp_path / f"{KEY}.ckpt") and "file" not in entry
    # Its checksum is enforced, unless it is not the authors'.
    pinned(sha256="0" * 64)
    with pytest.raises(PipelineError, match=r"expected 0{64}; take the right one, or correct the entry"):
        fetch(folder=tmp_path)
    assert (tmp_path / f"{KEY}.ckpt").exists()
    fetch(folder=tmp_path, official=False)
    assert not json.loads((output / "source.json").read_text())["official"]
    # Without such a file there is the hub, and the file must be the one of before.
    (tmp_path / f"{KEY}.ckpt").unlink()
    pinned(sha256=None)
    fetch(folder=tmp_path)
    assert hub.fetched == ["weights/best.ckpt"]


def test_the_command_line_fetches_from_a_mirror(hub, backbone, tmp_path):
    """Through the variable that names a mirror."""
    output = tmp_path / "released"
    options = ["--key", KEY, "--backbone", backbone, "--lock", tmp_path / "lock.json", "--output", output]
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-m", module.__name__, *map(str, options)]
    subprocess.run(command, cwd=ROOT, env=environment, timeout=300, check=True)
    assert (output / "checkpoint").is_file() and (tmp_path / "lock.json").is_file()


def test_the_table_names_the_authors_space(pinned):
    entry = facts.released_checkpoint(KEY)
    assert (entry.dataset, entry.method, entry.repository) == ("bkai", "telescopic", REPOSITORY)
    assert entry.page("main") == f"https://huggingface.co/spaces/{REPOSITORY}/tree/main"
    with pytest.raises(PipelineError, match=r"checkpoint 'bkai' is unknown; known .*: .*telescopic_bkai"):
        facts.released_checkpoint("bkai")
    pinned(revision="main")
    with pytest.raises(PipelineError, match=r"released\.yaml: cannot be used; correct it: .*telescopic_bkai\.revision"):
        facts.released_checkpoints()
