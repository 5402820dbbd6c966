"""Attention whose gradients are computed anew, against PyTorch's."""

import pytest
import torch
from model_support import VARIANTS, inputs, tiny, trained_start
from torch.nn.functional import scaled_dot_product_attention

from pipeline.models.attention import cpu_half
from pipeline.models.frozen import prepare_frozen

SCALE = 0.3


def drawn(dtype: torch.dtype) -> list[torch.Tensor]:
    """Queries, keys, values and a gradient of 2 x 3 heads, which are no multiple of those computed at a time."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, 17, 16, generator=generator, dtype=torch.float64).to(dtype) for _ in range(4)]


def gradients(function, dtype: torch.dtype) -> list[torch.Tensor]:
    """The output and the gradients by queries, keys and values, in float64."""
    *given, gradient = drawn(dtype)
    given = [value.requires_grad_() for value in given]
    output = function(*given)
    return [value.double() for value in (output.detach(), *torch.autograd.grad(output, given, gradient))]


def torchs(q, k, v):
    return scaled_dot_product_attention(q, k, v, scale=SCALE)


def ours(q, k, v):
    return cpu_half(None, q, k, v, None, scaling=SCALE)[0].transpose(1, 2)


def test_values_and_gradients_in_float64():
    torch.testing.assert_close(gradients(ours, torch.float64), gradients(torchs, torch.float64), rtol=1e-12, atol=1e-12)


def test_gradients_in_bf16_are_as_accurate_as_pytorchs():
    *given, gradient = (value.to(torch.bfloat16).double() for value in drawn(torch.float64))
    given = [value.requires_grad_() for value in given]
    exact = torch.autograd.grad(torchs(*given), given, gradient)
    own, other = (
        [(value - reference).norm() for value, reference in zip(found[1:], exact, strict=True)]
        for found in (gradients(ours, torch.bfloat16), gradients(torchs, torch.bfloat16))
    )
    assert all(mine <= 1.5 * theirs for mine, theirs in zip(own, other, strict=True)), (own, other)


@pytest.mark.parametrize("variant", ["telescopic", "lora", "end_to_end"])
def test_a_segmenters_gradients_in_bf16(variant):
    """As far from those in float32 as PyTorch's attention is."""
    batch, found = inputs(tiny().config, batch=2), {}
    for way in ("fp32", "bf16", "sdpa"):
        segmenter = trained_start(VARIANTS[variant], tiny())
        prepare_frozen(segmenter, "bf16" if way == "bf16" else "fp32")
        text = segmenter.text_prefix(batch["input_ids"])
        with torch.autocast("cpu", torch.bfloat16, enabled=way != "fp32"):
            logits = segmenter(batch["pixel_values"], text=text)
        trained = list(segmenter.trainable_parameters().values())
        found[way] = torch.cat([g.flatten() for g in torch.autograd.grad(logits.float().square().mean(), trained)])
    own, other = ((found[way] - found["fp32"]).norm() / found["fp32"].norm() for way in ("bf16", "sdpa"))
    assert 0 < own <= 1.5 * other and other < 0.1, (own, other)
