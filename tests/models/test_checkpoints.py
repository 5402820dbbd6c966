"""Released checkpoints: the three layouts, read to the same logits and written back; broken and malicious files."""

import copy
import functools
import itertools
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from model_support import Attack, inputs, scaled_backbone, tiny, trained_start
from released_oracle import released_logits

from pipeline.models import checkpoints, load_released_checkpoint
from pipeline.models.backbone import tiny_config
from pipeline.models.checkpoints import export
from pipeline.models.variants import build_segmenter
from pipeline.models.weights import load_weights, save_weights
from pipeline.runtime.errors import PipelineError


@functools.cache
def other_clipseg():
    """Another CLIPSeg than the one a test passes in: the file's own weights must win."""
    return scaled_backbone(tiny_config(), seed=5)


def clipseg_tensors() -> dict[str, torch.Tensor]:
    """Its tensors under a release's keys."""
    return {f"clipseg.{name}": value for name, value in other_clipseg().state_dict().items()}


def _adapter(layout: str, name: str, features: int, width: int) -> dict[str, torch.Tensor]:
    if layout == "telescopic":
        return {
            f"{name}.down_project.weight": torch.randn(width, features) * 0.2,
            f"{name}.up_project.weight": torch.randn(features, width) * 0.2,
            f"{name}.norm.weight": 1 + torch.randn(width) * 0.2,
            f"{name}.norm.bias": torch.randn(width) * 0.2,
            f"{name}.scale": torch.rand(1) + 0.1,
        }
    shapes = {"fc1.weight": (width, features), "fc1.bias": width, "fc2.weight": (features, width), "fc2.bias": features}
    return {f"{name}.{key}": torch.randn(shape) * 0.05 for key, shape in shapes.items()}


def released_state(layout: str) -> dict[str, torch.Tensor]:
    """The tensors of a release in its own key layout, for the tiny CLIPSeg (vision 128, text and projection 64)."""
    torch.manual_seed(2)
    state = clipseg_tensors()
    if layout == "vlsm_shallow":
        names = [(f"vision_extract_adapters.{i}", 128, 512) for i in range(3)]
        names += [(f"text_extract_adapters.{i}", 64, 512) for i in range(3)]
        clip = [name for name in state if name.startswith("clipseg.clip.")]
        state |= {name.removeprefix("clipseg."): state[name] for name in clip}
    else:
        telescopic = layout == "telescopic"
        vision, text = ([8, 8, 10, 14, 17, 21, 24, 28, 32], [16] * 3) if telescopic else ([64] * 9, [64] * 9)
        names = [(f"v_{part}_adapters.{i}", 128, width) for part in ("attn", "out") for i, width in enumerate(vision)]
        names += [(f"l_{part}_adapters.{i}", 64, width) for part in ("attn", "out") for i, width in enumerate(text)]
    for name in [*names, ("cond_adapter", 64, 16 if layout == "telescopic" else 256)]:
        state |= _adapter(layout, *name)
    if layout == "telescopic":
        state |= {
            "boundary_enhancer.0.weight": torch.randn(4, 1, 3, 3),
            "boundary_enhancer.1.weight": torch.rand(4) + 0.5,
            "boundary_enhancer.1.bias": torch.randn(4),
            "boundary_enhancer.1.running_mean": torch.randn(4),
            "boundary_enhancer.1.running_var": torch.rand(4) + 0.5,
            "boundary_enhancer.1.num_batches_tracked": torch.tensor(123),
            "boundary_enhancer.3.weight": torch.randn(1, 4, 1, 1),
        }
    return state


LAYOUTS = ["telescopic", "vlsm_dense", "vlsm_shallow"]


