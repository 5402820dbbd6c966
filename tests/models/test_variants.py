"""What each variant adds and trains: exact parameter counts at full size, from the configuration only."""

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from model_support import ADAPTED

from pipeline.config import read_study
from pipeline.models.backbone import empty_backbone, full_size_config
from pipeline.models.kinds import parse_variant
from pipeline.models.variants import build_segmenter
from pipeline.models.widths import resolve_widths

FULL_SIZE = 150_747_746
VISION, TEXT, JOINT = 768, 512, 512
BRANCHES = {
    "vision": ("adapters.vision_", "clipseg.clip.vision_model."),
    "text": ("adapters.text_", "clipseg.clip.text_model."),
    "conditional": ("adapters.conditional.", "clipseg.clip.text_projection."),
    "decoder": ("clipseg.decoder.",),
    "refinement": ("adapters.refinement.",),
}

TELESCOPIC = {"vision": 498_330, "text": 98_502, "conditional": 16_417, "refinement": 48}

# Settings, what a table calls trainable, and what training updates, by branch.
COUNTS = {
    "zero_shot": ({"kind": "zero_shot"}, 0, {}),
    "decoder_only": ({"kind": "decoder_only"}, 1_127_009, {"decoder": 1_127_009}),
    # Vision layers 11 and 12 of 7,087,872 each, post_layernorm, visual_projection and logit_scale influence no mask:
    # 136,177,249 are updated.
    "end_to_end": (
        {"kind": "end_to_end"},
        150_747_746,
        {"vision": 71_622_144, "text": 63_165_952, "conditional": 262_144, "decoder": 1_127_009},
    ),
    "telescopic": ({"kind": "telescopic"}, 613_297, TELESCOPIC),
    "uniform": ({"kind": "telescopic", "schedule": "uniform"}, 613_297, TELESCOPIC),
    "conditional_width_8": (
        {"kind": "telescopic", "conditional_width": 8},
        605_089,
        {"vision": 498_330, "text": 98_502, "conditional": 8_209, "refinement": 48},
    ),
    "vlsm_dense": (
        {"kind": "vlsm_dense"},
        3_237_376,
        {"vision": 1_784_448, "text": 1_190_016, "conditional": 262_912},
    ),
    "vlsm_shallow": (
        {"kind": "vlsm_shallow"},
        4_201_984,
        {"vision": 2_363_136, "text": 1_575_936, "conditional": 262_912},
    ),
    # Rank 9 on four projections: 9 layers of 2 * 768 * 9 each, 3 of 2 * 512 * 9 each. Rank 10 would be further off.
    "lora": ({"kind": "lora"}, 608_256, {"vision": 497_664, "text": 110_592}),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_at_full_size(name):
    variant, trainable, branches = COUNTS[name]
    parsed = parse_variant(variant)
    segmenter = build_segmenter(parsed, empty_backbone(full_size_config()))
    assert parsed.trainable_parameters(segmenter) == trainable
    counts = Counter()
    for name, value in segmenter.trainable_parameters().items():
        (branch,) = (branch for branch, prefixes in BRANCHES.items() if name.startswith(prefixes))
        counts[branch] += value.numel()
    assert counts == branches
    added = 0 if variant["kind"] in ("zero_shot", "decoder_only", "end_to_end") else trainable
    assert sum(value.numel() for value in segmenter.parameters()) == FULL_SIZE + added
    # Nothing was allocated for that.
    assert all(value.is_meta for value in segmenter.parameters())


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


@settings(max_examples=40, deadline=None, derandomize=True)
@given(ADAPTED)
def test_the_count_is_the_formula(variant):
    trained = build_segmenter(variant, empty_backbone(full_size_config())).trainable_parameters()
    assert sum(value.numel() for value in trained.values()) == expected_parameters(variant)
    # Nothing of the backbone but LoRA's own matrices is trained.
    assert all(name.startswith("adapters.") or ".lora_" in name for name in trained)


def total(variant) -> int:
    """How many parameters training updates at full size."""
    segmenter = build_segmenter(variant, empty_backbone(full_size_config()))
    return sum(value.numel() for value in segmenter.trainable_parameters().values())


def test_lora_rank_is_the_closest_to_the_telescopic_total():
    totals = {rank: total({"kind": "lora", "rank": rank}) for rank in (8, 9, 10)}
    assert min(totals, key=lambda rank: abs(totals[rank] - 613_297)) == parse_variant({"kind": "lora"}).rank == 9


def test_lora_changes_exactly_the_named_modules():
    segmenter = build_segmenter("lora", empty_backbone(full_size_config()))
    places = [re.search(r"(vision|text)_model.*layers\.(\d+)", name) for name in segmenter.trainable_parameters()]
    # Two matrices for each of four projections.
    layers = [*(("vision", str(index)) for index in range(9)), *(("text", str(index)) for index in (9, 10, 11))]
    assert Counter(place.groups() for place in places) == dict.fromkeys(layers, 8)


def test_lora_refuses_layers_that_are_not_there():
    config = full_size_config()
    config.vision_config.num_hidden_layers = 5
    config.extract_layers = [1, 2, 3]
    missing = r"no clip.vision_model.encoder.layers.5.self_attn.q_proj \(16 of 48 linears are missing\)"
    with pytest.raises(ValueError, match=missing):
        build_segmenter("lora", empty_backbone(config))


TOTALS = {
    "telescopic": 613_297,
    **dict.fromkeys(("uniform", "reversed", "hump", "permuted_1", "permuted_2", "permuted_3", "learned"), 613_297),
    **dict.fromkeys(("text_7_9", "text_1_3"), 613_297),
    # Half or a third of the adapters at twice or three times the width: twelve scales fewer.
    **dict.fromkeys(("layers_1_3", "layers_4_6", "layers_7_9", "after_attention", "after_mlp"), 613_285),
    # As near as integer widths come: one more in each layer's sum is 3,076.
    "vision_613k": 612_190,
    "vision_text_613k": 612_260,
    "text_all_613k": 613_315,
    # Telescopic and uniform of one D; at D = 16 they are the same.
    "base_16": 287_209,
    **dict.fromkeys(("base_32", "uniform_32"), 348_729),
    **dict.fromkeys(("base_128", "uniform_128"), 1_188_573),
    **dict.fromkeys(("base_256", "uniform_256"), 2_383_225),
    # No scales.
    **dict.fromkeys(("zero_up", "alpha_fixed_1"), 613_272),
}


@pytest.mark.parametrize("name", TOTALS)
def test_budgets_of_the_study_match(name):
    study = read_study(Path(__file__).parents[2] / "config.yaml")
    assert total(study.variants[name].settings) == TOTALS[name]


def test_uniform_widths_of_the_smallest_base_dimension_are_telescopic():
    assert resolve_widths("uniform", 9, 16) == resolve_widths("telescopic", 9, 16)


def test_an_unknown_variant_is_named():
    with pytest.raises(ValueError, match="variant 'telescopical' is unknown; allowed: adaptformer, bitfit, compacter"):
        build_segmenter("telescopical", empty_backbone(full_size_config()))
