"""Attention for training in bf16 on a CPU: PyTorch's kernel forward, matrix products backward.

The backward pass of PyTorch's CPU kernel takes half of such a step. Computed anew from queries and keys, a few heads
at a time so that their scores stay in the cache, the gradients take less time and are about as accurate (scores and
softmax are in float32), and neither the output nor the sums of the softmax need to be kept.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

CPU_HALF = "cpu_half"
"""The name of :func:`cpu_half` among transformers' attention functions."""
HEADS = 4
"""Heads at a time: 4 MB of scores for 485 tokens."""


class _Attention(torch.autograd.Function):
    """softmax(scale q kᵀ) v over (batch, heads, tokens, features)."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)
    def forward(context, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        context.save_for_backward(q, k, v)
        context.scale = scale
        return scaled_dot_product_attention(q, k, v, scale=scale)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(context, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v = context.saved_tensors
        parts = zip(*(x.flatten(0, 1).split(HEADS) for x in (q, k, v, gradient)), strict=True)
        gradients = zip(*(_gradients(*part, context.scale) for part in parts), strict=True)
        return *(torch.cat(parts).unflatten(0, q.shape[:2]) for parts in gradients), None


def _gradients(q: Tensor, k: Tensor, v: Tensor, gradient: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of queries, keys and values of some heads, each (heads, tokens, features)."""
    wide = torch.promote_types(q.dtype, torch.float32)
    p = torch.softmax((q.to(wide) * scale) @ k.to(wide).mT, dim=-1).to(q.dtype)
    # Before the softmax: p (dp - the mean of dp under p).
    dp = gradient @ v.mT
    ds = torch.ops.aten._softmax_backward_data(dp, p, -1, q.dtype)
    return (ds @ k).mul_(scale), (ds.mT @ q).mul_(scale), p.mT @ gradient


def cpu_half(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *, scaling: float,
    is_causal: bool = False, **options,
) -> tuple[Tensor, None]:  # fmt: skip
    """As transformers calls its attention functions; the output is (batch, tokens, heads, features)."""
    if is_causal or options.get("dropout") or not query.requires_grad:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, is_causal=is_causal, **options
        )
    return _Attention.apply(query, key, value, scaling).transpose(1, 2), None


AttentionInterface.register(CPU_HALF, cpu_half)