def lightning_file(path: Path, state: dict[str, torch.Tensor], **parts) -> Path:
    """What Lightning saves around a model's tensors: loops, optimiser, and hyper-parameters with classes in them."""
    content = {
        "epoch": 57,
        "global_step": 1_450,
        "pytorch-lightning_version": "2.2.4",
        "state_dict": {f"net.{name}": value for name, value in state.items()},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 58}}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.91), "best_model_path": "best.ckpt"}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1_450.0)}}, "param_groups": [{"lr": 1e-3}]}],
        "hparams_name": "kwargs",
        "hyper_parameters": {
            "optimizer": functools.partial(torch.optim.AdamW, lr=1e-3, weight_decay=1e-3),
            "scheduler": functools.partial(torch.optim.lr_scheduler.ReduceLROnPlateau, factor=0.3),
            "loss_fn": torch.nn.BCEWithLogitsLoss(),
        },
        **parts,
    }
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def batch():
    return inputs(tiny_config(), size=96)


# ------------------------------------------------------------------ reading


def test_the_oracle_is_clipseg_where_there_are_no_adapters(batch):
    model = tiny()
    state = {f"clipseg.{name}": value for name, value in model.state_dict().items()}
    with torch.no_grad():
        expected = model(**batch).logits
        logits = released_logits(state, model.config, batch["pixel_values"], batch["input_ids"])
    assert expected.std() > 0.5
    assert (logits[:, 0] - expected).abs().max() < 1e-4


def assert_agree(logits: torch.Tensor, state: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> None:
    """That ``logits`` are those of a file's own forward: two implementations of some forty layers in float32."""
    expected = released_logits(state, tiny_config(), batch["pixel_values"], batch["input_ids"])
    assert expected.std() > 0.1
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    ("layout", "absent"),
    [
        *((layout, ("none",)) for layout in LAYOUTS),
        # The reference's classes can leave out each branch.
        *itertools.product(LAYOUTS[:2], [("cond_adapter",), ("l_attn", "l_out"), ("v_attn", "v_out")]),
    ],
)
def test_released_checkpoint_gives_the_logits_of_its_own_forward(tmp_path, batch, layout, absent):
    state = {name: value for name, value in released_state(layout).items() if not name.startswith(absent)}
    segmenter = load_released_checkpoint(lightning_file(tmp_path / "best.ckpt", state), tiny())
    assert not segmenter.training
    with torch.no_grad():
        logits = segmenter(**batch)
        # What the adapters do is far above the tolerance.
        plain = build_segmenter("zero_shot", copy.deepcopy(other_clipseg())).eval()(**batch)
    assert (plain - logits).abs().max() > 0.1
    assert_agree(logits, state, batch)


