"""Loading the backbone from its folder."""

import pytest
import torch
from model_support import inputs, linked, save_tiny, tiny

from pipeline.models.backbone import load_backbone, random_backbone, tiny_config
from pipeline.runtime.errors import PipelineError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("backbone"))


def test_a_loaded_backbone_is_the_stored_one(folder):
    model, expected = load_backbone(folder), tiny()
    assert not model.training
    assert {module.config._attn_implementation for module in model.modules() if hasattr(module, "config")} == {"sdpa"}
    for name, value in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    batch = inputs(model.config, size=96)
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, expected(**batch).logits)


def test_half_precision_files_become_float32(folder, tmp_path):
    path = linked(folder, tmp_path / "half", without="model.safetensors")
    tiny().half().save_pretrained(path)
    model = load_backbone(path)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    weight = "clip.text_projection.weight"
    assert torch.equal(model.state_dict()[weight], tiny().state_dict()[weight].half().float())


def test_a_random_backbone_depends_on_its_seed_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = random_backbone(tiny_config(), 3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second, third = random_backbone(tiny_config(), 3).state_dict(), random_backbone(tiny_config(), 4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["clip.text_projection.weight"], third["clip.text_projection.weight"])


def test_broken_folders_are_named(folder, tmp_path):
    with pytest.raises(
        PipelineError, match=r"absent/config\.json: cannot be read .*fetch or pretrain the backbone first"
    ):
        load_backbone(tmp_path / "absent")
    path = linked(folder, tmp_path / "cut", without="model.safetensors")
    (path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1000])
    with pytest.raises(PipelineError, match=r"model\.safetensors: cannot be read .*fetch or pretrain"):
        load_backbone(path)
    path = linked(folder, tmp_path / "other", without="config.json")
    config = tiny_config()
    config.reduce_dim = 16
    config.save_pretrained(path)
    with pytest.raises(PipelineError, match=r"not the weights of config\.json beside it: 0 tensors missing"):
        load_backbone(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"model_type": "clip"}', "model_type is 'clip'; only 'clipseg' can be used"),
        ("{", "not a CLIPSeg configuration"),
        ("[" * 100_000, "not a CLIPSeg configuration"),
        ('{"model_type": "clipseg", "vision_config": {"num_hidden_layers": 1000000000}}', "layers, but"),
        ('{"model_type": "clipseg", "vision_config": {"hidden_size": 1000000000008}}', "no model of these sizes"),
        ('{"model_type": "clipseg", "vision_config": {"num_attention_heads": 5}}', "not a CLIPSeg configuration"),
    ],
)
def test_hostile_configurations_are_named(folder, tmp_path, content, reason):
    path = linked(folder, tmp_path / "other", without="config.json")
    (path / "config.json").write_text(content)
    with pytest.raises(PipelineError, match=reason):
        load_backbone(path)
