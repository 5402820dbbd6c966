"""Scores from the process that trained a run: those of the rule that scores, and taken only where they are."""

import json

import pytest
import torch
from evaluation_support import call
from torch.utils._python_dispatch import TorchDispatchMode
from training_support import write_prepared

from pipeline.evaluation import score_run, train_and_score

SCORING = {"threshold": 0.4, "batch_size": 2}
TRAINING = {"batch_size": 4, "max_epochs": 2, "learning_rate": 3e-3, "prompt_type": "random"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("study"))


@pytest.fixture
def rule(prepared, tmp_path):
    """The rule that scores the run in ``tmp_path``: its tables."""

    def score(folder: str, **options) -> list[bytes]:
        outputs = {"output": "per_case"} | {name: name for name in ("per_prompt", "calibration", "thresholds")}
        outputs = {option: tmp_path / folder / f"{name}.csv" for option, name in outputs.items()}
        (tmp_path / folder).mkdir(exist_ok=True)
        inputs = {"tensors": prepared[0], "backbone": prepared[1], "weights": tmp_path / "run/weights.safetensors"}
        call(score_run.main, **inputs, **outputs, **SCORING | {"threads": 1} | options)
        return [file.read_bytes() for file in outputs.values()]

    return score


def train(prepared, folder, kind: str, **changes) -> None:
    training = json.dumps(TRAINING | changes)
    settings = {"variant": json.dumps({"kind": kind}), "training": training, "seed": 41, "threads": 1}
    paths = {"tensors": prepared[0], "backbone": prepared[1], "state": folder / "state", "output": folder / "run"}
    call(train_and_score.main, **paths, **settings, name="a run", scoring=json.dumps(SCORING))


@pytest.mark.parametrize("kind", ["zero_shot", "telescopic", "lora", "end_to_end"])
def test_the_rule_takes_what_it_would_compute(prepared, tmp_path, rule, kind, capsys):
    train(prepared, tmp_path, kind)
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["scores"]
    taken = rule("taken", state=tmp_path / "state")
    assert "scored by the process that trained the run" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()
    computed = rule("computed", state=tmp_path / "state")
    assert "scored by the process" not in capsys.readouterr().err
    assert taken == computed


@pytest.mark.parametrize("kind", ["zero_shot", "telescopic"])
def test_a_run_is_scored_in_the_precision_of_its_training(prepared, tmp_path, rule, kind, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    train(prepared, tmp_path, kind, precision="bf16")
    assert json.loads((tmp_path / "run/manifest.json").read_text())["precision"] == "bf16"
    products = []

    class Types(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            if function is torch.ops.aten.linear.default:  # whole, without gradients
                products.append(arguments[0].dtype)
            return function(*arguments, **named or {})

    with Types():
        computed = rule("computed")
    # The frozen part of the text branch stays in fp32.
    assert products.count(torch.bfloat16) > products.count(torch.float32)
    assert rule("taken", state=tmp_path / "state") == computed


@pytest.mark.parametrize("changed", ["threshold", "prompts", "weights"])
def test_scores_of_other_settings_or_weights_are_computed(prepared, tmp_path, rule, capsys, changed):
    train(prepared, tmp_path, "telescopic")
    if changed == "weights":
        train(prepared, tmp_path / "other", "decoder_only")
        (tmp_path / "other/run/weights.safetensors").replace(tmp_path / "run/weights.safetensors")
    options = {"threshold": {"threshold": 0.6}, "prompts": {"prompt_type": "p1"}, "weights": {}}[changed]
    found = rule("found", state=tmp_path / "state", **options)
    assert "scored by the process" not in capsys.readouterr().err
    assert found == rule("computed", **options) and not (tmp_path / "state").exists()
