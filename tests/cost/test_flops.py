"""The two counters at full size (352 x 352 pixels, 77 tokens), against closed formulas and transformers' forward."""

import functools

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.cost.flops import count_flops, fvcore_macs
from pipeline.models.backbone import empty_backbone, full_size_config, random_backbone
from pipeline.models.variants import build_segmenter

PATCHES, TOKENS, CONTEXT = 22 * 22, 22 * 22 + 1, 77
VARIANTS = ["zero_shot", "decoder_only", "end_to_end", "telescopic", "uniform", "vlsm_shallow", "lora"]


def encoder_macs(tokens: int, width: int, inner: int, layers: int) -> int:
    """Multiply-adds of transformer layers: four projections, scores and their sum, and the MLP; no normalisation."""
    return layers * (4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * inner)


VISION = PATCHES * 768 * 768 + encoder_macs(TOKENS, 768, 3072, layers=10)
TEXT = encoder_macs(CONTEXT, 512, 2048, layers=12)
# Three reductions, FiLM, three decoder layers, and the convolutions: 3x3 on 22 x 22, then two of stride 4 that give
# each input pixel 4 x 4 outputs.
DECODER = 3 * TOKENS * 768 * 64 + 2 * 512 * 64 + encoder_macs(TOKENS, 64, 2048, layers=3)
CONVOLUTIONS = PATCHES * 64 * 64 * 9 + PATCHES * 16 * 64 * 32 + 88 * 88 * 16 * 32
CLIPSEG = VISION + TEXT + 512 * 512 + DECODER + CONVOLUTIONS
# fvcore's five operations per normalised feature: two in each layer and one before the vision layers; after the text
# layers this project's forward normalises the one token that is read, and transformers' all of them.
NORMS = 5 * (21 * TOKENS * 768 + (24 * CONTEXT + 1) * 512 + 6 * TOKENS * 64)
RELEASED_NORMS = NORMS + 5 * (CONTEXT - 1) * 512
WIDTHS = sum([8, 8, 10, 14, 17, 21, 24, 28, 32])
# Of telescopic adapters and, two operations each, the refinement's batch norm.
ADDED_NORMS = 5 * (2 * TOKENS * WIDTHS + 6 * CONTEXT * 16 + 16) + 2 * 352 * 352 * 4


@functools.cache
def cost(variant: str):
    return count_flops(build_segmenter(variant, empty_backbone(full_size_config(), "eager")), 352)


def products(variant: str) -> int:
    """Multiply-adds without normalisations."""
    added = ADDED_NORMS if variant in ("telescopic", "uniform") else 0
    return cost(variant).inference_macs - NORMS - added


class _Released(nn.Module):
    """CLIPSeg's own forward, as transformers has it."""

    def __init__(self, clipseg):
        super().__init__()
        self.clipseg = clipseg

    def forward(self, pixel_values, input_ids):
        return self.clipseg(pixel_values=pixel_values, input_ids=input_ids).logits


def test_the_released_forward_is_41_86_gmac_and_the_counters_differ_by_unread_layers_and_normalisation():
    """Twice fvcore's MACs, minus its normalisations, plus vision layers 11 and 12, is FlopCounterMode's count."""
    inputs = torch.zeros(1, 3, 352, 352), torch.zeros(1, CONTEXT, dtype=torch.long)
    macs = fvcore_macs(_Released(random_backbone(full_size_config(), seed=0, attention="eager")), *inputs)
    assert round(macs / 1e9, 2) == 41.86
    assert macs - RELEASED_NORMS == CLIPSEG
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        _Released(empty_backbone(full_size_config(), "eager"))(*(tensor.to("meta") for tensor in inputs))
    # What no mask depends on, yet is executed: two vision layers and the projection of the pooled image.
    unread = encoder_macs(TOKENS, 768, 3072, layers=2) + 768 * 512
    assert counter.get_total_flops() == 2 * (CLIPSEG + unread)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_counters_differ_by_normalisation_alone(variant):
    assert cost(variant).inference_flops == 2 * products(variant)


def test_macs_equal_the_closed_formula():
    assert products("zero_shot") == CLIPSEG
    vision = 2 * TOKENS * 2 * 768 * WIDTHS
    text = 2 * 3 * CONTEXT * 2 * 512 * 16
    refinement = 352 * 352 * 4 * (9 + 1)
    assert products("telescopic") - CLIPSEG == vision + text + 2 * 512 * 16 + refinement
    # The same budget spread evenly costs the same.
    assert cost("uniform").inference_macs == cost("telescopic").inference_macs
    assert products("lora") - CLIPSEG == 4 * 2 * 9 * (9 * TOKENS * 768 + 3 * CONTEXT * 512)


def test_training_costs_forward_and_the_backward_that_is_needed():
    assert cost("zero_shot").training_flops is None
    for variant in VARIANTS[1:]:
        counted = cost(variant)
        ratio = counted.training_flops / counted.inference_flops
        if variant == "end_to_end":
            # Input and weight gradients of all but the first layer, whose input is the image.
            assert counted.training_flops == 3 * counted.inference_flops - 2 * PATCHES * 768 * 768
        elif variant in ("decoder_only", "vlsm_shallow"):
            assert 1 < ratio < 1.1
        else:
            # Gradients pass through nearly all of the vision branch, but its weights need none.
            assert 1.9 < ratio < 2.1
    # The decoder's own backward and no other: gradients of its weights, and of all inputs but the encoders' outputs.
    backward = cost("decoder_only").training_flops - cost("decoder_only").inference_flops
    frozen_inputs = 3 * TOKENS * 768 * 64 + 2 * 512 * 64
    assert backward == 2 * (2 * (DECODER + CONVOLUTIONS) - frozen_inputs)
