"""A tiny CLIPSeg with inputs, for the tests of the models."""

import copy
import functools
from pathlib import Path

import torch
from hypothesis import strategies as st
from torch import Tensor
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from pipeline.demo.tiny import write_tokenizer
from pipeline.models.backbone import random_backbone, tiny_config
from pipeline.models.segmenter import Segmenter
from pipeline.models.variants import build_segmenter
from pipeline.models.widths import SCHEDULES

# The machine may be shared, and tiny matrices gain nothing from threads.
torch.set_num_threads(1)

SIZE = 64

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
    "zero_up": {"kind": "telescopic", "alpha": 1, "alpha_learned": False, "init": "zero_up"},
    "text_1_3": {"kind": "telescopic", "text_layers": [1, 2, 3]},
    "conditional_plain": {"kind": "telescopic", "branches": ["conditional"], "mask_refinement": False},
    "vlsm_dense": {"kind": "vlsm_dense"},
    "vlsm_dense_vision": {"kind": "vlsm_dense", "branches": ["vision"]},
    "vlsm_shallow": {"kind": "vlsm_shallow"},
    "lora": {"kind": "lora"},
}


def scaled_backbone(config: CLIPSegConfig, seed: int = 0, attention: str = "sdpa") -> CLIPSegForImageSegmentation:
    """A random CLIPSeg whose states and logits are of order one, so that tolerances mean something."""
    for part in (config, config.vision_config, config.text_config):
        part.initializer_factor = 0.3
    model = random_backbone(config, seed, attention)
    with torch.no_grad():
        # transformers leaves biases and normalisations at zero and one; a trained model has all kinds of values there.
        generator = torch.Generator().manual_seed(seed + 1)
        for name, value in model.named_parameters():
            if value.ndim == 1 and not name.endswith("class_embedding"):
                value += 0.05 * torch.randn(value.shape, generator=generator)
        logits = model(**inputs(config, batch=1)).logits
        last = model.decoder.transposed_convolution[-1]
        last.weight /= logits.std()
        last.bias /= logits.std()
    return model


@functools.cache
def _shared(attention: str) -> CLIPSegForImageSegmentation:
    return scaled_backbone(tiny_config(), attention=attention)


def tiny(attention: str = "sdpa") -> CLIPSegForImageSegmentation:
    """A tiny CLIPSeg, the same in each call."""
    return copy.deepcopy(_shared(attention))


def save_tiny(path: Path) -> Path:
    """The tiny CLIPSeg in transformers' format with its tokenizer, in ``path``."""
    tiny().save_pretrained(path)
    write_tokenizer(path)
    return path


def linked(folder: Path, path: Path, without: str = "") -> Path:
    """A new folder ``path`` with the files of ``folder`` but one."""
    path.mkdir()
    for file in folder.iterdir():
        if file.name != without:
            (path / file.name).hardlink_to(file)
    return path


def inputs(config: CLIPSegConfig, batch: int = 3, size: int | None = None, seed: int = 0) -> dict[str, Tensor]:
    """Images and prompts of different lengths, padded and masked as a tokenizer does."""
    generator = torch.Generator().manual_seed(seed)
    size = size or (352 if config.vision_config.image_size == 224 else SIZE)
    context, last = config.text_config.max_position_embeddings, config.text_config.vocab_size - 1
    ids = torch.full((batch, context), last)
    mask = torch.zeros(batch, context, dtype=torch.long)
    for row in range(batch):
        length = 3 + 4 * row
        ids[row, :length] = torch.randint(1, last, (length,), generator=generator)
        mask[row, : length + 1] = 1
    pixels = torch.randn(batch, 3, size, size, generator=generator)
    return {"pixel_values": pixels, "input_ids": ids, "attention_mask": mask}


def trained_start(variant, backbone: CLIPSegForImageSegmentation, seed: int = 0) -> Segmenter:
    """A segmenter in evaluation mode whose adapters are as after a training: no parameter or statistic at its start."""
    torch.manual_seed(seed)
    segmenter = build_segmenter(variant, backbone)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in segmenter.trained_state().items():
            if not value.is_floating_point():
                value += 7
            elif name.endswith("running_var"):
                value += torch.rand(value.shape, generator=generator)
            else:
                value += 0.05 * torch.randn(value.shape, generator=generator)
    return segmenter.eval()


class Attack:
    """Runs a function when it is unpickled in the ordinary way."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


# ------------------------------------------------------------------ settings for hypothesis


def _some(values, smallest=1):
    return st.lists(st.sampled_from(values), min_size=smallest, unique=True)


@st.composite
def telescopic_settings(draw):
    layers = draw(_some(range(1, 11)))
    # As wide as the tiny model's states allow.
    widths = st.lists(st.integers(8, 32), min_size=len(layers), max_size=len(layers))
    return {
        "kind": "telescopic",
        "vision_layers": layers,
        "schedule": draw(st.sampled_from(SCHEDULES) | widths),
        "base_dimension": draw(st.integers(8, 65)),
        "text_layers": draw(_some(range(1, 13))),
        "text_width": draw(st.none() | st.integers(8, 16)),
        "conditional_width": draw(st.none() | st.integers(8, 16)),
        "branches": draw(_some(["vision", "text", "conditional"])),
        "placement": draw(_some(["attention", "mlp"])),
        "alpha_learned": draw(st.booleans()),
        "mask_refinement": draw(st.booleans()),
    }


VLSM_DENSE = st.fixed_dictionaries(
    {
        "kind": st.just("vlsm_dense"),
        "branches": _some(["vision", "text", "conditional"]),
        "width": st.integers(1, 300),
        "conditional_width": st.integers(1, 300),
        "vision_layers": _some(range(1, 11)),
        "text_layers": _some(range(1, 13)),
    }
)
VLSM_SHALLOW = st.fixed_dictionaries(
    {"kind": st.just("vlsm_shallow"), "width": st.integers(1, 600), "conditional_width": st.integers(1, 300)}
)
LORA = st.fixed_dictionaries(
    {
        "kind": st.just("lora"),
        "rank": st.integers(1, 40),
        "projections": _some(["q_proj", "k_proj", "v_proj", "out_proj"]),
        "vision_layers": _some(range(1, 11)),
        "text_layers": _some(range(1, 13), smallest=0),
    }
)
ADAPTED = telescopic_settings() | VLSM_DENSE | VLSM_SHALLOW | LORA
