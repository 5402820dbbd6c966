"""The one forward: equal to transformers' own, whatever is cached, recomputed, compiled or cast; and what is trained.

Every trained tensor gets a gradient and moves; everything else stays as it is, bit for bit.
"""

import copy
import re

import pytest
import torch
from model_support import VARIANTS, inputs, scaled_backbone, tiny, trained_start
from torch import nn

from pipeline.models.adapters import PromptTokens
from pipeline.models.backbone import full_size_config
from pipeline.models.preprocessing import crop_to_longest
from pipeline.models.segmenter import Segmenter
from pipeline.models.variants import build_segmenter
from pipeline.training.loss import dice_bce_loss

TRAINED = [name for name in VARIANTS if name != "zero_shot"]
STEPS = 10


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
@pytest.mark.parametrize("size", [64, 96])
def test_without_adapters_equal_to_transformers(attention, size):
    """At the size of the position table and at one to which it is interpolated."""
    batch = inputs(tiny().config, batch=2, size=size)
    expected = released(tiny(attention), batch)
    logits = build_segmenter("zero_shot", tiny(attention)).eval()(**batch)
    assert logits.shape == (2, 1, size, size)
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


def test_an_oblong_image_gives_an_oblong_mask(batch):
    logits = build_segmenter("telescopic", tiny()).eval()(batch["pixel_values"][..., :64, :], batch["input_ids"])
    assert logits.shape == (2, 1, 64, 96)


@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_text_gives_the_same_logits_and_gradients(batch, variant):
    segmenter = trained_start(VARIANTS[variant], tiny())
    prefix = segmenter.text_prefix(crop_to_longest(batch["input_ids"]))
    results = []
    for text in ({"input_ids": batch["input_ids"]}, {"text": prefix}):
        logits = segmenter(batch["pixel_values"], **text)
        trained = list(segmenter.trainable_parameters().values())
        results.append([logits, *(torch.autograd.grad(logits.square().mean(), trained) if trained else [])])
    for whole, cached in zip(*results, strict=True):
        assert (cached - whole).norm() <= 1e-5 * whole.norm() + 1e-7


def test_which_part_of_the_text_branch_is_cached(batch):
    expected = {
        **dict.fromkeys(["zero_shot", "decoder_only", "vlsm_shallow"], (12, "pooled")),
        **dict.fromkeys(["telescopic", "lora"], (9, "hidden")),
        "text_1_3": (0, "hidden"),
        "end_to_end": (-1, "input_ids"),
    }
    for variant, (first, key) in expected.items():
        segmenter = build_segmenter(VARIANTS[variant], tiny())
        assert segmenter.first_trained_layer("text") == first, variant
        assert key in segmenter.text_prefix(batch["input_ids"]), variant


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


@pytest.mark.parametrize(
    ("variant", "distance"),
    [
        ({"kind": "lora"}, (0, 1e-5)),
        ({"kind": "telescopic", "mask_refinement": False, "alpha": 0}, (0, 1e-5)),
        ({"kind": "telescopic", "mask_refinement": False, "alpha": 0, "alpha_learned": False}, (0, 1e-5)),
        # A fraction of the logits' own spread, which is one.
        ({"kind": "telescopic", "mask_refinement": False}, (1e-3, 0.5)),
        ({"kind": "telescopic", "mask_refinement": False, "schedule": "uniform"}, (1e-3, 0.5)),
    ],
)
def test_how_far_variants_start_from_zero_shot(batch, variant, distance):
    torch.manual_seed(0)
    logits = build_segmenter(variant, tiny()).eval()(**batch)
    assert distance[0] <= (logits[:, 0] - released(tiny(), batch)).std() <= distance[1]


def test_the_forward_asks_for_what_it_needs(batch):
    segmenter = build_segmenter("zero_shot", tiny())
    with pytest.raises(ValueError, match="input_ids or text"):
        segmenter(batch["pixel_values"])
    with pytest.raises(ValueError, match="pixel_values or vision"):
        segmenter(input_ids=batch["input_ids"])


# ------------------------------------------------------------------ what is trained


def shift_invariant(name: str) -> bool:
    """A key's bias adds the same number to all scores of a query, and softmax does not see what all have in common.

    Its gradient is zero in exact arithmetic, and a rounding error in floating point: it cannot influence the mask.
    """
    return name.endswith("self_attn.k_proj.bias")


