"""The fast way of training computes the same losses and gradients as the plain one, for every kind of variant."""

import numpy as np
import pytest
import torch
from model_support import tiny
from PIL import Image

from pipeline.benchmark.plain import ImageFiles, PlainTrainer, build_plain
from pipeline.demo.tiny import write_tokenizer
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.textcache import TextCache
from pipeline.models.variants import build_segmenter
from pipeline.training.loop import Trainer, to_device
from pipeline.training.settings import TrainingSettings

STEPS, BATCH, SIZE = 20, 2, 64
PROMPTS = ["pink polyp", "one small round polyp", "dark oval lesion", "polyp"]

# Without dropout, whose random stream depends on how many tokens are computed.
VARIANTS = {
    "decoder_only": {"kind": "decoder_only"},
    "end_to_end": {"kind": "end_to_end"},
    "telescopic": {"kind": "telescopic", "dropout": 0},
    "uniform": {"kind": "telescopic", "dropout": 0, "schedule": "uniform"},
    "vlsm_dense": {"kind": "vlsm_dense"},
    "vlsm_shallow": {"kind": "vlsm_shallow"},
    "lora": {"kind": "lora"},
}
RATES = {"end_to_end": 1e-5, "vlsm_shallow": 3e-4}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A tokenizer, image files, and the same images as prepared tensors."""
    folder = tmp_path_factory.mktemp("files")
    write_tokenizer(folder / "tokenizer")
    generator = np.random.default_rng(5)
    pairs, images, masks = [], [], []
    for index in range(4):
        image = Image.fromarray(generator.integers(0, 255, (60 + index, 80, 3), dtype=np.uint8))
        mask = Image.fromarray(((np.indices((60 + index, 80)).sum(0) > 40 + 20 * index) * 255).astype(np.uint8))
        image.save(folder / f"{index}.png")
        mask.save(folder / f"{index}_mask.png")
        pairs.append((folder / f"{index}.png", folder / f"{index}_mask.png"))
        images.append(np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
        masks.append((np.asarray(mask.resize((SIZE, SIZE), Image.Resampling.NEAREST)) >= 128).astype(np.uint8))
    return load_tokenizer(folder / "tokenizer"), pairs, np.stack(images), np.stack(masks)


def gradient(segmenter) -> torch.Tensor:
    """All gradients in one vector, in the order of the parameters' names."""
    parameters = segmenter.trainable_parameters()
    reached = [name for name in sorted(parameters) if parameters[name].grad is not None]
    return torch.cat([parameters[name].grad.flatten() for name in reached])


@pytest.mark.parametrize("variant", VARIANTS)
def test_first_losses_and_gradients_agree(study, variant):
    tokenizer, pairs, images, masks = study
    settings = TrainingSettings(batch_size=BATCH, learning_rate=RATES.get(variant, 1e-3))
    torch.manual_seed(0)
    plain = PlainTrainer(
        build_plain(VARIANTS[variant], tiny()), ImageFiles(pairs, PROMPTS, tokenizer, SIZE), settings, workers=0
    )
    torch.manual_seed(0)
    segmenter = build_segmenter(VARIANTS[variant], tiny())
    split = to_device(images, masks, "cpu")
    fast = Trainer(
        segmenter,
        TextCache(segmenter, tokenizer, PROMPTS),
        split,
        to_device(images, masks, "cpu"),
        train_prompts=lambda epoch: torch.arange(4),
        val_prompts=torch.arange(4),
        settings=settings,
        seed=0,
    )
    plain.segmenter.train()
    fast.segmenter.train()
    generator = np.random.default_rng(1)
    for step in range(STEPS):
        cases = generator.permutation(4)[:BATCH]
        items = [plain.loader.dataset[case] for case in cases]
        expected = plain.step({key: torch.stack([item[key] for item in items]) for key in items[0]})
        index = torch.from_numpy(cases)
        loss = fast.step(index, index).loss.item()
        assert loss == pytest.approx(expected, rel=1e-4), f"step {step}"
        actual, reference = (gradient(trainer.segmenter) for trainer in (fast, plain))
        # Over the whole gradient: entries that are zero but for rounding have no relative accuracy of their own.
        assert ((actual - reference).norm() / reference.norm()).item() < 1e-4, f"step {step}"
        # AdamW turns the rounding noise of near-zero gradients into steps of full size, so two runs that go on by
        # themselves drift apart whatever computes them; each step is therefore compared from the same weights.
        state = plain.segmenter.trained_state()
        fast.segmenter.load_trained_state({name: state[name] for name in fast.segmenter.trained_state()})
