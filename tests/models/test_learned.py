"""Widths that are learned from a first run."""

import json

import pytest
import torch
from model_support import tiny

from pipeline.models import learned
from pipeline.models.kinds import parse_variant
from pipeline.models.learned import learn_widths
from pipeline.models.variants import build_segmenter
from pipeline.models.weights import save_weights
from pipeline.runtime.errors import PipelineError

UNIFORM = {"kind": "telescopic", "schedule": "uniform"}
LEARNED = parse_variant({"kind": "telescopic"})


def first_run(path, variant, scales=()):
    """Weights of a run whose vision adapters of each layer have these residual scales."""
    torch.manual_seed(0)
    segmenter = build_segmenter(variant, tiny())
    for layer, scale in enumerate(scales, start=1):
        for part in ("attention", "mlp"):
            adapter = segmenter.adapters[f"vision_{layer}_{part}"]
            adapter.up.weight.data.fill_(0.5)
            adapter.scale.data.fill_(scale)
    settings = parse_variant(variant).model_dump(mode="json")
    save_weights(path, segmenter, settings, {})
    return path


def test_widths_are_in_proportion_to_what_the_adapters_add(tmp_path):
    # Signs do not matter. The sum is that of the learned variant's own schedule, 162.
    weights = first_run(tmp_path / "w.safetensors", UNIFORM, [1, -1, 2, 2, 2, 2, 2, 3, -3])
    assert learn_widths(weights, LEARNED) == [9, 9, 18, 18, 18, 18, 18, 27, 27]


def test_what_a_trained_normalisation_and_up_projection_scale_counts(tmp_path):
    torch.manual_seed(0)
    segmenter = build_segmenter(UNIFORM, tiny())
    for part in ("attention", "mlp"):
        segmenter.adapters[f"vision_5_{part}"].norm.weight.data.mul_(2)
        segmenter.adapters[f"vision_7_{part}"].up.weight.data.mul_(2)
    save_weights(tmp_path / "w", segmenter, parse_variant(UNIFORM).model_dump(mode="json"), {})
    widths = learn_widths(tmp_path / "w", LEARNED)
    assert {widths.index(width) for width in sorted(widths)[-2:]} <= {4, 6} and sum(widths) == 162
    assert sorted(widths)[-1] > 1.8 * sorted(widths)[-3]


@pytest.mark.parametrize("variant", [{"kind": "telescopic"}, {"kind": "lora"}, UNIFORM | {"vision_layers": [1, 2]}])
def test_a_first_run_without_uniform_adapters_there_is_refused(tmp_path, variant):
    with pytest.raises(PipelineError, match=r"w\.safetensors: no run of the kind telescopic with the schedule uniform"):
        learn_widths(first_run(tmp_path / "w.safetensors", variant), LEARNED)


def test_the_command_writes_what_training_takes(tmp_path, monkeypatch):
    weights = first_run(tmp_path / "w", UNIFORM, [1] * 9)
    variant = json.dumps(LEARNED.model_dump(mode="json"))
    arguments = ["learned", "--weights", str(weights), "--variant", variant, "--output", str(tmp_path / "widths.json")]
    monkeypatch.setattr("sys.argv", arguments)
    learned.main()
    widths = json.loads((tmp_path / "widths.json").read_text())
    assert widths == {"schedule": [18] * 9}
    assert parse_variant(LEARNED.model_dump() | widths).vision_widths() == [18] * 9
