"""What a study changes of the shipped one."""

import json
from pathlib import Path

import pytest
import yaml

from pipeline.config import load_study, merge, read_study
from pipeline.shipped import RECORD, changes, numbers

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())


def changed(overlay: dict):
    return changes(load_study(merge(CONFIG, overlay)))


def test_the_record_is_that_of_config_yaml():
    record = json.loads(RECORD.read_text())
    assert record == numbers(read_study(ROOT / "config.yaml")), "run python -m pipeline.shipped config.yaml"
    for key, value in {"split": "published", "training.max_epochs": 200, "evaluation.threshold": 0.5}.items():
        assert record[key] == value
    assert record["variants.vlsm_shallow.training.learning_rate"] == 3e-4
    assert record["variants.uniform.schedule"] == "uniform"


@pytest.mark.parametrize(
    ("overlay", "words"),
    [
        ({"split": "deduplicated"}, "split deduplicated (published)"),
        ({"image_size": 224}, "image_size 224 (352)"),
        ({"training": {"max_epochs": 4}}, "training.max_epochs 4 (200)"),
        ({"training": {"dice_weight": 1}}, "training.dice_weight 1.0 (1.5)"),
        ({"training": {"reference_double_sigmoid": True}}, "training.reference_double_sigmoid true (false)"),
        ({"training": {"precision": "fp32"}}, "training.precision fp32 (fp16)"),
        ({"training": {"prompt_type": "p1"}}, "training.prompt_type p1 (random)"),
        ({"evaluation": {"threshold": 0.4}}, "evaluation.threshold 0.4 (0.5)"),
        ({"variants": {"telescopic": {"base_dimension": 32}}}, "variants.telescopic.base_dimension 32 (unset)"),
        (
            {"variants": {"vlsm_shallow": {"training": {"learning_rate": 1e-4}}}},
            "variants.vlsm_shallow.training.learning_rate 0.0001 (0.0003)",
        ),
        ({"variants": {"lora": {"kind": "vlsm_dense"}}}, "variants.lora.kind vlsm_dense (lora)"),
        ({"variants": {"uniform": {"schedule": [18] * 9}}}, f"variants.uniform.schedule {'18 ' * 9}(uniform)"),
    ],
)
def test_what_can_move_a_number_is_named(overlay, words):
    assert changed(overlay) == ([words], [])


@pytest.mark.parametrize(
    ("overlay", "words"),
    [
        ({"seeds": [41]}, "seeds 41"),
        ({"more_seeds": None}, "more_seeds unset"),
        ({"more_seeds": {"seeds": [7]}}, "more_seeds 7 for telescopic uniform reversed"),
        ({"ablations": {"alpha": {"seeds": [41, 42]}}}, "ablations.alpha.seeds 41 42"),
        ({"tuning": {"seed": 42}}, "tuning.seed 42"),
    ],
)
def test_seeds_are_named_apart(overlay, words):
    assert changed(overlay) == ([], [words])


@pytest.mark.parametrize(
    "overlay",
    [
        {"results": "elsewhere"},
        {"jobs": {"threads": 1}, "training": {"save_every": 1, "cuda_graph": True}},
        {"datasets": ["busi"], "main": ["telescopic", "uniform"], "ablations": None},
        {"ablations": {"alpha": {"title": "Scale", "datasets": ["busi"]}}},
        {"variants": {"telescopic": {"label": "Ours", "base_dimension": 64}}},
        {"variants": {"steep": {"kind": "telescopic", "base_dimension": 32}}, "main": ["telescopic", "steep"]},
        {"regression": {"n_theirs": 3, "must_reproduce": []}, "evaluation": {"bootstrap_samples": 500}},
        {"archives": {"folder": "mine"}},
        {"tuning": {"factors": [1, 2], "tried_on": ["busi"], "variants": ["lora"]}},
    ],
)
def test_what_cannot_is_not(overlay):
    config = merge(CONFIG, overlay)
    config["ablations"] = config["ablations"] or {}
    if overlay.get("datasets"):
        config["leaks"] = None
    assert changes(load_study(config)) == ([], [])


def test_a_variant_that_is_not_trained_changes_nothing():
    config = merge(CONFIG, {"variants": {"lora": {"rank": 4}}, "main": ["telescopic"]})
    assert changes(load_study(config | {"ablations": {}})) == ([], [])


def test_many_changes_are_told_in_short():
    overlay = {name: {"training": {"learning_rate": 0.1, "max_epochs": 9}} for name in CONFIG["main"]}
    assert changed({"variants": overlay}).settings == ["training of 8 variants"]
    training = {"max_epochs": 4, "min_epochs": 2, "dice_weight": 0, "precision": "bf16"}
    words = "training: precision bf16, min_epochs 2, max_epochs 4, dice_weight 0.0"
    assert changed({"training": training}).settings == [words]
    families = {name: {"seeds": [41]} for name in CONFIG["ablations"]}
    assert changed({"ablations": families}) == ([], [f"seeds of {len(families)} ablations"])
    few = {"max_epochs": 4, "min_epochs": 2}
    assert changed({"training": few}).settings == ["training.min_epochs 2 (10)", "training.max_epochs 4 (200)"]
