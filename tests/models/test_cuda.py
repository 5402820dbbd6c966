"""What only a GPU can show; skipped where there is none."""

import pytest
import torch
from model_support import VARIANTS
from training_support import make_trainer

from pipeline.training.determinism import set_mode

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
TRAINED = [name for name in VARIANTS if name != "zero_shot"]


@pytest.mark.parametrize("variant", TRAINED)
def test_a_step_never_waits_for_the_device(variant):
    trainer = make_trainer(variant, device="cuda")
    trainer.segmenter.train()
    cases, prompts = torch.arange(4, device="cuda"), torch.tensor([0, 1, 0, 1], device="cuda")
    trainer.step(cases, prompts)
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.step(cases, prompts)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("variant", TRAINED)
def test_a_replayed_step_computes_what_the_step_does(variant):
    """Without dropout, over full and smaller batches, a change of the rate, and overflows of the loss scale."""
    histories = []
    for cuda_graph in (False, True):
        trainer = make_trainer(
            variant, device="cuda", cuda_graph=cuda_graph, cases=10, warmup_steps=12, gradient_clip=1
        )
        for module in trainer.segmenter.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        histories.append([trainer.train_epoch(epoch) for epoch in range(1, 7)])
    assert trainer.replayed.how == "CUDA graph", trainer.replayed.how
    for one, other in zip(*histories, strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-2)
        assert other["skipped_steps"] == one["skipped_steps"] and other["loss_scale"] == one["loss_scale"]


@pytest.mark.parametrize("variant", TRAINED)
def test_deterministic_mode_repeats_bit_for_bit(variant):
    assert set_mode("cuda", deterministic=True, threads=1) == "deterministic"
    try:
        states = []
        for _ in range(2):
            trainer = make_trainer(variant, device="cuda", max_epochs=3)
            trainer.fit()
            states.append(trainer.segmenter.trained_state())
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("variant", TRAINED)
def test_fp32_losses_are_those_of_the_cpu(variant):
    losses = []
    for device in ("cpu", "cuda"):
        trainer = make_trainer(variant, device=device, precision="fp32")
        trainer.segmenter.eval()  # without dropout, whose stream differs between devices
        index = torch.arange(4, device=device)
        losses.append([trainer.step(index, index % 2).loss.item() for _ in range(5)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
