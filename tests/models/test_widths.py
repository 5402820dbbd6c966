"""Widths of the schedules, and what is built of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_support import telescopic_settings
from transformers import CLIPSegConfig

from pipeline.models.backbone import empty_backbone, full_size_config, tiny_config
from pipeline.models.kinds import parse_variant
from pipeline.models.variants import build_segmenter
from pipeline.models.widths import FEATURES, SCHEDULES, apportion, features_of, resolve_widths, telescopic_widths


def test_widths_of_the_schedules():
    assert telescopic_widths(9, 64) == [8, 8, 10, 14, 17, 21, 24, 28, 32]
    assert resolve_widths("reversed", 9) == [32, 28, 24, 21, 17, 14, 10, 8, 8]
    assert resolve_widths("uniform", 9) == [18] * 9
    assert resolve_widths("telescopic", 3, 16) == [8, 8, 8]
    assert resolve_widths("hump", 9) == [8, 10, 17, 24, 32, 28, 21, 14, 8]
    assert resolve_widths("telescopic", 9, total=324) == [2 * width for width in telescopic_widths(9)]
    with pytest.raises(ValueError, match="lists 2 widths for 9 vision layers"):
        resolve_widths([8, 8], 9)


@given(st.integers(1, 12), st.integers(8, 1024))
def test_properties_of_the_schedules(layers, base):
    widths = telescopic_widths(layers, base)
    assert len(widths) == layers and min(widths) >= 8
    assert widths == sorted(widths)
    assert resolve_widths("reversed", layers, base) == widths[::-1]
    orders = [resolve_widths(schedule, layers, base) for schedule in SCHEDULES if schedule != "uniform"]
    assert all(sorted(order) == widths for order in orders)
    uniform = resolve_widths("uniform", layers, base)
    assert sum(uniform) == sum(widths) and max(uniform) - min(uniform) <= 1


def test_random_orders_differ_and_have_no_trend():
    orders = [resolve_widths(f"permuted_{number}", 9) for number in (1, 2, 3)]
    assert len({tuple(order) for order in orders}) == 3
    assert all(abs(np.corrcoef(order, range(9))[0, 1]) < 0.35 for order in orders)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12), st.integers(0, 2000))
def test_apportioned_widths_have_the_sum_and_keep_the_order(shape, more):
    total = 8 * len(shape) + more
    widths = apportion(shape, total)
    assert sum(widths) == total and min(widths) >= 8
    for one, a in zip(shape, widths, strict=True):
        for other, b in zip(shape, widths, strict=True):
            # Equal shares may differ by the one unit that is left.
            assert a <= b + (one == other) or one > other
    # In proportion to within one unit, but for those that are held at the smallest width.
    free = [index for index, width in enumerate(widths) if width > 8]
    rest = sum(widths[index] for index in free)
    for index in free:
        quota = rest * shape[index] / sum(shape[i] for i in free)
        assert abs(widths[index] - quota) < 1 + len(shape) * 1e-6 + (8 in widths)


def test_widths_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ValueError, match="71 cannot be shared among 9 layers"):
        apportion([1] * 9, 71)
    with pytest.raises(ValueError, match="in proportion to"):
        apportion([1, 0], 100)
    with pytest.raises(ValueError, match="33 cannot be shared among 2 layers"):
        apportion([1, 2], 33, most=16)


def test_a_layer_that_reaches_the_bound_leaves_the_rest_to_the_others():
    assert apportion([1, 1, 9, 1, 1], 100, most=32) == [17, 17, 32, 17, 17]
    assert apportion([1, 100, 9], 72, most=32) == [8, 32, 32]
    assert apportion([3, 1], 64, most=32) == [32, 32]


def test_the_sizes_of_a_backbone_in_a_folder(tmp_path):
    tiny_config().save_pretrained(tmp_path)
    assert features_of(str(tmp_path)) == FEATURES["tiny"]
    CLIPSegConfig().save_pretrained(tmp_path)
    assert features_of(str(tmp_path)) == FEATURES["full"] == features_of("full")


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
    # At most a quarter of the state: 128 / 4 in the demo's CLIPSeg. The authors' module would build less in silence.
    with pytest.raises(ValueError, match=r"width 99 in vision_7_mlp \(vision: at most 32\): more than a quarter"):
        parse_variant(part).adapter_widths(FEATURES["tiny"])
    # Below the smallest only where it is asked for.
    narrow = {"kind": "telescopic", "branches": ["text"], "text_layers": [3], "text_width": 4, "placement": ["mlp"]}
    assert parse_variant(narrow).adapter_widths(FEATURES["full"]) == {"text_3_mlp": 4}


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