def train(segmenter: Segmenter, batch: dict, steps: int) -> list[dict[str, torch.Tensor]]:
    """Some steps of AdamW without weight decay (which moves tensors by itself); the gradients of each step."""
    target = (batch["pixel_values"][:, :1] > 0.3).float()
    optimizer = torch.optim.AdamW(segmenter.trainable_parameters().values(), lr=1e-3, weight_decay=0)
    history = []
    segmenter.train()
    for _ in range(steps):
        optimizer.zero_grad()
        dice_bce_loss(segmenter(**batch), target, 1.5, 1.0).backward()
        history.append({name: value.grad.clone() for name, value in segmenter.trainable_parameters().items()})
        optimizer.step()
    return history


@pytest.mark.parametrize("variant", TRAINED)
def test_trained_tensors_move_and_frozen_ones_do_not(batch, variant):
    torch.manual_seed(0)
    segmenter = build_segmenter(VARIANTS[variant], tiny())
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    trained = segmenter.trainable_parameters().keys()
    first, second, *_ = train(segmenter, batch, STEPS)
    assert first.keys() == trained
    for name, gradient in first.items():
        # Behind what starts at zero (LoRA's second matrix, a scale, an up-projection) the first gradient is zero.
        zero = {"alpha_from_0": ".scale", "zero_up": ".up.weight"}.get(variant)
        behind = ".lora_A." in name or (zero and not (name.endswith(zero) or ".refinement." in name))
        assert not (behind and gradient.any()), name
        later = second[name] if behind else gradient
        assert later.isfinite().all() and (shift_invariant(name) or later.any()), name
    # The refinement's batch norm counts and averages what it has seen.
    statistics = tuple(f"adapters.refinement.cnn.1.{name}" for name in ("running_", "num_batches_tracked"))
    for name, value in segmenter.state_dict().items():
        if name in trained or name.startswith(statistics):
            assert shift_invariant(name) or not torch.equal(value, before[name]), f"{name} did not move"
        else:
            assert torch.equal(value, before[name]), f"frozen {name} changed"
    for name, value in segmenter.named_parameters():
        assert value.requires_grad == (name in trained)
        assert value.requires_grad or value.grad is None, f"frozen {name} has a gradient"


# ------------------------------------------------------------------ end to end


def test_the_parameters_that_can_influence_the_mask_and_no_others_have_gradients():
    """In float64, with every parameter of CLIPSeg unfrozen."""
    segmenter = Segmenter(tiny().double()).requires_grad_(True)
    batch = inputs(tiny().config, batch=2, size=96)
    logits = segmenter(batch["pixel_values"].double(), batch["input_ids"])
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    gradients = {name: value.grad for name, value in segmenter.clipseg.named_parameters()}
    influential = segmenter.influential_parameters().keys()
    largest = max(gradients[name].norm().item() for name in influential)
    for name in influential:
        size = gradients[name].norm().item() / largest
        # Rounding of float64 lies far below the smallest gradient that means something.
        assert size < 1e-13 if shift_invariant(name) else size > 1e-10, name
    assert sum(map(shift_invariant, influential)) == 10 + 12 + 3
    others = gradients.keys() - influential
    assert all(gradients[name] is None for name in others)
    # Two unread vision layers of sixteen tensors each.
    layers = {name for name in others if name.startswith("clip.vision_model.encoder.layers.1")}
    norm = {f"clip.vision_model.post_layernorm.{name}" for name in ("weight", "bias")}
    assert len(layers) == 2 * 16 and others - layers == norm | {"clip.visual_projection.weight", "clip.logit_scale"}


def test_deterministic_positions_equal_interpolated_ones(batch):
    """Interpolation of the position table has no deterministic gradient on CUDA; its replacement is the same map."""
    results = []
    for deterministic in (False, True):
        segmenter = build_segmenter("end_to_end", tiny())
        torch.use_deterministic_algorithms(deterministic)
        try:
            logits = segmenter(**batch)
            dice_bce_loss(logits, (batch["pixel_values"][:, :1] > 0.3).float()).backward()
        finally:
            torch.use_deterministic_algorithms(False)
        embeddings = segmenter.clipseg.clip.vision_model.embeddings
        gradients = (embeddings.position_embedding, embeddings.patch_embedding)
        results.append([logits.detach(), *(module.weight.grad for module in gradients)])
    for interpolated, product in zip(*results, strict=True):
        assert ((interpolated - product).norm() / interpolated.norm()).item() < 1e-5
    assert not torch.equal(results[0][1], results[1][1]), "both came by the same way"


