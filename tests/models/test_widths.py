"""Widths of the schedules, and what is built of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_support import telescopic_settings

from pipeline.models.backbone import empty_backbone, full_size_config, tiny_config
from pipeline.models.kinds import parse_variant
from pipeline.models.variants import build_segmenter
from pipeline.models.widths import FEATURES, resolve_widths, telescopic_widths


def test_widths_of_the_schedules():
    assert telescopic_widths(9, 64) == [8, 8, 10, 14, 17, 21, 24, 28, 32]
    assert resolve_widths("reversed", 9) == [32, 28, 24, 21, 17, 14, 10, 8, 8]
    assert resolve_widths("uniform", 9) == [18] * 9
    assert resolve_widths("telescopic", 3, 16) == [8, 8, 8]
    with pytest.raises(ValueError, match="lists 2 widths for 9 vision layers"):
        resolve_widths([8, 8], 9)


@given(st.integers(1, 12), st.integers(8, 1024))
def test_properties_of_the_schedules(layers, base):
    widths = telescopic_widths(layers, base)
    assert len(widths) == layers and min(widths) >= 8
    assert widths == sorted(widths)
    assert resolve_widths("reversed", layers, base) == widths[::-1]
    uniform = resolve_widths("uniform", layers, base)
    assert len(set(uniform)) == 1
    distance = abs(sum(uniform) - sum(widths))
    assert all(distance <= abs(layers * other - sum(widths)) for other in (uniform[0] - 1, uniform[0] + 1))


@given(st.integers(8, 2048))
def test_widths_are_those_of_the_release(base):
    """The release multiplies in another order, which in floating point could round otherwise, and never does."""
    assert telescopic_widths(9, base) == [max(8, int(base * (layer / 9) * 0.5)) for layer in range(1, 10)]


def test_adapters_by_place():
    widths = parse_variant({"kind": "telescopic"}).adapter_widths(FEATURES["full"])
    assert list(widths)[:3] == ["vision_1_attention", "vision_1_mlp", "vision_2_attention"]
    assert [widths[f"vision_{layer}_mlp"] for layer in range(1, 10)] == [8, 8, 10, 14, 17, 21, 24, 28, 32]
    assert {place: width for place, width in widths.items() if place.startswith("text")} == {
        f"text_{layer}_{part}": 16 for layer in (10, 11, 12) for part in ("attention", "mlp")
    }
    assert widths["conditional"] == 16 and len(widths) == 18 + 6 + 1
    part = {"kind": "telescopic", "branches": ["vision"], "vision_layers": [7], "schedule": [99], "placement": ["mlp"]}
    assert parse_variant(part).adapter_widths(FEATURES["full"]) == {"vision_7_mlp": 99}
    # At most a quarter of the state: 128 / 4 in the demo's CLIPSeg.
    assert parse_variant(part).adapter_widths(FEATURES["tiny"]) == {"vision_7_mlp": 32}


@pytest.mark.parametrize(("name", "config"), [("full", full_size_config()), ("tiny", tiny_config())])
def test_the_known_sizes_are_those_of_the_configurations(name, config):
    assert build_segmenter("zero_shot", empty_backbone(config)).features() == FEATURES[name]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(telescopic_settings())
def test_adapters_are_built_as_wide_as_the_settings_say(variant):
    segmenter = build_segmenter(variant, empty_backbone(tiny_config()))
    widths = parse_variant(variant).adapter_widths(FEATURES["tiny"])
    built = {place: module for place, module in segmenter.adapters.items() if place != "refinement"}
    assert {place: module.down.out_features for place, module in built.items()} == widths
    assert all(8 <= widths[place] <= module.down.in_features // 4 for place, module in built.items())
