"""What only a GPU can show; skipped where there is none."""

import numpy as np
import pytest
import torch
from model_support import VARIANTS, tiny

from pipeline.demo.tiny import write_tokenizer
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.textcache import TextCache
from pipeline.models.variants import build_segmenter
from pipeline.training.determinism import set_mode
from pipeline.training.loop import Trainer, to_device
from pipeline.training.settings import TrainingSettings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
PROMPTS = ["pink polyp", "one small round polyp"]
TRAINED = [name for name in VARIANTS if name != "zero_shot"]
SIZE = 96


@pytest.fixture
def make_trainer(tmp_path):
    write_tokenizer(tmp_path)
    tokenizer = load_tokenizer(tmp_path)

    def make(variant: str, device: str = "cuda", **settings) -> Trainer:
        generator = np.random.default_rng(0)
        images = generator.integers(0, 255, (12, SIZE, SIZE, 3), dtype=np.uint8)
        masks = (images[..., 0] > 128).astype(np.uint8)
        torch.manual_seed(0)
        segmenter = build_segmenter(VARIANTS[variant], tiny()).to(device)
        return Trainer(
            segmenter,
            TextCache(segmenter, tokenizer, PROMPTS),
            to_device(images[:8], masks[:8], device),
            to_device(images[8:], masks[8:], device),
            train_prompts=lambda epoch: torch.arange(8) % 2,
            val_prompts=torch.arange(4) % 2,
            settings=TrainingSettings(batch_size=4, max_epochs=3, **settings),
            seed=41,
        )

    return make


@pytest.mark.parametrize("variant", TRAINED)
def test_a_step_never_waits_for_the_device(make_trainer, variant):
    trainer = make_trainer(variant)
    trainer.segmenter.train()
    cases, prompts = torch.arange(4, device="cuda"), torch.tensor([0, 1, 0, 1], device="cuda")
    trainer.step(cases, prompts)
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.step(cases, prompts)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("variant", TRAINED)
def test_deterministic_mode_repeats_bit_for_bit(make_trainer, variant):
    assert set_mode("cuda", deterministic=True, threads=1) == "deterministic"
    try:
        states = []
        for _ in range(2):
            trainer = make_trainer(variant)
            trainer.fit()
            states.append(trainer.segmenter.trained_state())
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("variant", TRAINED)
def test_fp32_losses_are_those_of_the_cpu(make_trainer, variant):
    losses = []
    for device in ("cpu", "cuda"):
        trainer = make_trainer(variant, device, precision="fp32")
        trainer.segmenter.eval()  # without dropout, whose stream differs between devices
        index = torch.arange(4, device=device)
        losses.append([trainer.step(index, index % 2).item() for _ in range(5)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