def test_a_keys_bias_cannot_influence_the_mask(batch):
    """What makes its gradient zero: any value of it gives the same logits."""
    segmenter = Segmenter(tiny().double()).eval()
    pixels = batch["pixel_values"].double()
    with torch.no_grad():
        expected = segmenter(pixels, batch["input_ids"])
        for name, value in segmenter.named_parameters():
            if shift_invariant(name):
                value += torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).double()
        moved = (segmenter(pixels, batch["input_ids"]) - expected).abs().max()
        segmenter.clipseg.clip.vision_model.encoder.layers[9].self_attn.q_proj.bias += 1
        other = (segmenter(pixels, batch["input_ids"]) - expected).abs().max()
    assert moved < 1e-10 < 1e-4 < other


def test_the_released_forward_trains_no_encoder(batch):
    """The trap of the protocol: transformers runs both encoders without gradients, so only the decoder learns."""
    model = tiny().requires_grad_(True)
    model(**batch).logits.sum().backward()
    reached = {name for name, value in model.named_parameters() if value.grad is not None}
    decoder = {f"decoder.{name}" for name, _ in model.decoder.named_parameters()}
    assert decoder <= reached
    assert {name for name in reached - decoder if ".encoder." in name} == set()


# ------------------------------------------------------------------ places


def test_an_adapter_stands_where_it_can_be_trained():
    segmenter = Segmenter(tiny())
    with pytest.raises(
        ValueError, match="no place 'vision_11_mlp' that influences the mask; places: vision_1_attention"
    ):
        segmenter.add_adapter("vision_11_mlp", nn.Identity())
    segmenter.add_adapter("vision_10_mlp", nn.Identity())
    with pytest.raises(ValueError, match="two adapters at 'vision_10_mlp'"):
        segmenter.add_adapter("vision_10_mlp", nn.Identity())


def test_every_place_changes_the_mask(batch):
    """A module at any place is applied: the logits depend on it."""

    class Double(nn.Module):
        def forward(self, x):
            return 2 * x

    # The ends of both encoders, which stand for the layers between them.
    between = re.compile("vision_[2-9]_|text_([2-9]|10|11)_")
    batch = {name: value[:1] for name, value in batch.items()} | {"input_ids": crop_to_longest(batch["input_ids"][:1])}
    batch["pixel_values"] = batch["pixel_values"].double()
    clipseg, changes = tiny().double(), {}
    with torch.no_grad():
        expected = Segmenter(clipseg).eval()(**batch)
        places = Segmenter(clipseg).places()
        assert len(places) == 22 * (2 + 2 + 8) + 21 + 3 * 8 + 2 + 3 + 2 + 1 + 6 + 2
        for place in places:
            # Extracted text states are added to the feature, all three of them or none.
            if between.match(place) or place.startswith("text_extract_"):
                continue
            segmenter = Segmenter(copy.deepcopy(clipseg)).eval()
            features = segmenter.features().text if place.startswith("text") else segmenter.features().vision
            tokens = place.endswith(("_prompt", "_context"))
            segmenter.add_adapter(place, PromptTokens(3, features, bound=1.0) if tokens else Double())
            changes[place] = (segmenter(**batch) - expected).abs().max()
    assert {place: change for place, change in changes.items() if not change > 1e-9} == {}


def test_beside_a_sub_layer_stands_what_maps_its_input(batch):
    """The negated input beside layer 10's attention leaves the attention's output alone."""

    class Negated(nn.Module):
        def forward(self, x):
            return -x

    segmenter, plain = Segmenter(tiny()).eval(), Segmenter(tiny()).eval()
    segmenter.add_adapter("vision_10_attention_beside", Negated())
    attended = []
    layer = segmenter.clipseg.clip.vision_model.encoder.layers[9]
    layer.self_attn.register_forward_hook(lambda *call: attended.append(call[2][0]))
    with torch.no_grad():
        x = segmenter.vision_states(batch["pixel_values"])[-1]
        expected = attended[0] + layer.mlp(layer.layer_norm2(attended[0]))
        others = zip(
            segmenter.vision_states(batch["pixel_values"]), plain.vision_states(batch["pixel_values"]), strict=True
        )
    assert (x - expected).abs().max() <= 1e-5
    assert [torch.equal(*pair) for pair in others] == [True, True, False]


