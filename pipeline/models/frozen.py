"""What no training changes, made ready for one run: the same function in fewer operations."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers.activations import QuickGELUActivation
from transformers.models.clipseg.modeling_clipseg import CLIPSegMLP

from pipeline.models.attention import CPU_HALF
from pipeline.models.backbone import with_attention
from pipeline.models.interface import SegmentationModel
from pipeline.models.precision import AUTOCAST, RESIDUAL
from pipeline.models.segmenter import Segmenter

QUICK_GELU = 1.702
PRODUCTS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class HalfLayerNorm(nn.LayerNorm):
    """LayerNorm in the type of its weights; autocast would give float32. Its sums are in float32 all the same."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


@torch.no_grad()
def prepare_frozen(segmenter: SegmentationModel, precision: str) -> None:
    """Rewrite the frozen weights that the forward uses each time; what a run stores has none of them.

    - quick_gelu(x) = x sigmoid(1.702 x) = silu(1.702 x) / 1.702: where an MLP is frozen, its first matrix takes the
      factor and its second the divisor, and one kernel is left that keeps one tensor for the gradient.
    - Weights and biases of products are kept in the type of ``precision``: autocast would convert them in each step.
    - In ``bf16_residual``, LayerNorms are too; the forward then keeps the residual stream in bf16.
    - In bf16 on a CPU, attention is that of :mod:`pipeline.models.attention`.

    What :meth:`Segmenter.text_prefix` computes once stays in float32. A second call changes nothing. Afterwards the
    forward needs autocast as :attr:`Segmenter.precision` says.

    Args:
        precision: fp32, or a key of ``AUTOCAST``.
    """
    segmenter.precision, dtype = precision, AUTOCAST.get(precision, torch.float32)
    if not isinstance(segmenter, Segmenter):
        return
    segmenter.fix_trained()
    clipseg = segmenter.clipseg
    on_cpu, attention = clipseg.device.type == "cpu", clipseg.config.vision_config._attn_implementation
    if on_cpu and dtype == torch.bfloat16 and attention == "sdpa":
        with_attention(clipseg, CPU_HALF)
    # On a CPU the forward computes these in float32.
    kept = set(clipseg.decoder.transposed_convolution.modules()) if on_cpu else set()
    mapped = {module for place, module in segmenter.operations().items() if place in segmenter.adapters}
    for module in _used_each_time(segmenter):
        if isinstance(module, CLIPSegMLP) and _foldable(module) and module.fc1 not in mapped:
            module.activation_fn = nn.SiLU()
            module.fc1.weight.mul_(QUICK_GELU)
            module.fc1.bias.mul_(QUICK_GELU)
            module.fc2.weight.div_(QUICK_GELU)
        halved = (*PRODUCTS, nn.LayerNorm) if precision == RESIDUAL else PRODUCTS
        if dtype != torch.float32 and type(module) in halved and _frozen(module) and module not in kept:
            if isinstance(module, nn.LayerNorm):
                module.__class__ = HalfLayerNorm
            for name, value in list(module.named_parameters()):
                setattr(module, name, nn.Parameter(value.to(dtype), requires_grad=False))


def _used_each_time(segmenter: Segmenter) -> Iterator[nn.Module]:
    """Every module of the backbone that :meth:`Segmenter.forward` calls with a cached text prefix, parents first."""
    clip = segmenter.clipseg.clip
    text = clip.text_model.encoder.layers[max(segmenter.first_trained_layer("text"), 0) :]
    vision = clip.vision_model.encoder.layers[: segmenter.vision_depth]
    for root in (clip.vision_model.embeddings, *vision, *text, clip.text_projection, segmenter.clipseg.decoder):
        yield from root.modules()


def _foldable(mlp: CLIPSegMLP) -> bool:
    products = (mlp.fc1, mlp.fc2)
    # Not those inside LoRA.
    plain = all(type(product) in PRODUCTS and _frozen(product) for product in products)
    return plain and isinstance(mlp.activation_fn, QuickGELUActivation)


def _frozen(module: nn.Module) -> bool:
    """Whether no tensor of this module is trained."""
    return not any(value.requires_grad for value in module.parameters())