def test_a_bare_state_dict_of_older_versions_is_read(tmp_path):
    """Without Lightning's prefix, and with the position numbers that transformers stored once."""
    state = released_state("telescopic")
    state["clipseg.clip.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    torch.save(state, tmp_path / "bare.pt")
    segmenter = load_released_checkpoint(tmp_path / "bare.pt", tiny())
    scale = segmenter.adapters["vision_9_mlp"].scale
    assert torch.equal(scale.detach(), state["v_out_adapters.8.scale"])


# ------------------------------------------------------------------ what is refused


def refused(path: Path) -> str:
    """The message with which a file is refused; it names the file."""
    with pytest.raises(PipelineError) as error:
        load_released_checkpoint(path, tiny())
    message = str(error.value)
    assert str(path) in message
    return message


@pytest.mark.parametrize("place", ["hyper_parameters", "state_dict"])
@pytest.mark.parametrize("function", [os.mkdir, os.system, eval])
def test_a_malicious_file_executes_nothing(tmp_path, function, place):
    marker = tmp_path / "executed"
    argument = {
        os.mkdir: str(marker),
        os.system: f"touch '{marker}'",
        eval: f"__import__('os').mkdir({str(marker)!r})",
    }[function]
    path = lightning_file(tmp_path / "evil.ckpt", released_state("telescopic"), **{place: Attack(function, argument)})
    message = refused(path)
    assert "refused" in message and "nothing in it was executed" in message
    assert function.__name__ in message
    assert not marker.exists()
    # The attack is real: the ordinary way of loading runs it.
    torch.load(path, weights_only=False)
    assert marker.exists()


def test_attacks_by_other_ways_execute_nothing(tmp_path):
    """functools.partial and pathlib.Path may be named in a file, yet stay without effect; old pickles are refused."""
    marker = tmp_path / "executed"
    refused(lightning_file(tmp_path / "a.ckpt", released_state("telescopic"), callbacks=Attack(Path.mkdir, marker)))
    (tmp_path / "old.ckpt").write_bytes(pickle.dumps(Attack(os.mkdir, str(marker))))
    assert "not a whole file of torch.save" in refused(tmp_path / "old.ckpt")
    assert not marker.exists()


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    content[largest.header_offset + largest.file_size // 2] ^= 1
    path.write_bytes(content)


def _compressed(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b""), ""),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), ""),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 3]), ""),
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), ""),
        (_flipped, "BadZipFile: "),
        (_compressed, "BadZipFile: compressed members"),
        (lambda path: path.write_text("<!DOCTYPE html><title>Sign in</title>"), ""),
        (lambda path: zipfile.ZipFile(path, "w").writestr("readme.txt", "no model"), ""),
    ],
)
def test_broken_files_are_to_be_downloaded_again(tmp_path, spoil, reason):
    path = lightning_file(tmp_path / "best.ckpt", released_state("telescopic"))
    spoil(path)
    message = refused(path)
    assert f"not a whole file of torch.save ({reason}" in message and "download it again" in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2, 3], "holds no state_dict of tensors"),
        ({"state_dict": {"net.v_attn_adapters": 3}}, "holds no state_dict of tensors"),
        (
            {"bias": torch.zeros(4), "weight": torch.zeros(4, 3)},
            "known kind among 2 keys, e.g. ['bias', 'weight']",
        ),
        ({"weight": torch.zeros(1).expand(10**15)}, "weight, (1000000000000000,), is no dense tensor"),
        ({"weight": torch.zeros(3, 3).to_sparse()}, "weight, (3, 3), is no dense tensor"),
        ({"l_attn_adapters.0.down_project.weight": torch.zeros(10**15, 0)}, "no matrix l_attn_adapters.0"),
        ({f"v_attn_adapters.{'9' * 5000}.fc1.weight": torch.zeros(3, 3)}, "none that this project knows"),
    ],
)
def test_files_that_are_something_else(tmp_path, content, reason):
    torch.save(content, tmp_path / "other.ckpt")
    assert reason in refused(tmp_path / "other.ckpt")


def test_a_missing_file_and_one_without_adapters_are_named(tmp_path):
    assert "no such file" in refused(tmp_path / "absent.ckpt")
    assert "no adapters of a known kind" in refused(lightning_file(tmp_path / "plain.ckpt", clipseg_tensors()))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("v_out_adapters.4.scale", None, "1 tensors missing ['v_out_adapters.4.scale']"),
        ("head.weight", torch.zeros(2), "1 foreign ['head.weight']"),
        ("l_out_adapters.1.norm.bias", torch.zeros(15), "l_out_adapters.1.norm.bias (15,) for (16,)"),
        ("v_attn_adapters.0.down_project.weight", torch.zeros(4, 128), "greater than or equal to 8"),
        ("v_attn_adapters.0.down_project.weight", torch.zeros(9000, 128), "less than or equal to 8192"),
    ],
)
def test_every_key_and_shape_is_checked(tmp_path, key, value, reason):
    state = released_state("telescopic") | {key: value}
    if value is None:
        del state[key]
    assert reason in refused(lightning_file(tmp_path / "x.ckpt", state))


