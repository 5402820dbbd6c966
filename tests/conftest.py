"""What several test modules share: a tiny CLIPSeg, its folder, and every kind of variant."""

import copy
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1] / "../shared"

# Each kind at its defaults, and the switches that change what is trained.
VARIANTS = {
    "zero_shot": {"kind": "zero_shot"},
    "decoder_only": {"kind": "decoder_only"},
    "end_to_end": {"kind": "end_to_end"},
    "telescopic": {"kind": "telescopic"},
    "uniform": {"kind": "telescopic", "schedule": "uniform"},
    "reversed": {"kind": "telescopic", "schedule": "reversed"},
    "alpha_from_0": {"kind": "telescopic", "alpha": 0},
    "alpha_fixed": {"kind": "telescopic", "alpha_learned": False},
    "text_1_3": {"kind": "telescopic", "text_layers": [1, 2, 3]},
    "conditional_plain": {"kind": "telescopic", "branches": ["conditional"], "mask_refinement": False},
    "vlsm_dense": {"kind": "vlsm_dense"},
    "vlsm_dense_vision": {"kind": "vlsm_dense", "branches": ["vision"]},
    "vlsm_shallow": {"kind": "vlsm_shallow"},
    "lora": {"kind": "lora"},
}


@pytest.fixture(scope="session")
def tiny_weights():
    """A tiny CLIPSeg at random, with states and logits of order one so that tolerances mean something."""
    import torch

    from pipeline.models.backbone import random_backbone
    from pipeline.models.tiny import tiny_config

    config = tiny_config()
    for part in (config, config.vision_config, config.text_config):
        part.initializer_factor = 0.3
    model = random_backbone(config, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        model.decoder.transposed_convolution[-1].weight *= 0.02
        # Biases start at zero, where an error in one could not show.
        for name, value in model.named_parameters():
            if name.endswith("bias"):
                value.add_(0.02 * torch.randn(value.shape, generator=generator))
    return model


@pytest.fixture
def tiny_backbone(tiny_weights):
    """A function that gives a fresh copy of the tiny CLIPSeg, with ``sdpa`` or ``eager`` attention."""

    def build(attention: str = "sdpa"):
        model = copy.deepcopy(tiny_weights)
        for module in model.modules():
            if hasattr(module, "config"):
                module.config._attn_implementation = attention
        return model

    return build


@pytest.fixture(scope="session")
def tiny_folder(tiny_weights, tmp_path_factory):
    """The tiny CLIPSeg as a backbone folder."""
    from pipeline.models.tiny import write_tokenizer

    folder = tmp_path_factory.mktemp("tiny") / "backbone"
    tiny_weights.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture
def batch(tiny_weights):
    """Two images of 96 pixels and two prompts of different length, as keyword arguments of CLIPSeg."""
    import torch

    config = tiny_weights.config.text_config
    generator = torch.Generator().manual_seed(2)
    input_ids = torch.full((2, 77), config.eos_token_id)
    input_ids[:, 0] = config.bos_token_id
    for row, length in enumerate((4, 9)):
        input_ids[row, 1 : 1 + length] = torch.randint(0, 300, (length,), generator=generator)
    attention_mask = torch.zeros_like(input_ids)
    for row, length in enumerate((4, 9)):
        attention_mask[row, : length + 2] = 1
    return {
        "pixel_values": torch.randn(2, 3, 96, 96, generator=generator),
        "input_ids": input_ids,
        "attention_mask": attention_mask,
    }
