"""Over random widths, depths and branches: counts follow the formula, and saving loses no bit."""

import copy
import functools
import tempfile
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_support import tiny, trained_start

from pipeline.demo.tiny import tiny_config
from pipeline.models.backbone import empty_backbone, full_size_config
from pipeline.models.kinds import parse_variant
from pipeline.models.variants import build_segmenter
from pipeline.models.weights import load_weights, read_variant, save_weights
from pipeline.models.widths import resolve_widths, telescopic_widths, uniform_widths

VISION, TEXT, JOINT = 768, 512, 512


def some(values, smallest=1):
    return st.lists(st.sampled_from(values), min_size=smallest, unique=True)


@st.composite
def telescopic(draw):
    layers = draw(some(range(1, 11)))
    widths = st.lists(st.integers(8, 300), min_size=len(layers), max_size=len(layers))
    return {
        "kind": "telescopic",
        "vision_layers": layers,
        "schedule": draw(st.sampled_from(["telescopic", "uniform", "reversed"]) | widths),
        "base_dimension": draw(st.integers(8, 512)),
        "text_layers": draw(some(range(1, 13))),
        "text_width": draw(st.none() | st.integers(8, 200)),
        "conditional_width": draw(st.none() | st.integers(8, 200)),
        "branches": draw(some(["vision", "text", "conditional"])),
        "placement": draw(some(["attention", "mlp"])),
        "alpha_learned": draw(st.booleans()),
        "mask_refinement": draw(st.booleans()),
    }


@st.composite
def vlsm_dense(draw):
    return {
        "kind": "vlsm_dense",
        "branches": draw(some(["vision", "text", "conditional"])),
        "width": draw(st.integers(1, 300)),
        "conditional_width": draw(st.integers(1, 300)),
        "vision_layers": draw(some(range(1, 11))),
        "text_layers": draw(some(range(1, 13))),
    }


@st.composite
def vlsm_shallow(draw):
    return {
        "kind": "vlsm_shallow",
        "width": draw(st.integers(1, 600)),
        "conditional_width": draw(st.integers(1, 300)),
    }


@st.composite
def lora(draw):
    return {
        "kind": "lora",
        "rank": draw(st.integers(1, 40)),
        "projections": draw(some(["q_proj", "k_proj", "v_proj", "out_proj"])),
        "vision_layers": draw(some(range(1, 11))),
        "text_layers": draw(some(range(1, 13), smallest=0)),
    }


ANY = telescopic() | vlsm_dense() | vlsm_shallow() | lora()


def expected_parameters(variant) -> int:
    """The count by hand, at full size."""
    if variant["kind"] == "lora":
        layers = len(variant["vision_layers"]) * 2 * VISION + len(variant["text_layers"]) * 2 * TEXT
        return variant["rank"] * len(variant["projections"]) * layers
    if variant["kind"].startswith("vlsm"):

        def bottleneck(features, width):
            return 2 * features * width + features + width

        conditional = bottleneck(JOINT, variant["conditional_width"])
        if variant["kind"] == "vlsm_shallow":
            return 3 * (bottleneck(VISION, variant["width"]) + bottleneck(TEXT, variant["width"])) + conditional
        total = conditional if "conditional" in variant["branches"] else 0
        for branch, features in (("vision", VISION), ("text", TEXT)):
            if branch in variant["branches"]:
                total += 2 * len(variant[f"{branch}_layers"]) * bottleneck(features, variant["width"])
        return total

    def adapter(features, width):
        width = max(8, min(width, features // 4))
        return 2 * features * width + 2 * width + variant["alpha_learned"]

    places, base = len(variant["placement"]), variant["base_dimension"]
    total = 48 if variant["mask_refinement"] else 0
    if "vision" in variant["branches"]:
        widths = resolve_widths(variant["schedule"], len(variant["vision_layers"]), base)
        total += places * sum(adapter(VISION, width) for width in widths)
    if "text" in variant["branches"]:
        width = variant["text_width"] or max(8, base // 4)
        total += places * len(variant["text_layers"]) * adapter(TEXT, width)
    if "conditional" in variant["branches"]:
        total += adapter(JOINT, variant["conditional_width"] or max(16, base // 8))
    return total


@functools.cache
def full_size():
    return empty_backbone(full_size_config())


@settings(max_examples=40, deadline=None, derandomize=True)
@given(ANY)
def test_the_count_is_the_formula(variant):
    segmenter = build_segmenter(variant, copy.deepcopy(full_size()))
    count = sum(value.numel() for value in segmenter.trainable_parameters().values())
    assert count == expected_parameters(variant)
    # Nothing of the backbone but LoRA's own matrices is trained.
    assert all(name.startswith("adapters.") or ".lora_" in name for name in segmenter.trainable_parameters())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(ANY | st.sampled_from([{"kind": "zero_shot"}, {"kind": "decoder_only"}, {"kind": "end_to_end"}]))
def test_saving_and_loading_loses_no_bit(variant):
    record = parse_variant(variant).model_dump(mode="json")
    segmenter = trained_start(variant, tiny(), seed=5)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("first.safetensors", "second.safetensors")]
        for path in paths:
            save_weights(path, segmenter, record, {"seed": "41", "data_sha256": "0", "backbone_sha256": "1"})
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert read_variant(paths[0]) == record
        # Another start: what is not in the file would differ.
        torch.manual_seed(99)
        loaded = load_weights(paths[0], tiny())
    expected, actual = segmenter.state_dict(), loaded.state_dict()
    assert expected.keys() == actual.keys()
    assert all(torch.equal(actual[name], value) for name, value in expected.items())
    assert set(loaded.trainable_parameters()) == set(segmenter.trainable_parameters())
    assert not loaded.training


@given(st.integers(1, 12), st.integers(8, 1024))
def test_schedules(layers, base):
    widths = telescopic_widths(layers, base)
    assert len(widths) == layers and min(widths) >= 8
    assert widths == sorted(widths)
    assert resolve_widths("reversed", layers, base) == widths[::-1]
    uniform = uniform_widths(layers, base)
    assert len(set(uniform)) == 1
    distance = abs(sum(uniform) - sum(widths))
    assert all(distance <= abs(layers * other - sum(widths)) for other in (uniform[0] - 1, uniform[0] + 1))


@given(st.integers(8, 2048))
def test_widths_are_those_of_the_release(base):
    """The release multiplies in another order, which in floating point could round otherwise, and never does."""
    assert telescopic_widths(9, base) == [max(8, int(base * (layer / 9) * 0.5)) for layer in range(1, 10)]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(telescopic())
def test_widths_are_bounded_by_a_quarter_of_the_features(variant):
    segmenter = build_segmenter(variant, empty_backbone(tiny_config()))
    for place, module in segmenter.adapters.items():
        if place != "refinement":
            features = 128 if place.startswith("vision") else 64
            assert 8 <= module.down.out_features <= features // 4, place
