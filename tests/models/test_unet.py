"""Models that are no CLIPSeg: counts, what they ignore, what is saved, and what they cost."""

import pytest
import torch
from model_support import inputs, tiny, trained_start
from torch import nn
from training_support import tiny_tokenizer

from pipeline.cost.flops import count_flops
from pipeline.evaluation.probability_maps import maps_by_prompt_type
from pipeline.models.backbone import empty_backbone, full_size_config
from pipeline.models.interface import ImageModel
from pipeline.models.variants import build_segmenter
from pipeline.models.weights import load_weights, save_weights

CHANNELS = [4, 6, 8, 10, 12]
SMALL = {"kind": "unet", "channels": CHANNELS}


def convolution(before: int, after: int, side: int) -> int:
    """Weights of a convolution without its biases."""
    return before * after * side**2


def weights(channels: list[int]) -> dict[int, int]:
    """Weights of a U-Net's convolutions by how often its image is halved before them; a transposed one counts below."""
    count = dict.fromkeys(range(5), 0)
    before = [3, *channels[:-1]]
    for level, (old, new) in enumerate(zip(before, channels, strict=True)):
        count[level] += convolution(old, new, 3) + convolution(new, new, 3)
    for level in range(4):
        # Upsampling halves the features, except at last, where as many come out as go in.
        above = channels[level + 1] // 2 if level else channels[1]
        count[level + 1] += convolution(channels[level + 1], above, 2)
        count[level] += convolution(channels[level] + above, channels[level], 3)
        count[level] += convolution(channels[level], channels[level], 3)
    count[0] += channels[0]
    return count


def parameters(channels: list[int]) -> int:
    # A bias, and scale and shift of the normalisation, behind each convolution of two; a bias behind each other one.
    pairs = [*channels, *channels[:-1]]
    upsampled = [channels[1], *(features // 2 for features in channels[2:])]
    return sum(weights(channels).values()) + sum(2 * 3 * features for features in pairs) + sum(upsampled) + 1


@pytest.mark.parametrize(("variant", "channels"), [("unet", [64, 128, 256, 512, 1024]), (SMALL, CHANNELS)])
def test_parameters(variant, channels):
    model = build_segmenter(variant, empty_backbone(full_size_config()))
    trained = sum(value.numel() for value in model.trainable_parameters().values())
    assert trained == parameters(channels) == sum(value.numel() for value in model.parameters())
    if variant == "unet":
        assert trained == 31_113_217


def test_gradients_under_bf16_on_a_cpu():
    """Unlike CLIPSeg's transposed convolutions, whose gradients PyTorch gets wrong there."""
    pixels, found = inputs(tiny().config, batch=2)["pixel_values"], []
    for enabled in (False, True):
        model = trained_start({"kind": "unet", "channels": [32, 32, 32, 32, 32]}, tiny())
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = model(pixels)
        trained = list(model.trainable_parameters().values())
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(logits.float().square().mean(), trained)]))
    exact, half = found
    assert (half - exact).norm() < 0.1 * exact.norm()


def test_the_prompt_changes_nothing():
    model = trained_start(SMALL, tiny())
    one, other = (inputs(tiny().config, seed=seed) for seed in (0, 1))
    expected = model(**one)
    assert expected.shape == (3, 1, 64, 64) and expected.std() > 0
    assert torch.equal(model(one["pixel_values"], other["input_ids"]), expected)
    assert torch.equal(model(text={}, vision=model.vision_states(one["pixel_values"])), expected)
    images = torch.randint(0, 255, (3, 64, 64, 3), dtype=torch.uint8).numpy()
    maps = maps_by_prompt_type(model, tiny_tokenizer(), images, [["pink polyp"] * 3, [""] * 3], batch_size=2)
    by_image = {}
    for _, index, probability in maps:
        by_image.setdefault(index, []).append(probability)
    assert sorted(by_image) == [0, 1, 2] and all((one == other).all() for one, other in by_image.values())


def test_saved_and_loaded_it_is_the_same(tmp_path):
    model, batch = trained_start(SMALL, tiny()), inputs(tiny().config)
    save_weights(tmp_path / "weights.safetensors", model, SMALL, {})
    # Whatever CLIPSeg is at hand.
    loaded = load_weights(tmp_path / "weights.safetensors", tiny("eager"))
    assert torch.equal(loaded(**batch), model(**batch))


def test_batch_statistics_are_part_of_the_state():
    model, fresh = (ImageModel(nn.Sequential(nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1)), multiple=1) for _ in range(2))
    images = torch.rand(2, 3, 8, 8)
    model.train()(images)
    assert "network.1.running_var" in model.trained_state()
    fresh.load_trained_state(model.trained_state())
    assert torch.equal(fresh.eval()(images), model.eval()(images))
    with pytest.raises(ValueError, match="do not fit this variant: 1 tensors missing"):
        fresh.load_trained_state({name: value for name, value in model.trained_state().items() if "var" not in name})


def test_cost_is_that_of_its_convolutions():
    side, model = 32, build_segmenter(SMALL, tiny())
    products = sum(count * (side >> level) ** 2 for level, count in weights(CHANNELS).items())
    cost = count_flops(model, side)
    assert cost.inference_flops == 2 * products
    # fvcore counts normalisations too.
    assert products < cost.inference_macs < 1.5 * products
    # Backward: gradients of all weights, and of all inputs but the image.
    assert cost.training_flops == 2 * (3 * products - convolution(3, CHANNELS[0], 3) * side**2)
