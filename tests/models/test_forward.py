"""The one forward: equal to transformers' own, whatever is cached, recomputed, compiled or cast."""

import copy
import shutil

import pytest
import torch
from model_support import VARIANTS, inputs, scaled_backbone, tiny, trained_start

from pipeline.models.adapters import MaskRefinement, TelescopicAdapter
from pipeline.models.backbone import full_size_config
from pipeline.models.preprocessing import crop_to_longest
from pipeline.models.variants import build_segmenter

PLAIN = ["zero_shot", "decoder_only", "end_to_end"]


def released(clipseg, batch):
    """Logits of transformers' own forward, (batch, height, width)."""
    with torch.no_grad():
        return clipseg(**batch).logits


@pytest.fixture
def batch():
    """Two images larger than the position table's, and two prompts of different length."""
    return inputs(tiny().config, batch=2, size=96)


@pytest.fixture(scope="module")
def full_size():
    """A full-size CLIPSeg at random, one image of 352 pixels and a prompt padded to 77 tokens."""
    model = scaled_backbone(full_size_config())
    return model, inputs(model.config, batch=1)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("variant", PLAIN)
def test_without_adapters_equal_to_transformers(batch, variant, attention):
    expected = released(tiny(attention), batch)
    with torch.no_grad():
        logits = build_segmenter(variant, tiny(attention)).eval()(**batch)
    assert logits.shape == (2, 1, 96, 96)
    assert (logits[:, 0] - expected).abs().max() <= 1e-5
    assert expected.std() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_without_adapters_equal_to_transformers_at_full_size(full_size, attention):
    model, batch = full_size
    for module in model.modules():
        if hasattr(module, "config"):
            module.config._attn_implementation = attention
    # transformers' form for one image leaves out the channel.
    expected = released(model, batch)
    with torch.no_grad():
        logits = build_segmenter("zero_shot", model).eval()(**batch)
    assert (logits[:, 0] - expected).abs().max() <= 1e-5
    assert expected.std() > 0.1


def test_an_image_of_the_tables_own_size(batch):
    batch["pixel_values"] = batch["pixel_values"][..., :64, :64]
    expected = released(tiny(), batch)
    logits = build_segmenter("zero_shot", tiny()).eval()(**batch)
    assert (logits[:, 0] - expected).abs().max() <= 1e-5


def test_an_oblong_image_gives_an_oblong_mask(batch):
    logits = build_segmenter("telescopic", tiny()).eval()(batch["pixel_values"][..., :64, :], batch["input_ids"])
    assert logits.shape == (2, 1, 64, 96)


@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_text_gives_the_same_logits(batch, variant):
    segmenter = trained_start(VARIANTS[variant], tiny())
    with torch.no_grad():
        expected = segmenter(**batch)
        prefix = segmenter.text_prefix(crop_to_longest(batch["input_ids"]))
        logits = segmenter(batch["pixel_values"], text=prefix)
    assert (logits - expected).abs().max() <= 1e-5
    frozen = segmenter.first_trained_layer("text")
    expected_key = "input_ids" if frozen < 0 else "hidden" if frozen < 12 else "pooled"
    assert expected_key in prefix


@pytest.mark.parametrize("variant", ["telescopic", "vlsm_dense", "vlsm_shallow", "end_to_end"])
def test_cached_text_gives_the_same_gradients(batch, variant):
    segmenter = trained_start(variant, tiny())
    gradients = []
    for text in ({"input_ids": batch["input_ids"]}, {"text": segmenter.text_prefix(batch["input_ids"])}):
        segmenter.zero_grad()
        segmenter(batch["pixel_values"], **text).square().mean().backward()
        gradients.append({name: value.grad.clone() for name, value in segmenter.trainable_parameters().items()})
    for name, expected in gradients[0].items():
        assert torch.equal(gradients[1][name], expected), name


def test_which_part_of_the_text_branch_is_cached():
    def start(variant):
        return build_segmenter(VARIANTS[variant], tiny()).first_trained_layer("text")

    expected = {"zero_shot": 12, "decoder_only": 12, "vlsm_shallow": 12, "telescopic": 9, "lora": 9, "text_1_3": 0}
    assert {name: start(name) for name in expected} == expected
    assert start("end_to_end") == -1


def test_cached_vision_gives_the_same_logits(batch):
    segmenter = trained_start("vlsm_shallow", tiny())
    with torch.no_grad():
        states = segmenter.vision_states(batch["pixel_values"])
        assert torch.equal(segmenter(input_ids=batch["input_ids"], vision=states), segmenter(**batch))


def test_padding_does_not_matter(batch):
    segmenter = trained_start("telescopic", tiny())
    changed = batch | {"attention_mask": torch.ones_like(batch["attention_mask"])}
    # Anything below the EOS token's id may stand behind it.
    changed["input_ids"] = torch.where(batch["attention_mask"].bool(), batch["input_ids"], torch.tensor(5))
    with torch.no_grad():
        assert (segmenter(**changed) - segmenter(**batch)).abs().max() <= 1e-5


@pytest.mark.parametrize("variant", ["telescopic", "end_to_end", "lora"])
def test_gradient_checkpointing_changes_nothing(batch, variant):
    gradients = {}
    for checkpointing in (False, True):
        torch.manual_seed(0)
        segmenter = trained_start(VARIANTS[variant], tiny()).train()
        segmenter.gradient_checkpointing = checkpointing
        torch.manual_seed(5)
        logits = segmenter(**batch)
        logits.square().mean().backward()
        gradients[checkpointing] = {name: value.grad for name, value in segmenter.trainable_parameters().items()}
        gradients[checkpointing]["logits"] = logits.detach()
    for name, expected in gradients[False].items():
        assert torch.equal(gradients[True][name], expected), name


