"""What a run makes of its frozen weights computes the same."""

import pytest
import torch
from model_support import VARIANTS, inputs, tiny, trained_start

from pipeline.models.adapters import ScaleShift
from pipeline.models.backbone import with_attention
from pipeline.models.frozen import prepare_frozen
from pipeline.models.segmenter import Segmenter


def results(segmenter, batch, autocast: bool = False) -> dict[str, torch.Tensor]:
    """Logits and all gradients."""
    trained = segmenter.trainable_parameters()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = segmenter(**batch)
    gradients = torch.autograd.grad(logits.float().square().mean(), list(trained.values())) if trained else []
    return {"logits": logits.detach(), **dict(zip(trained, gradients, strict=True))}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name, value in expected.items():
        assert (found[name] - value).norm() <= 1e-11 * value.norm() + 1e-13, name


def doubles(variant: str) -> tuple[Segmenter, Segmenter, dict[str, torch.Tensor]]:
    """Two equal segmenters and a batch in float64, where a difference could only be one of the mathematics."""
    batch = inputs(tiny().config, batch=2)
    one, other = (trained_start(VARIANTS[variant], tiny()).double() for _ in range(2))
    return one, other, batch | {"pixel_values": batch["pixel_values"].double()}


@pytest.mark.parametrize("variant", ["telescopic", "lora", "decoder_only", "end_to_end", "text_1_3"])
def test_folded_activations_give_the_same_logits_and_gradients(variant):
    plain, folded, batch = doubles(variant)
    stored = {name: value.clone() for name, value in folded.trained_state().items()}
    # Once or twice, which is the same.
    for _ in range(2):
        prepare_frozen(folded, "fp32")
    same(results(folded, batch), results(plain, batch))
    now = folded.state_dict()
    changed = {name for name, value in plain.state_dict().items() if not torch.equal(value, now[name])}
    assert bool(changed) == (variant != "end_to_end")
    assert all(".mlp.fc" in name for name in changed)
    assert all(torch.equal(value, stored[name]) for name, value in folded.trained_state().items())


def test_what_an_adapter_sees_within_an_mlp_is_not_scaled():
    plain, folded, batch = doubles("zero_shot")
    for segmenter in (plain, folded):
        module = ScaleShift(plain.clipseg.config.vision_config.intermediate_size)
        torch.nn.init.normal_(module.shift, generator=torch.Generator().manual_seed(0))
        segmenter.add_adapter("vision_3_fc1", module)
    prepare_frozen(folded, "fp32")
    same(results(folded, batch), results(plain, batch))


# Adapters and tokens in float32, and norms that are trained.
@pytest.mark.parametrize("variant", ["telescopic", "end_to_end", "ssf", "prompt_tuning"])
def test_a_residual_stream_in_bf16_is_nearly_as_accurate(variant):
    """Logits and gradients are about as far from float32's as those of autocast alone, and the stream is in bf16."""
    batch, found = inputs(tiny().config, batch=2), {}
    for precision in ("fp32", "bf16", "bf16_residual"):
        segmenter = trained_start(VARIANTS.get(variant, {"kind": variant}), tiny())
        prepare_frozen(segmenter, precision)
        streams = []
        for layer in segmenter.clipseg.clip.vision_model.encoder.layers[: segmenter.vision_depth]:
            for norm in (layer.layer_norm1, layer.layer_norm2):
                norm.register_forward_pre_hook(lambda _, given, to=streams: to.append(given[0].dtype))
        text = segmenter.text_prefix(batch["input_ids"])
        given = {"pixel_values": batch["pixel_values"], "text": text}
        logits, *gradients = results(segmenter, given, autocast=precision != "fp32").values()
        assert all(value.dtype == torch.float32 for value in gradients)
        found[precision] = logits.float(), torch.cat([value.flatten() for value in gradients])
    assert set(streams) == {torch.bfloat16}
    for exact, half, own in zip(*found.values(), strict=True):
        assert (own - exact).norm() < 3 * (half - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("variant", ["telescopic", "lora", "decoder_only", "vlsm_shallow"])
def test_weights_kept_in_half_precision_give_autocasts_numbers(variant):
    """Bit for bit: autocast converts the same weights to the same numbers in each step."""
    plain, kept = (trained_start(VARIANTS[variant], tiny()) for _ in range(2))
    for segmenter in (plain, kept):
        prepare_frozen(segmenter, "fp32")
    prepare_frozen(kept, "bf16")
    with_attention(kept.clipseg, "sdpa")  # on both sides the same
    batch = inputs(plain.clipseg.config, batch=2)
    text = [segmenter.text_prefix(batch["input_ids"]) for segmenter in (plain, kept)]
    assert all(
        torch.equal(*pair) and pair[0].dtype == pair[1].dtype
        for pair in zip(*(one.values() for one in text), strict=True)
    )
    expected, found = (
        results(segmenter, {"pixel_values": batch["pixel_values"], "text": prefix}, autocast=True)
        for segmenter, prefix in zip((plain, kept), text, strict=True)
    )
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    halves = {name for name, value in kept.named_parameters() if value.dtype == torch.bfloat16}
    assert halves and not halves & kept.trainable_parameters().keys()
