"""Parameter groups, the fused kernel and the warm-up."""

import pytest
import torch
from model_support import VARIANTS, tiny
from training_support import make_trainer

from pipeline.models.variants import build_segmenter
from pipeline.training.optimizer import make_optimizer
from pipeline.training.settings import TrainingSettings

END_TO_END = {"learning_rates": {"encoders": 1e-4, "decoder": 3e-3}, "decay_norms_and_biases": False, "warmup_steps": 4}


def options_by_name(variant: str, **settings) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each trained parameter."""
    parameters = build_segmenter(VARIANTS[variant], tiny()).trainable_parameters()
    optimizer = make_optimizer(parameters, TrainingSettings(**settings))
    found = {id(value): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for value in g["params"]}
    assert len(found) == len(parameters) == sum(len(group["params"]) for group in optimizer.param_groups)
    return {name: found[id(value)] for name, value in parameters.items()}


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "zero_shot"])
def test_by_default_there_is_one_group_in_the_models_order(variant):
    trainer = make_trainer(variant)
    (group,) = trainer.optimizer.param_groups
    assert all(one is other for one, other in zip(group["params"], trainer.parameters, strict=True))
    assert (group["lr"], group["weight_decay"]) == (3e-3, 1e-3)


def test_each_part_has_its_rate():
    rates = {"learning_rates": {"encoders": 1e-5, "decoder": 2e-3, "adapters": 3e-4}}
    for variant, part, rate in (("telescopic", "adapters.", 3e-4), ("lora", "clipseg.clip.", 3e-4)):
        found = options_by_name(variant, **rates)
        assert {name.startswith(part) for name in found} == {True}
        assert {options[0] for options in found.values()} == {rate}
    found = options_by_name("end_to_end", **rates)
    assert {name: options[0] for name, options in found.items()} == {
        name: 2e-3 if name.startswith("clipseg.decoder.") else 1e-5 for name in found
    }
    # What is not said has the rate of all.
    found = options_by_name("end_to_end", learning_rates={"encoders": 1e-5}, learning_rate=7e-4)
    assert {options[0] for name, options in found.items() if ".decoder." in name} == {7e-4}


def test_norms_biases_and_positions_can_be_left_undecayed():
    found = options_by_name("end_to_end", decay_norms_and_biases=False, weight_decay=0.01)
    vision = "clipseg.clip.vision_model"
    for name in (
        f"{vision}.embeddings.position_embedding.weight",
        f"{vision}.embeddings.class_embedding",
        f"{vision}.encoder.layers.0.layer_norm1.weight",
        f"{vision}.encoder.layers.0.mlp.fc1.bias",
        "clipseg.clip.text_model.embeddings.position_embedding.weight",
    ):
        assert found[name][1] == 0, name
    for name in (
        f"{vision}.embeddings.patch_embedding.weight",
        f"{vision}.encoder.layers.0.mlp.fc1.weight",
        "clipseg.clip.text_model.embeddings.token_embedding.weight",
        "clipseg.decoder.reduces.0.weight",
    ):
        assert found[name][1] == 0.01, name
    found = options_by_name("telescopic", decay_norms_and_biases=False)
    assert found["adapters.vision_1_mlp.scale"][1] == 0 and found["adapters.vision_1_mlp.up.weight"][1] == 1e-3
    assert {decay for _, decay in options_by_name("end_to_end").values()} == {1e-3}


def test_groups_are_updated_as_by_the_unfused_optimizer():
    fused = make_trainer("end_to_end", **END_TO_END).optimizer
    groups = [
        {**group, "params": [torch.nn.Parameter(value.detach().clone()) for value in group["params"]], "fused": False}
        for group in fused.param_groups
    ]
    plain = torch.optim.AdamW(groups, foreach=False)
    generator = torch.Generator().manual_seed(0)
    pairs = [
        pair
        for group, copies in zip(fused.param_groups, plain.param_groups, strict=True)
        for pair in zip(group["params"], copies["params"], strict=True)
    ]
    for _ in range(5):
        for one, other in pairs:
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        fused.step()
        plain.step()
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def rates(trainer) -> list[tuple[float, ...]]:
    """The groups' learning rates in each optimizer step of a training."""
    step, found = trainer.step, []
    trainer.step = lambda *batch: found.append(tuple(g["lr"] for g in trainer.optimizer.param_groups)) or step(*batch)
    trainer.fit()
    return found


def test_rates_of_all_groups_grow_linearly_and_fall_together():
    settings = END_TO_END | {"warmup_steps": 4, "plateau_patience": 0, "plateau_factor": 0.5}
    trainer = make_trainer("end_to_end", max_epochs=4, **settings)
    trainer.validate = lambda: (1.0, 0.5)
    found = rates(trainer)
    peaks = torch.tensor([1e-4, 1e-4, 3e-3, 3e-3])
    assert len(trainer.optimizer.param_groups) == 4
    # Three steps an epoch; from the second epoch on the loss is on a plateau.
    factors = [0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    expected = torch.tensor(factors)[:, None] * peaks.sort().values
    torch.testing.assert_close(torch.tensor(found).sort(dim=1).values, expected)
    shown = [row["learning_rate"] for row in trainer.progress.history]
    assert shown == pytest.approx([3e-3, 3e-3, 1.5e-3, 0.75e-3])
