"""Chosen rates, and runs that are copied because they are the same."""

import json

import pytest

from pipeline.runtime.errors import PipelineError
from pipeline.training.tuned import chosen_rates, take_over

IDENTITY = {"configuration": {"seed": 41, "variant": {"schedule": (8, 8)}}, "code_sha256": "a", "data_sha256": "b"}


def run(folder, **changes):
    """A run of this identity; its folder."""
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"weights of " + folder.name.encode())
    (folder / "history.csv").write_text("epoch\n1\n")
    (folder / "manifest.json").write_text(json.dumps({"run": folder.name, "epochs": 9, **IDENTITY, **changes}))
    return folder


def test_the_run_that_is_the_same_is_copied(tmp_path):
    runs = [run(tmp_path / "other", code_sha256="c"), run(tmp_path / "same"), run(tmp_path / "again")]
    assert take_over(runs, tmp_path / "copy", "a copy", IDENTITY) == runs[1]
    assert (tmp_path / "copy/weights.safetensors").read_bytes() == b"weights of same"
    assert (tmp_path / "copy/history.csv").read_text() == "epoch\n1\n"
    record = json.loads((tmp_path / "copy/manifest.json").read_text())
    assert (record["run"], record["copied_from"], record["epochs"]) == ("a copy", "same", 9)


@pytest.mark.parametrize("changes", [{"code_sha256": "c"}, {"data_sha256": None}, {"configuration": {"seed": 42}}])
def test_a_run_that_differs_is_not(tmp_path, changes):
    assert take_over([run(tmp_path / "other", **changes)], tmp_path / "copy", "a copy", IDENTITY) is None
    assert not (tmp_path / "copy").exists()


def test_chosen_rates(tmp_path):
    rates = {"learning_rate": 3e-3, "learning_rates": {}, "weight_decay": 1e-3}
    path = tmp_path / "tuning.json"
    path.write_text(json.dumps({"methods": {"lora": {"chosen": {"rates": rates}}}}))
    assert chosen_rates(path, "lora") == rates
    with pytest.raises(PipelineError, match=r"tuning\.json: no chosen rates of 'uniform'; run the rule tuning again"):
        chosen_rates(path, "uniform")
