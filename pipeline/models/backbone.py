"""CLIPSeg from a folder, at random, or empty. Nothing here touches the network; pipeline.fetching.clipseg does."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from pipeline.models.folder import CONFIG, WEIGHTS, misfit, read_config
from pipeline.models.shapes import shapes_of
from pipeline.models.widths import FEATURES
from pipeline.runtime.errors import PipelineError

TINY_VOCABULARY = 955
"""Tokens of the tokenizer that ``pipeline.demo.tiny`` writes."""


def full_size_config() -> CLIPSegConfig:
    """The configuration of CIDAS/clipseg-rd64-refined: 150,747,746 parameters."""
    return CLIPSegConfig(
        text_config={"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2},
        vision_config={"patch_size": 16, "image_size": 224},
        use_complex_transposed_convolution=True,
    )


def tiny_config() -> CLIPSegConfig:
    """A CLIPSeg of about 2 million parameters with CLIPSeg's depth, extract layers and decoder, for demo and tests.

    Every layer index means what it means at full size. The vision width leaves the telescopic widths 8..32 unbounded,
    and the text width equals the projection, as VLSM-Adapter's shallow variant needs. The position table is that of a
    64-pixel image; larger inputs interpolate it, as CLIPSeg does from 224 to 352.
    """
    width, end = FEATURES["tiny"], TINY_VOCABULARY - 1
    return CLIPSegConfig(
        text_config={
            "vocab_size": TINY_VOCABULARY,
            "hidden_size": width.text,
            "intermediate_size": 2 * width.text,
            "num_hidden_layers": 12,
            "num_attention_heads": 4,
            "max_position_embeddings": 77,
            "bos_token_id": end - 1,
            "eos_token_id": end,
            "pad_token_id": end,
        },
        vision_config={
            "hidden_size": width.vision,
            "intermediate_size": 2 * width.vision,
            "num_hidden_layers": 12,
            "num_attention_heads": 4,
            "image_size": 64,
            "patch_size": 16,
        },
        projection_dim=width.conditional,
        extract_layers=[3, 6, 9],
        reduce_dim=32,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=128,
        use_complex_transposed_convolution=True,
    )


def empty_backbone(config: CLIPSegConfig, attention: str = "sdpa") -> CLIPSegForImageSegmentation:
    """A CLIPSeg of this configuration without storage (meta device), for counting and for filling.

    Args:
        attention: ``sdpa`` or ``eager``, in both encoders and in the decoder.
    """
    with torch.device("meta"):
        model = CLIPSegForImageSegmentation(config)
    return with_attention(model, attention).eval()


def random_backbone(config: CLIPSegConfig, seed: int, attention: str = "sdpa") -> CLIPSegForImageSegmentation:
    """A CLIPSeg of this configuration with transformers' random start; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPSegForImageSegmentation(config)
    return with_attention(model, attention).eval()


def load_backbone(folder: str | Path) -> CLIPSegForImageSegmentation:
    """The CLIPSeg of a folder in transformers' format, in evaluation mode and float32. Never touches the network.

    Args:
        folder: holds config.json and model.safetensors.

    Raises:
        PipelineError: a file is missing or broken, or the weights are not those of the configuration.
    """
    path = Path(folder) / WEIGHTS
    config = read_config(folder)
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise PipelineError(f"{path}: cannot be read ({error}); fetch or pretrain the backbone again") from None
    reason = misfit(config, shapes_of(state))
    if reason:
        raise PipelineError(f"{path}: not the weights of {CONFIG} beside it: {reason}")
    model = empty_backbone(config)
    state = {name: state[name].float() for name in model.state_dict()}
    # assign: the file's memory-mapped tensors become the parameters, so that nothing is initialised or copied.
    model.load_state_dict(state, assign=True)
    _fill_positions(model)
    return model


def with_attention(model: CLIPSegForImageSegmentation, attention: str) -> CLIPSegForImageSegmentation:
    """``model`` with this attention, one of transformers' or registered there, in both encoders and in the decoder."""
    # transformers' set_attn_implementation leaves out the decoder, which has a configuration of its own.
    for module in model.modules():
        if hasattr(module, "config"):
            module.config._attn_implementation = attention
    return model


def _fill_positions(model: nn.Module) -> None:
    """Position numbers are buffers that no file holds; on the meta device they were left empty."""
    for module in model.modules():
        buffer = getattr(module, "position_ids", None)
        if buffer is not None:
            module.position_ids = nn.Buffer(torch.arange(buffer.shape[-1]).expand(1, -1), persistent=False)