@pytest.mark.parametrize("variant", ["telescopic", "vlsm_shallow", "end_to_end"])
def test_autocast_is_close_and_keeps_gradients_in_float32(batch, variant):
    segmenter = build_segmenter(variant, tiny()).train()
    for module in segmenter.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0
    with torch.no_grad():
        expected = segmenter(**batch)
    with torch.autocast("cpu", torch.bfloat16):
        logits = segmenter(**batch)
    logits.float().mean().backward()
    # bfloat16 has 8 bits of precision; the logits span several units.
    assert (logits.float() - expected).norm() / expected.norm() < 0.05
    for name, value in segmenter.trainable_parameters().items():
        assert value.dtype == value.grad.dtype == torch.float32, name
        assert value.grad.isfinite().all(), name


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on the CPU needs a C++ compiler")
@pytest.mark.parametrize("variant", ["telescopic", "lora"])
def test_compiled_gives_the_same_logits_and_gradients(batch, variant):
    segmenter = trained_start(variant, tiny())
    compiled = torch.compile(copy.deepcopy(segmenter))
    results = []
    for model, plain in ((segmenter, segmenter), (compiled, compiled._orig_mod)):
        logits = model(batch["pixel_values"], text=plain.text_prefix(batch["input_ids"]))
        logits.square().mean().backward()
        results.append([logits.detach(), *(value.grad for value in plain.trainable_parameters().values())])
    for expected, actual in zip(*results, strict=True):
        assert (actual - expected).norm() <= 1e-4 * expected.norm() + 1e-6


def test_starting_at_zero_scale_is_zero_shot(batch):
    expected = released(tiny(), batch)
    for settings in ({"alpha": 0}, {"alpha": 0, "schedule": "uniform"}, {"alpha": 0, "alpha_learned": False}):
        variant = {"kind": "telescopic", "mask_refinement": False, **settings}
        logits = build_segmenter(variant, tiny()).eval()(**batch)
        assert (logits[:, 0] - expected).abs().max() <= 1e-5
    torch.manual_seed(0)
    logits = build_segmenter({"kind": "telescopic", "mask_refinement": False}, tiny()).eval()(**batch)
    assert (logits[:, 0] - expected).abs().max() > 1e-3


def test_lora_starts_at_zero_shot(batch):
    expected = released(tiny(), batch)
    logits = build_segmenter("lora", tiny()).eval()(**batch)
    assert (logits[:, 0] - expected).abs().max() <= 1e-5


def test_how_far_an_adapter_starts_from_the_identity():
    """SiLU shrinks, layer norm gives a vector of length sqrt(width), and rows of ``up`` start shorter than one."""
    torch.manual_seed(0)
    for features, width in ((768, 8), (768, 32), (512, 16), (128, 18)):
        adapter = TelescopicAdapter(features, width).eval()
        x = 10 * torch.randn(50, features)
        moved = (adapter(x) - x).abs().max().item()
        assert 0.01 < moved <= 0.1 * width**0.5


def test_how_far_refinement_starts_from_the_identity():
    """It scales a logit by 1 to 2 and so never changes its sign: the mask at 0.5 stays the same."""
    torch.manual_seed(0)
    logits = 5 * torch.randn(4, 1, 32, 32)
    factor = MaskRefinement().eval()(logits) / logits
    assert factor.min() > 1 and factor.max() < 2


@pytest.mark.parametrize("schedule", ["telescopic", "uniform"])
def test_how_far_variants_start_from_zero_shot(batch, schedule):
    expected = released(tiny(), batch)[:, None]
    for seed in range(3):
        torch.manual_seed(seed)
        segmenter = build_segmenter({"kind": "telescopic", "schedule": schedule}, tiny()).eval()
        with torch.no_grad():
            refined = segmenter(**batch)
            refinement = segmenter.adapters.pop("refinement")
            adapted = segmenter(**batch)
        # Adapters alone: a fraction of the logits' own spread.
        distance = ((adapted - expected).std() / expected.std()).item()
        assert 1e-3 < distance < 0.5
        # Refinement on top: less than twice, with the same sign.
        assert torch.equal(refinement(adapted), refined)
        assert (refined.abs() <= 2 * adapted.abs()).all() and torch.equal(refined > 0, adapted > 0)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["telescopic", "uniform"])
def test_how_far_variants_start_from_zero_shot_at_full_size(full_size, schedule):
    model, batch = full_size
    expected = released(model, batch)[:, None]
    torch.manual_seed(0)
    variant = {"kind": "telescopic", "schedule": schedule, "mask_refinement": False}
    with torch.no_grad():
        logits = build_segmenter(variant, copy.deepcopy(model)).eval()(**batch)
    assert 1e-3 < ((logits - expected).std() / expected.std()).item() < 0.5


def test_the_forward_asks_for_what_it_needs(batch):
    segmenter = build_segmenter("zero_shot", tiny())
    with pytest.raises(ValueError, match="input_ids or text"):
        segmenter(batch["pixel_values"])
    with pytest.raises(ValueError, match="pixel_values or vision"):
        segmenter(input_ids=batch["input_ids"])
