"""The saved state: taken by the run that wrote it and by no other."""

import os
import pickle

import pytest
import torch
from model_support import Attack

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
