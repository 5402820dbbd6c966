"""peft's modules in place of linears of CLIPSeg's transformer layers, and back."""

from collections.abc import Iterable, Sequence

from peft import PeftConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from pipeline.models.segmenter import Segmenter

STACKS = {
    "vision": "clip.vision_model.encoder.layers",
    "text": "clip.text_model.encoder.layers",
    "decoder": "decoder.layers",
}


def linears(layers: Iterable[str], names: Sequence[str]) -> list[str]:
    """Full names in CLIPSeg of the linears ``names`` (``q_proj``, ``fc1``, ...) of ``layers`` (``vision_1``, ...)."""
    found = []
    for layer in layers:
        stack, _, number = layer.partition("_")
        parts = ((name, "mlp" if name.startswith("fc") else "self_attn") for name in names)
        found += [f"{STACKS[stack]}.{int(number) - 1}.{part}.{name}" for name, part in parts]
    return found


def inject(config: PeftConfig, segmenter: Segmenter, names: Sequence[str]) -> None:
    """Put peft's modules around the linears of these full names; only what they add is trainable afterwards.

    Raises:
        ValueError: the backbone does not have them all.
    """
    known = dict(segmenter.clipseg.named_modules())
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(f"the backbone has no {missing[0]} ({len(missing)} of {len(names)} linears are missing)")
    config.target_modules = set(names)
    inject_adapter_in_model(config, segmenter.clipseg)


def merge(segmenter: Segmenter) -> None:
    """Put what peft's modules changed into the linears themselves, and take the modules away."""
    for name, module in list(segmenter.clipseg.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, own = name.rpartition(".")
            base: nn.Module = module.get_base_layer()
            setattr(segmenter.clipseg.get_submodule(parent), own, base)
