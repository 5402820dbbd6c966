"""The saved state: taken by the run that wrote it and by no other."""

import os
import pickle
import resource

import pytest
import torch
from model_support import Attack

from pipeline.runtime.errors import PipelineError
from pipeline.training.state import load_state, remove_state, save_state


def test_a_state_is_taken_by_the_same_run_and_removed(tmp_path, capsys):
    save_state(tmp_path, "one", {"value": torch.ones(1)})
    assert load_state(tmp_path, "one")["value"].item() == 1
    assert load_state(tmp_path, "another") is None
    assert "saved by a run with other settings, data, backbone or code; starting anew" in capsys.readouterr().err
    remove_state(tmp_path)
    assert not tmp_path.exists()
    assert load_state(tmp_path, "one") is None


def _saved(content):
    return lambda path: torch.save(content, path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(pickle.dumps(Attack(os.mkdir, "executed"))),
        _saved({"fingerprint": "one", "value": Attack(os.mkdir, "executed")}),
        _saved([1, 2, 3]),
    ],
)
def test_a_broken_or_malicious_state_is_not_taken_and_executes_nothing(tmp_path, monkeypatch, capsys, spoil):
    monkeypatch.chdir(tmp_path)
    save_state(tmp_path, "one", {"value": torch.ones(1)})
    spoil(tmp_path / "state.pt")
    assert load_state(tmp_path, "one") is None
    assert "starting anew" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.pt"]


def test_a_state_that_does_not_fit_on_the_disk_is_named_and_the_old_one_kept(tmp_path):
    save_state(tmp_path, "one", {"value": torch.ones(1)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(PipelineError, match=r"state\.pt: cannot be written .*; free space on the disk"):
            save_state(tmp_path, "one", {"value": torch.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_state(tmp_path, "one")["value"].tolist() == [1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.pt"]
