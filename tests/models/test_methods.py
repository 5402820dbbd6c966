"""The methods beside the paper's: counts, starts, what learns, merging, saving and caching."""

import copy
from pathlib import Path

import pytest
import torch
from model_support import inputs, tiny, trained_start

from pipeline.config import read_study
from pipeline.demo.tiny import write_tokenizer
from pipeline.models.backbone import empty_backbone, full_size_config
from pipeline.models.kinds import parse_variant
from pipeline.models.merging import merge_adapters
from pipeline.models.preprocessing import crop_to_longest, load_tokenizer, tokenise
from pipeline.models.segmenter import Segmenter
from pipeline.models.variants import build_segmenter
from pipeline.models.weights import load_weights, save_weights
from pipeline.runtime.errors import PipelineError
from pipeline.training.loss import dice_bce_loss
from pipeline.training.optimizer import part_of

STUDY = read_study(Path(__file__).parents[2] / "config.yaml")
# Features of states and inside MLPs, at full size, and layers that can influence the mask.
VISION, TEXT, DECODER = (768, 3072, 10), (512, 2048, 12), (64, 2048, 3)
STACKS = (VISION, TEXT, DECODER)
# Adapted layers of LoRA and of bottlenecks: features of states and inside MLPs.
LAYERS = [(768, 3072)] * 9 + [(512, 2048)] * 3


def bottleneck(features: int, width: int) -> int:
    """Two matrices and two biases."""
    return 2 * features * width + features + width


# What each linear and norm of a stack gives: four projections, two norms, two linears; then the two norms outside of
# layers, the decoder's three reductions and two modulations.
OUTPUTS = sum(layers * (7 * d + inner) for d, inner, layers in STACKS) + 768 + 512 + 5 * 64
COUNTS = {
    # The last three convolutions of the decoder have biases too.
    "bitfit": OUTPUTS + 64 + 32 + 1,
    "layer_norm": sum(layers * 4 * d for d, _, layers in STACKS) + 2 * (768 + 512),
    "ssf": 2 * OUTPUTS,
    "ia3": sum(layers * (2 * d + inner) for d, inner, layers in STACKS),
    "lora_mlp": 7 * sum(2 * (d + inner) for d, inner in LAYERS),
    "lora_all": 4 * sum(4 * 2 * d + 2 * (d + inner) for d, inner in LAYERS),
    "dora": sum(4 * (9 * 2 * d + d) for d, _ in LAYERS),
    "adaptformer": sum(bottleneck(d, 36) for d, _ in LAYERS),
    "houlsby": sum(2 * bottleneck(d, 17) + 4 * d for d, _ in LAYERS),
    "pfeiffer": sum(bottleneck(d, 36) for d, _ in LAYERS),
    # Rank one: vectors of both sizes for each of two weights, two biases, and the shared factors.
    "compacter": sum(2 * (2 * (d + 24) + d + 24) for d, _ in LAYERS) + 4**3,
    "vpt_shallow": 50 * 768,
    "vpt_deep": 10 * 80 * 768,
    "coop": 16 * 512,
    "coop_words": 4 * 512,
    "coop_vpt": 16 * 512 + 10 * 79 * 768,
    "telescopic_decoder": 613_297 + 1_127_009,
    # A transposed convolution of 4 by 4 from 32 channels to one.
    "linear_probe": 32 * 4 * 4 + 1,
}
# Matched to the telescopic total as closely as an integer allows; the others have one natural size.
MATCHED = {"lora_mlp", "lora_all", "dora", "adaptformer", "houlsby", "pfeiffer", "vpt_deep", "coop_vpt"}
# Start as zero-shot, or nearly so; the spread of the logits is one.
SAME = {
    "bitfit",
    "layer_norm",
    "ssf",
    "ia3",
    "lora_mlp",
    "lora_all",
    "dora",
    "adaptformer",
    "compacter",
    "linear_probe",
}
NEAR = {"houlsby", "pfeiffer"}
MERGED = {"ssf", "ia3", "lora_mlp", "lora_all", "dora"}


def settings(name: str) -> dict:
    return STUDY.variants[name].settings.model_dump(mode="json")


def total(variant) -> int:
    segmenter = build_segmenter(variant, empty_backbone(full_size_config()))
    return sum(value.numel() for value in segmenter.trainable_parameters().values())


@pytest.fixture(scope="module")
def batch():
    return inputs(tiny().config, batch=2, size=96)


@pytest.fixture(scope="module")
def zero_shot(batch):
    return Segmenter(tiny()).eval()(**batch)


@pytest.fixture(scope="module")
def trained():
    """Each method as after a training, built once; to be copied by who changes it."""
    return {name: trained_start(settings(name), tiny()) for name in COUNTS}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_at_full_size(name):
    assert total(settings(name)) == COUNTS[name]


@pytest.mark.parametrize("name", sorted(MATCHED))
def test_matched_sizes_are_the_closest_to_the_telescopic_total(name):
    """One more, or one less, of the setting that decides the size is further away."""
    variant = settings(name)
    (key,) = variant.keys() & {"rank", "width", "visual"}
    less, more = (abs(total(variant | {key: variant[key] + step}) - 613_297) for step in (-1, 1))
    assert abs(COUNTS[name] - 613_297) < min(less, more, 0.05 * 613_297)


