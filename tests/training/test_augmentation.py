"""Views: where pixels and masks go, what they depend on, and that prompts, caches and resumed runs follow."""

import copy
import json

import numpy as np
import pytest
import torch
from training_support import make_trainer

from pipeline.data.descriptions import place_word
from pipeline.data.prompts import mirrored, names_place
from pipeline.data.tensors import load_split
from pipeline.models.backbone import load_backbone
from pipeline.models.variants import build_segmenter
from pipeline.training import train as module
from pipeline.training.augmentation import augment, draw_views
from pipeline.training.settings import TrainingSettings

CASES = [f"case_{number}" for number in range(12)]
STILL = [1.0, 0, 0, 1, 1, 1, 1]


def blobs(count: int = 12, side: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, and an off-centre ellipse in each as mask."""
    generator = np.random.default_rng(5)
    y, x = np.mgrid[:side, :side] / side
    places = generator.uniform(0.25, 0.75, (count, 2, 1, 1))
    masks = ((x - places[:, 0]) ** 2 + 2 * (y - places[:, 1]) ** 2 < 0.03).astype(np.uint8)
    images = generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return torch.from_numpy(images), torch.from_numpy(masks)


def test_a_view_without_change_is_the_image():
    images, masks = blobs()
    seen, moved = augment(images, masks, torch.tensor([STILL] * len(images)))
    torch.testing.assert_close(seen, images.float(), rtol=0, atol=0.05)  # of 255
    assert torch.equal(moved, masks) and moved.dtype == masks.dtype


@pytest.mark.parametrize(("matrix", "axes"), [([-1, 0, 0, 1], [2]), ([1, 0, 0, -1], [1]), ([-1, 0, 0, -1], [1, 2])])
def test_flips_are_exact(matrix, axes):
    images, masks = blobs()
    seen, moved = augment(images, masks, torch.tensor([[*matrix, 1, 1, 1]] * len(images), dtype=torch.float32))
    torch.testing.assert_close(seen, images.flip(axes).float(), rtol=0, atol=0.05)
    assert torch.equal(moved, masks.flip(axes))


def test_image_and_mask_move_together():
    """The mask is drawn into the image: afterwards it lies where the moved mask does, but for blurred edges."""
    _, masks = blobs()
    values = draw_views(CASES, 41, 1).values
    values[:, 4:] = 1
    seen, moved = augment(255 * masks[..., None].expand(-1, -1, -1, 3), masks, values)
    assert ((seen[..., 0] > 127.5) != moved.bool()).float().mean() < 0.002
    assert (moved != masks).flatten(1).any(dim=1).all()
    # No view loses sight of its object.
    assert (moved.sum(dim=(1, 2)) > 0.6 * masks.sum(dim=(1, 2))).all()


def test_turned_and_seen_beyond_the_edge():
    """By hand: a turn by 90 degrees moves the top right corner to the top left; at half size the rest is black."""
    images = torch.full((1, 8, 8, 3), 200, dtype=torch.uint8)
    masks = torch.zeros(1, 8, 8, dtype=torch.uint8)
    masks[0, :4, 4:] = 1
    _, turned = augment(images, masks, torch.tensor([[0.0, -1, 1, 0, 1, 1, 1]]))
    assert turned[0, :4, :4].all() and turned.sum() == 16
    seen, small = augment(images, masks, torch.tensor([[2.0, 0, 0, 2, 1, 1, 1]]))
    assert small[0, 2:4, 4:6].all() and small.sum() == 4
    assert (seen[0, 3:5, 3:5] == 200).all() and (seen[0, 0] == 0).all()


def test_colours_stay_in_range_and_keep_their_order():
    images, masks = blobs()
    images[:, :4] = torch.tensor([255, 0, 90], dtype=torch.uint8)
    values = torch.tensor(STILL).repeat(len(images), 1)
    values[:, 4:] = draw_views(CASES, 41, 3).values[:, 4:]
    seen, _ = augment(images, masks, values)
    assert seen.min() >= 0 and seen.max() <= 255
    assert (seen[:, :4, :, 0] > seen[:, :4, :, 2]).all() and (seen[:, :4, :, 2] > seen[:, :4, :, 1]).all()
    changes = (seen - images).abs().flatten(1).mean(dim=1)
    assert (changes > 1).all() and (changes < 60).all()


def test_a_view_follows_from_seed_pass_and_name_alone():
    views = draw_views(CASES, 41, 7)
    backwards = draw_views(CASES[::-1], 41, 7)
    assert torch.equal(views.values, backwards.values.flip(0)) and (views.flips == backwards.flips[::-1]).all()
    assert torch.equal(draw_views(CASES[4:5], 41, 7).values, views.values[4:5])
    for other in (draw_views(CASES, 42, 7), draw_views(CASES, 41, 8)):
        assert (other.values != views.values).any(dim=1).all()
    many = draw_views(list(map(str, range(4000))), 0, 1)
    assert np.allclose(many.flips.mean(axis=0), 0.5, atol=0.03)
    scale = many.values[:, :4].reshape(-1, 2, 2).double().det().abs().rsqrt()
    assert 0.9 <= scale.min() < 0.91 and 1.09 < scale.max() <= 1.1
    assert many.values[:, 4:].min() >= 0.8 and many.values[:, 4:].max() <= 1.2


def test_the_number_of_threads_and_autocast_change_nothing():
    images, masks = blobs(side=160)
    values, threads, results = draw_views(CASES, 41, 1).values, torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            with torch.autocast("cpu", torch.bfloat16, enabled=number == 2):
                results.append(augment(images, masks, values))
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, *results))
    alone = augment(images[3:5], masks[3:5], values[3:5])
    assert all(torch.equal(part, whole[3:5]) for part, whole in zip(alone, results[0], strict=True))


@pytest.mark.parametrize(
    ("prompt", "sideways", "both"),
    [
        (
            "one polyp, located in top left of the image",
            "one polyp, located in top right of the image",
            "one polyp, located in bottom right of the image",
        ),
        (
            "Two small tumors at the top left, center and right in the breast ultrasound image.",
            "Two small tumors at the top right, center and left in the breast ultrasound image.",
            "Two small tumors at the bottom right, center and left in the breast ultrasound image.",
        ),
        *[(text, text, text) for text in ("a lump with a bright top", "pink right ear polyp", "in center of it", "")],
    ],
)
def test_words_of_place_are_mirrored_and_no_others(prompt, sideways, both):
    assert mirrored(prompt, True, False) == sideways and mirrored(prompt, True, True) == both
    assert mirrored(prompt, False, False) == prompt == mirrored(both, True, True)
    assert names_place(prompt) == ("located" in prompt or "in center" in prompt or "at the" in prompt)


def test_mirrored_words_say_where_the_mirrored_object_is():
    _, masks = blobs()
    for mask in masks.numpy().astype(bool):
        said = f"located in {place_word(mask)} of the image"
        assert mirrored(said, True, False) == f"located in {place_word(mask[:, ::-1])} of the image"
        assert mirrored(said, False, True) == f"located in {place_word(mask[::-1])} of the image"


def scores(trainer) -> list[tuple]:
    return [(row["train_loss"], row["val_loss"], row["gradient_norm_max"]) for row in trainer.progress.history]


def test_none_is_the_training_without_the_setting_and_light_another():
    plain, none, light = (
        make_trainer("telescopic", max_epochs=1, **settings)
        for settings in ({}, {"augmentation": "none"}, {"augmentation": "light"})
    )
    for trainer in (plain, none, light):
        trainer.fit()
    assert scores(plain) == scores(none) != scores(light)


@pytest.mark.parametrize("changes", [{}, {"cases": 3, "images_per_epoch": 10, "accumulation": 2}])
def test_a_resumed_training_sees_the_same_views(changes):
    settings = {"max_epochs": 3, "save_every": 2, "augmentation": "light"} | changes
    states, whole, resumed = [], make_trainer(**settings), make_trainer(**settings)
    whole.fit(lambda state: states.append(copy.deepcopy(state)))
    resumed.resume(states[0])
    resumed.fit()
    assert scores(resumed) == scores(whole)


def test_the_step_in_slices_is_that_of_the_whole_batch():
    variant, gradients = {"kind": "telescopic", "mask_refinement": False, "dropout": 0}, []
    for accumulation in (1, 3):
        trainer = make_trainer(variant, accumulation=accumulation, augmentation="light")
        trainer.segmenter.train()
        trainer.step(torch.arange(4), torch.tensor([0, 1, 2, 0]), trainer.train_views(1)[:4])
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in trainer.parameters]))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


PLACED = ["one polyp, located in top left of the image", "a polyp", "polyp at the right, center in the image"]


def test_prompts_and_images_are_mirrored_alike_and_places_stay(prepared, monkeypatch):
    monkeypatch.setattr(module, "draw_prompt", lambda options, kind, seed, case, epoch: PLACED[(int(case) + epoch) % 3])
    monkeypatch.setattr(module, "all_prompts", lambda cases, kind: PLACED)
    segmenter = build_segmenter("telescopic", load_backbone(prepared[1]))
    settings = TrainingSettings(batch_size=4, augmentation="light")
    trainer = module.make_trainer(segmenter, *prepared, settings, 41, "a run")
    cases = list(load_split(prepared[0], "train").cases["case"])
    drawn = [PLACED[(int(case) + 2) % 3] for case in cases]
    plain = draw_views(cases, 41, 2)
    expected = [mirrored(text, *flips) for text, flips in zip(drawn, plain.flips, strict=True)]
    assert torch.equal(trainer.train_prompts(2), trainer.text.index(expected)) and expected != drawn
    seen = trainer.train_views(2)
    assert torch.equal(seen[:, 4:], plain.values[:, 4:])
    for prompt, view, free, flips in zip(drawn, seen, plain.values, plain.flips, strict=True):
        signs = [-1.0 if flipped else 1.0 for flipped in flips]
        still = torch.tensor([signs[0], 0, 0, signs[1]])
        assert torch.equal(view[:4], free[:4] if prompt == "a polyp" else still)
    # Of validation cases, as they are drawn.
    val = [PLACED[(int(case) - 1) % 3] for case in load_split(prepared[0], "val").cases["case"]]
    assert torch.equal(trainer.val_prompts, trainer.text.index(val))


def test_only_validation_images_of_a_frozen_encoder_are_cached(prepared, tmp_path, capsys):
    settings = TrainingSettings(batch_size=4, max_epochs=1, augmentation="light")
    run = (*prepared, {"kind": "decoder_only"}, settings, 41, 1, tmp_path / "state", tmp_path, "a run")
    module.train_run(*run)
    assert json.loads((tmp_path / "manifest.json").read_text())["cached_vision_states"] == ["val"]
    assert "a run: vision states of training images are not cached, as training.augmentation" in capsys.readouterr().err
    make_trainer("telescopic", augmentation="light")
    assert "cached" not in capsys.readouterr().err
