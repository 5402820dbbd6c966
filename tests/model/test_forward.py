"""The one forward: equal to transformers' own, whatever is cached, recomputed, compiled or cast."""

import copy

import pytest
import torch
from conftest import VARIANTS

from pipeline.models.adapters import MaskRefinement, TelescopicAdapter
from pipeline.models.backbone import full_size_config, random_backbone
from pipeline.models.inputs import crop_to_longest
from pipeline.models.variants import build_segmenter

PLAIN = ["zero_shot", "decoder_only", "end_to_end"]


def released(clipseg, batch):
    """Logits of transformers' own forward, (batch, height, width)."""
    with torch.no_grad():
        return clipseg(**batch).logits


def perturb(segmenter, seed=0):
    """Move every trained tensor, so that adapters that start at zero matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in segmenter.trained_state().values():
            if value.is_floating_point():
                value.add_(0.02 * torch.randn(value.shape, generator=generator).abs())
    return segmenter


@pytest.fixture(scope="module")
def full_size():
    """A full-size CLIPSeg at random and one image with one prompt of 77 tokens, the padding masked."""
    model = random_backbone(full_size_config(), seed=3)
    generator = torch.Generator().manual_seed(4)
    input_ids = torch.full((1, 77), 49407)
    input_ids[:, 0] = 49406
    input_ids[:, 1:7] = torch.randint(0, 49000, (1, 6), generator=generator)
    mask = (torch.arange(77) < 8).long()[None]
    pixels = torch.randn(1, 3, 352, 352, generator=generator)
    return model, {"pixel_values": pixels, "input_ids": input_ids, "attention_mask": mask}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("variant", PLAIN)
def test_without_adapters_equal_to_transformers(tiny_backbone, batch, variant, attention):
    expected = released(tiny_backbone(attention), batch)
    with torch.no_grad():
        logits = build_segmenter(variant, tiny_backbone(attention)).eval()(**batch)
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


def test_an_image_of_the_tables_own_size(tiny_backbone, batch):
    batch["pixel_values"] = batch["pixel_values"][..., :64, :64]
    expected = released(tiny_backbone(), batch)
    logits = build_segmenter("zero_shot", tiny_backbone()).eval()(**batch)
    assert (logits[:, 0] - expected).abs().max() <= 1e-5


def test_an_oblong_image(tiny_backbone, batch):
    pixels = batch["pixel_values"][..., :64, :]
    segmenter = build_segmenter("telescopic", tiny_backbone()).eval()
    logits = segmenter(pixels, batch["input_ids"])
    assert logits.shape == (2, 1, 64, 96)
    # Convolution and attention know nothing of the frame: a mirror image of mirrored columns would pass, so compare
    # with the square one where only the lower rows differ.
    assert not torch.equal(logits, segmenter(**batch)[..., :64, :])


@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_text_gives_the_same_logits(tiny_backbone, batch, variant):
    segmenter = perturb(build_segmenter(VARIANTS[variant], tiny_backbone())).eval()
    with torch.no_grad():
        expected = segmenter(**batch)
        prefix = segmenter.text_prefix(crop_to_longest(batch["input_ids"]))
        logits = segmenter(batch["pixel_values"], text=prefix)
    assert (logits - expected).abs().max() <= 1e-5
    frozen = segmenter.first_trained_layer("text")
    expected_key = "input_ids" if frozen < 0 else "hidden" if frozen < 12 else "pooled"
    assert expected_key in prefix


def test_which_part_of_the_text_branch_is_cached(tiny_backbone):
    def start(variant):
        return build_segmenter(VARIANTS[variant], tiny_backbone()).first_trained_layer("text")

    expected = {"zero_shot": 12, "decoder_only": 12, "vlsm_shallow": 12, "telescopic": 9, "lora": 9, "text_1_3": 0}
    assert {name: start(name) for name in expected} == expected
    assert start("end_to_end") == -1


def test_cached_vision_gives_the_same_logits(tiny_backbone, batch):
    segmenter = perturb(build_segmenter("vlsm_shallow", tiny_backbone())).eval()
    with torch.no_grad():
        states = segmenter.vision_states(batch["pixel_values"])
        assert torch.equal(segmenter(input_ids=batch["input_ids"], vision=states), segmenter(**batch))


def test_padding_does_not_matter(tiny_backbone, batch):
    segmenter = perturb(build_segmenter("telescopic", tiny_backbone())).eval()
    changed = batch | {"attention_mask": torch.ones_like(batch["attention_mask"])}
    # Anything below the EOS token's id may stand behind it.
    changed["input_ids"] = torch.where(batch["attention_mask"].bool(), batch["input_ids"], torch.tensor(5))
    with torch.no_grad():
        assert (segmenter(**changed) - segmenter(**batch)).abs().max() <= 1e-5


@pytest.mark.parametrize("variant", ["telescopic", "end_to_end", "lora"])
def test_gradient_checkpointing_changes_nothing(tiny_backbone, batch, variant):
    gradients = {}
    for checkpointing in (False, True):
        torch.manual_seed(0)
        segmenter = perturb(build_segmenter(VARIANTS[variant], tiny_backbone())).train()
        segmenter.gradient_checkpointing = checkpointing
        torch.manual_seed(5)
        logits = segmenter(**batch)
        logits.square().mean().backward()
        gradients[checkpointing] = {name: value.grad for name, value in segmenter.trainable_parameters().items()}
        gradients[checkpointing]["logits"] = logits.detach()
    for name, expected in gradients[False].items():
        assert torch.equal(gradients[True][name], expected), name


@pytest.mark.parametrize("variant", ["telescopic", "vlsm_shallow", "end_to_end"])
def test_autocast_is_close_and_keeps_gradients_in_float32(tiny_backbone, batch, variant):
    segmenter = build_segmenter(variant, tiny_backbone()).train()
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
@pytest.mark.parametrize("variant", ["telescopic", "lora", "vlsm_shallow"])
def test_compiled_gives_the_same_logits_and_gradients(tiny_backbone, batch, variant):
    segmenter = perturb(build_segmenter(variant, tiny_backbone())).eval()
    compiled = torch.compile(copy.deepcopy(segmenter))
    results = []
    for model, plain in ((segmenter, segmenter), (compiled, compiled._orig_mod)):
        logits = model(batch["pixel_values"], text=plain.text_prefix(batch["input_ids"]))
        logits.square().mean().backward()
        results.append([logits.detach(), *(value.grad for value in plain.trainable_parameters().values())])
    for expected, actual in zip(*results, strict=True):
        assert (actual - expected).norm() <= 1e-4 * expected.norm() + 1e-6


def test_starting_at_zero_scale_is_zero_shot(tiny_backbone, batch):
    expected = released(tiny_backbone(), batch)
    for settings in ({"alpha": 0}, {"alpha": 0, "schedule": "uniform"}, {"alpha": 0, "alpha_learned": False}):
        variant = {"kind": "telescopic", "mask_refinement": False, **settings}
        logits = build_segmenter(variant, tiny_backbone()).eval()(**batch)
        assert (logits[:, 0] - expected).abs().max() <= 1e-5
    torch.manual_seed(0)
    logits = build_segmenter({"kind": "telescopic", "mask_refinement": False}, tiny_backbone()).eval()(**batch)
    assert (logits[:, 0] - expected).abs().max() > 1e-3


def test_lora_starts_at_zero_shot(tiny_backbone, batch):
    expected = released(tiny_backbone(), batch)
    logits = build_segmenter("lora", tiny_backbone()).eval()(**batch)
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
def test_how_far_variants_start_from_zero_shot(tiny_backbone, batch, schedule):
    expected = released(tiny_backbone(), batch)[:, None]
    for seed in range(3):
        torch.manual_seed(seed)
        segmenter = build_segmenter({"kind": "telescopic", "schedule": schedule}, tiny_backbone()).eval()
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


def test_the_forward_asks_for_what_it_needs(tiny_backbone, batch):
    segmenter = build_segmenter("zero_shot", tiny_backbone())
    with pytest.raises(ValueError, match="input_ids or text"):
        segmenter(batch["pixel_values"])
    with pytest.raises(ValueError, match="pixel_values or vision"):
        segmenter(input_ids=batch["input_ids"])