@pytest.mark.parametrize("name", COUNTS)
def test_where_methods_start(name, batch, zero_shot):
    torch.manual_seed(0)
    with torch.no_grad():
        change = (build_segmenter(settings(name), tiny()).eval()(**batch) - zero_shot).std()
    if name in SAME:
        assert change <= 1e-5
    else:
        assert 0 < change <= 1e-4 if name in NEAR else change > 1e-3


@pytest.mark.parametrize("name", COUNTS)
def test_gradients_reach_what_is_trained_and_nothing_else(name, batch, trained):
    segmenter = copy.deepcopy(trained[name]).train()
    dice_bce_loss(segmenter(**batch), (batch["pixel_values"][:, :1] > 0.3).float()).backward()
    for key, value in segmenter.named_parameters():
        assert value.requires_grad or value.grad is None, f"frozen {key} has a gradient"
        # A key's bias cannot influence the mask, so its gradient is a rounding error.
        if value.requires_grad and not key.endswith("k_proj.bias"):
            assert value.grad.isfinite().all() and value.grad.any(), key
    parts = {part_of(key) for key in segmenter.trainable_parameters()}
    expected = {"bitfit": {"encoders", "decoder"}, "layer_norm": {"encoders", "decoder"}, "linear_probe": {"decoder"}}
    expected |= {"telescopic_decoder": {"adapters", "decoder"}, "houlsby": {"adapters", "encoders"}}
    assert parts == expected.get(name, {"adapters"})


@pytest.mark.parametrize("name", sorted(MERGED))
def test_merged_equals_unmerged(name, batch, trained):
    segmenter, plain = copy.deepcopy(trained[name]), tiny()
    with torch.no_grad():
        logits = segmenter(**batch)
        merged = merge_adapters(segmenter)
        assert (merged(**batch) - logits).abs().max() <= 1e-4 * logits.abs().max()
        assert (logits - Segmenter(plain).eval()(**batch)).abs().max() > 1e-2
    # What is left is a CLIPSeg like any other, with these logits.
    assert not merged.adapters and merged.clipseg.state_dict().keys() == plain.state_dict().keys()
    assert (merged.clipseg(**batch).logits - logits[:, 0]).abs().max() <= 1e-4 * logits.abs().max()


@pytest.mark.parametrize("name", COUNTS)
def test_saved_and_loaded(name, batch, trained, tmp_path):
    save_weights(tmp_path / "weights.safetensors", trained[name], settings(name), {})
    loaded = load_weights(tmp_path / "weights.safetensors", tiny())
    with torch.no_grad():
        assert torch.equal(loaded(**batch), trained[name](**batch))


@pytest.mark.parametrize("name", COUNTS)
def test_cached_equals_plain(name, batch, trained):
    """From the first place that is trained: the text's prefix, and the vision states where that encoder is frozen."""
    segmenter = trained[name]
    with torch.no_grad():
        expected = segmenter(**batch)
        text = segmenter.text_prefix(crop_to_longest(batch["input_ids"]))
        frozen = segmenter.first_trained_layer("vision") == segmenter.vision_depth
        vision = segmenter.vision_states(batch["pixel_values"]) if frozen else None
        logits = segmenter(batch["pixel_values"], text=text, vision=vision)
    assert (logits - expected).abs().max() <= 1e-5
    assert frozen == (name in ("coop", "coop_words", "linear_probe"))
    first = {"bitfit": (-1, 0), "lora_mlp": (0, 9), "vpt_deep": (0, 12), "coop": (10, -1), "linear_probe": (10, 12)}
    found = (segmenter.first_trained_layer("vision"), segmenter.first_trained_layer("text"))
    assert found == first.get(name, found)


def test_context_from_words_starts_as_the_prompt_with_these_words(tmp_path, batch):
    write_tokenizer(tmp_path)
    settings = {"kind": "prompt_tuning", "visual": 0, "context": 4, "context_init": "one image of a"}
    segmenter, plain = build_segmenter(settings, tiny()).eval(), Segmenter(tiny()).eval()
    tokenizer = load_tokenizer(tmp_path)
    prompts = ["pink polyp", "one small round polyp at the top of the image"]
    parse_variant(settings).load_start(segmenter, tmp_path, None)
    with torch.no_grad():
        logits = segmenter(batch["pixel_values"], tokenise(tokenizer, prompts)[0])
        expected = plain(batch["pixel_values"], tokenise(tokenizer, [f"one image of a {text}" for text in prompts])[0])
    assert (logits - expected).abs().max() <= 1e-5 and logits.std() > 0.1
    with pytest.raises(PipelineError, match=r"'a photo of a' has 7 tokens in .*; set context to that number"):
        parse_variant(settings | {"context_init": "a photo of a"}).load_start(segmenter, tmp_path, None)


def test_what_prompt_tuning_and_compacter_refuse():
    for variant, words in (
        ({"kind": "prompt_tuning", "visual": 0}, "no tokens: set visual or context above 0"),
        ({"kind": "prompt_tuning", "context": 1, "context_init": "a photo"}, "more words than context tokens"),
        ({"kind": "compacter", "width": 10}, "width 10 is no multiple of products 4"),
    ):
        with pytest.raises(ValueError, match=words):
            parse_variant(variant)
    with pytest.raises(ValueError, match="cannot be divided by 5 Kronecker products"):
        build_segmenter({"kind": "compacter", "products": 5, "width": 10}, tiny())
