"""The U-Net with a pretrained encoder: counts, what its file must hold, cost, and that a run starts from it.

The weights here are random, in the published file's layout.
"""

import json
import re

import pytest
import torch
from model_support import Attack, inputs, tiny, trained_start
from monai.networks.nets import EfficientNetBN
from training_support import write_prepared

from pipeline.check import check_variants
from pipeline.cost.flops import count_flops
from pipeline.models.backbone import empty_backbone, full_size_config, load_backbone, tiny_config
from pipeline.models.kinds import parse_variant
from pipeline.models.preprocessing import IMAGE_MEAN, IMAGE_STD
from pipeline.models.variants import build_segmenter
from pipeline.models.weights import load_weights, read_metadata
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.manifest import file_sha256
from pipeline.training.optimizer import part_of
from pipeline.training.settings import TrainingSettings
from pipeline.training.train import train_run

SMALL = {"kind": "unet_pretrained", "decoder_channels": [8, 8, 4, 4, 2]}
KIND = parse_variant(SMALL)
# Table 1 of EfficientNet's paper: blocks, kernel, expansion, features before and after, halvings before its output.
STAGES = [(1, 3, 1, 32, 16, 1), (2, 3, 6, 16, 24, 2), (2, 5, 6, 24, 40, 3), (3, 3, 6, 40, 80, 4)]
STAGES += [(3, 5, 6, 80, 112, 4), (4, 5, 6, 112, 192, 5), (1, 3, 6, 192, 320, 5)]
EXTRACTED = [320, 112, 40, 24, 16]


def block(kernel: int, expansion: int, before: int, after: int) -> int:
    """Convolutions without biases, each with a norm, and the two of squeeze-and-excitation with biases."""
    inner, squeezed = expansion * before, before // 4
    expand = before * inner + 2 * inner if expansion > 1 else 0
    excite = 2 * inner * squeezed + squeezed + inner
    return expand + kernel**2 * inner + 2 * inner + excite + inner * after + 2 * after


def encoder() -> int:
    stages = (block(k, e, a, b) + (n - 1) * block(k, e, b, b) for n, k, e, a, b, _ in STAGES)
    return 3 * 32 * 9 + 2 * 32 + sum(stages)


def decoder(channels: list[int]) -> int:
    """Upsampling with half the features but for the last block, two convolutions with norms; the head."""
    count, before = 9 * channels[-1] + 1, EXTRACTED[0]
    for after, beside in zip(channels, [*EXTRACTED[1:], 0], strict=True):
        raised = before // 2 if beside else before
        count += before * raised + raised if beside else 0
        count += 9 * (raised + beside) * after + 9 * after**2 + 4 * after
        before = after
    return count


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file in EfficientNet-PyTorch's layout: stages are not numbered, and the classifier is part of it."""
    torch.manual_seed(3)
    state = {
        re.sub(r"^_blocks\.\d+\.", "_blocks.", name): torch.rand_like(value) if "running" in name else value
        for name, value in EfficientNetBN("efficientnet-b0", pretrained=False).state_dict().items()
        if "num_batches" not in name
    }
    path = tmp_path_factory.mktemp("pretrained") / "efficientnet-b0"
    # Files of that time are no archives.
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


@pytest.mark.parametrize(
    ("variant", "channels"), [("unet_pretrained", [256, 128, 64, 32, 16]), (SMALL, SMALL["decoder_channels"])]
)
def test_parameters(variant, channels):
    model = build_segmenter(variant, empty_backbone(full_size_config()))
    parts = {"encoders": 0, "decoder": 0}
    for name, value in model.trainable_parameters().items():
        parts[part_of(name)] += value.numel()
    assert parts == {"encoders": encoder(), "decoder": decoder(channels)}
    if variant == "unet_pretrained":
        assert sum(parts.values()) == sum(value.numel() for value in model.parameters()) == 5_367_117


def test_cost_and_check_need_no_file():
    check_variants({"small": SMALL}, "tiny")
    cost = count_flops(build_segmenter(SMALL, empty_backbone(tiny_config(), "eager")), 64)
    # Backward: as much as forward for all weights, and again for all inputs but the image.
    stem = 2 * 3 * 32 * 9 * 32**2
    assert cost.training_flops == 3 * cost.inference_flops - stem


def test_it_starts_from_the_file(published):
    model = build_segmenter(SMALL, tiny())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    KIND.load_start(model, None, published)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {part_of(name) for name in changed} == {"encoders"}
    classifier = EfficientNetBN("efficientnet-b0", pretrained=False)
    file = torch.load(published, weights_only=True)
    own = {name: re.sub(r"^_blocks\.\d+\.", "_blocks.", name) for name in classifier.state_dict()}
    classifier.load_state_dict({name: file[key] for name, key in own.items() if key in file}, strict=False)
    # The classifier sees the last of the features, on images with ImageNet's mean and deviation.
    images, seen = inputs(tiny().config)["pixel_values"], []
    classifier._conv_head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with torch.no_grad():
        classifier.eval()(images)
        features = model.eval().network.encoder(images)
    assert torch.equal(features[-1], seen[0]) and seen[0].std() > 0
    assert (IMAGE_MEAN, IMAGE_STD) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_files_that_are_refused(published, tmp_path):
    model = build_segmenter(SMALL, tiny())
    state = torch.load(published, weights_only=True)
    del state["_conv_stem.weight"]
    torch.save(state | {"_bn0.weight": torch.ones(1)}, tmp_path / "other")
    touched = tmp_path / "touched"
    torch.save({"_bn0.weight": Attack(touched.touch)}, tmp_path / "attack")
    (tmp_path / "cut").write_bytes(published.read_bytes()[:9000])
    for name, words in (
        ("other", r"1 tensors missing \['_conv_stem.weight'\].*1 of another shape"),
        ("attack", "no file of weights.*fetched again"),
        ("cut", "no file of weights"),
        ("absent", "no file of weights"),
    ):
        with pytest.raises(PipelineError, match=words):
            KIND.load_start(model, None, tmp_path / name)
    assert not touched.exists()


def test_a_run_starts_from_the_file_and_is_used_without_it(published, tmp_path):
    tensors, backbone = write_prepared(tmp_path)
    settings = TrainingSettings(batch_size=4, max_epochs=1, learning_rates={"encoders": 1e-9}, learning_rate=1e-3)
    output = tmp_path / "run"
    arguments = (tensors, backbone, SMALL, settings, 41, 1, tmp_path / "state", output, "a run")
    with pytest.raises(PipelineError, match="a run: starts from efficientnet-b0: name its file by --pretrained"):
        train_run(*arguments)
    train_run(*arguments, pretrained=published)
    record = json.loads((output / "manifest.json").read_text())
    assert record["pretrained_sha256"] == file_sha256(published)
    assert read_metadata(output / "weights.safetensors")["pretrained_sha256"] == record["pretrained_sha256"]
    model = load_weights(output / "weights.safetensors", load_backbone(backbone))
    name = "_conv_stem.weight"
    stem, file = model.network.encoder.state_dict()[name], torch.load(published, weights_only=True)[name]
    assert (stem - file).abs().max() < 1e-6
    assert model(inputs(tiny().config)["pixel_values"]).shape == (3, 1, 64, 64)


def test_batch_statistics_are_loaded():
    model, fresh = trained_start(SMALL, tiny()), build_segmenter(SMALL, tiny())
    fresh.load_trained_state(model.trained_state())
    images = inputs(tiny().config)["pixel_values"]
    assert torch.equal(fresh.eval()(images), model(images))
