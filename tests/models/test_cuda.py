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