def test_prompt_tokens_are_ordinary_tokens_that_nobody_reads(batch):
    """Copies of the image's own patches as prompts: self-attention does not tell tokens apart by place."""

    class Copies(nn.Module):
        def forward(self, x):
            return x[:, 1:]

    segmenter, plain = Segmenter(tiny()).eval(), Segmenter(tiny()).eval()
    segmenter.add_adapter("vision_10_prompt", Copies())
    layer = plain.clipseg.clip.vision_model.encoder.layers[9]
    inputs_of_layer = []
    layer.layer_norm1.register_forward_hook(lambda *call: inputs_of_layer.append(call[1][0]))
    with torch.no_grad():
        plain.vision_states(batch["pixel_values"])
        x = inputs_of_layer[0]
        expected = plain._layer("vision", 9, torch.cat([x, x[:, 1:]], dim=1))[:, : x.shape[1]]
        assert (segmenter.vision_states(batch["pixel_values"])[-1] - expected).abs().max() <= 1e-5


def test_later_prompt_tokens_take_the_place_of_earlier_ones(batch):
    lengths = []
    segmenter = Segmenter(tiny()).eval()
    for layer, count in ((1, 5), (4, 2)):
        segmenter.add_adapter(f"vision_{layer}_prompt", PromptTokens(count, segmenter.features().vision))
    for layer in segmenter.clipseg.clip.vision_model.encoder.layers:
        layer.layer_norm1.register_forward_hook(lambda *call: lengths.append(call[2].shape[1]))
    states = segmenter.vision_states(batch["pixel_values"])
    assert lengths == [37 + 5] * 3 + [37 + 2] * 7
    assert {state.shape[1] for state in states} == {37}


def test_learned_context_stands_where_words_would(batch):
    """Embeddings of words as context give what these words in the prompt give."""
    words = torch.tensor([11, 12, 13])
    segmenter, plain = Segmenter(tiny()).eval(), Segmenter(tiny()).eval()
    segmenter.add_adapter("text_context", PromptTokens(3, segmenter.features().text))
    with torch.no_grad():
        embeddings = segmenter.clipseg.clip.text_model.embeddings
        segmenter.adapters["text_context"].tokens.copy_(embeddings.token_embedding(words))
        ids = batch["input_ids"]
        longer = torch.cat([ids[:, :1], words.expand(len(ids), -1), ids[:, 1:-3]], dim=1)
        feature = segmenter.conditional_embedding(segmenter.text_prefix(ids))
        expected = plain.conditional_embedding(plain.text_prefix(longer))
        assert (feature - expected).abs().max() <= 1e-5
        # A prompt that fills all positions loses its last words, not its EOS.
        full = torch.randint(1, 50, ids.shape, generator=torch.Generator().manual_seed(0))
        full[:, -1] = ids.max()
        shorter = torch.cat([full[:, :1], words.expand(len(ids), -1), full[:, 1:-4], full[:, -1:]], dim=1)
        feature = segmenter.conditional_embedding(segmenter.text_prefix(full))
        expected = plain.conditional_embedding(plain.text_prefix(shorter))
        assert (feature - expected).abs().max() <= 1e-5


def test_what_is_unfrozen_by_pattern():
    segmenter = Segmenter(tiny())
    segmenter.unfreeze(r"clip\.(vision|text)_model\.final_layer_norm\.bias")
    assert segmenter.trainable_parameters().keys() == {"clipseg.clip.text_model.final_layer_norm.bias"}
    assert segmenter.first_trained_layer("text") == 12
    for pattern in (r"clip\.vision_model\.post_layernorm\..*", "nothing"):
        with pytest.raises(ValueError, match="matches no parameter of CLIPSeg that can influence the mask"):
            segmenter.unfreeze(pattern)


def test_any_kind_trains_further_parameters():
    """Also those of modules that peft puts others around."""
    names = {
        "clipseg.decoder.film_mul.bias",
        "clipseg.clip.vision_model.encoder.layers.0.self_attn.q_proj.base_layer.bias",
    }
    unfreeze = [r"decoder\.film_mul\.bias", r"clip\.vision_model\.encoder\.layers\.0\.self_attn\.q_proj\.bias"]
    lora = build_segmenter("lora", tiny()).trainable_parameters().keys()
    both = build_segmenter({"kind": "lora", "unfreeze": unfreeze}, tiny()).trainable_parameters().keys()
    assert both - lora == names and lora < both
    with pytest.raises(ValueError, match="no regular expression"):
        build_segmenter({"kind": "lora", "unfreeze": ["("]}, tiny())