def test_a_checkpoint_of_another_backbone_is_refused(tmp_path):
    config = tiny_config()
    config.reduce_dim = 16
    path = lightning_file(tmp_path / "x.ckpt", released_state("telescopic"))
    with pytest.raises(PipelineError, match="does not fit this backbone: 0 tensors missing"):
        load_released_checkpoint(path, scaled_backbone(config))


def test_a_shallow_file_whose_two_clips_differ_is_refused(tmp_path):
    state = released_state("vlsm_shallow")
    name = "clip.text_model.final_layer_norm.weight"
    state[name] = state[name] + 1
    message = refused(lightning_file(tmp_path / "x.ckpt", state))
    assert f"1 tensors under clip. differ from those under clipseg.clip., e.g. {name}" in message


# ------------------------------------------------------------------ writing


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """Folder of the tiny CLIPSeg."""
    folder = tmp_path_factory.mktemp("backbone")
    tiny().save_pretrained(folder)
    return folder


def stored_run(folder: Path, variant: dict) -> Path:
    """A run's folder."""
    save_weights(folder / "weights.safetensors", trained_start(variant, tiny()), variant, {"seed": "41"})
    return folder


EXPORTED = {
    "telescopic": {"kind": "telescopic"},
    "vision": {"kind": "telescopic", "schedule": "uniform", "branches": ["vision"], "mask_refinement": False},
    "fixed_alpha": {"kind": "telescopic", "alpha_learned": False},
    "vlsm_dense": {"kind": "vlsm_dense"},
    "vlsm_shallow": {"kind": "vlsm_shallow"},
}


@pytest.mark.parametrize("name", EXPORTED)
def test_export_is_read_back_to_the_same_logits(tmp_path, backbone, batch, name):
    run, output = stored_run(tmp_path, EXPORTED[name]), tmp_path / "export.ckpt"
    export(run, backbone, output)
    with torch.no_grad():
        expected = load_weights(run / "weights.safetensors", tiny())(**batch)
        # Read into another backbone: the file holds its own.
        logits = load_released_checkpoint(output, copy.deepcopy(other_clipseg()))(**batch)
    assert torch.equal(logits, expected)
    state = torch.load(output, weights_only=True)["state_dict"]
    assert all(key.startswith("net.") for key in state)
    assert_agree(logits, {key.removeprefix("net."): value for key, value in state.items()}, batch)
    first = output.read_bytes()
    export(run, backbone, output)
    assert output.read_bytes() == first


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_command_line_exports_the_keys_of_the_release(tmp_path, backbone, layout, monkeypatch, capsys):
    """As the reference loads: every key and no other (its load_state_dict is strict)."""
    run, output = stored_run(tmp_path, {"kind": layout}), tmp_path / "deep/er/export.ckpt"
    arguments = ["export", "--run", str(run), "--backbone", str(backbone), "--output", str(output)]
    monkeypatch.setattr("sys.argv", ["checkpoints", *arguments])
    checkpoints.main()
    assert f"tensors of a {layout}" in capsys.readouterr().err
    state = torch.load(output, weights_only=True)["state_dict"]
    expected = {f"net.{name}": value.shape for name, value in released_state(layout).items()}
    assert {name: value.shape for name, value in state.items()} == expected


@pytest.mark.parametrize(
    "variant, reason",
    [
        ({"kind": "lora"}, "no place for kind 'lora'"),
        ({"kind": "telescopic", "text_layers": [7, 8, 9]}, "no place for an adapter at text_7_attention"),
        ({"kind": "telescopic", "vision_layers": [7, 8, 9]}, "no place for an adapter at vision_7_attention"),
    ],
)
def test_variants_without_a_layout_are_refused(tmp_path, backbone, variant, reason):
    run = stored_run(tmp_path, variant)
    with pytest.raises(PipelineError, match=f"cannot be written in the authors' layout: the layouts have {reason}"):
        export(run, backbone, tmp_path / "export.ckpt")
    assert not (tmp_path / "export.ckpt").exists()
