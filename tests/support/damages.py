"""Train and score one run of the demo with each fault in the pipeline: ``python damages.py DEMO OUTPUT``.

DEMO is a results folder with the data and the backbone; runs and a dsc.csv of each are written to OUTPUT/DAMAGE. Each
is a process of its own, forked from one that has imported everything.
"""

import json
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from pipeline.config import read_study
from pipeline.evaluation import collect, score_run
from pipeline.evaluation.runs import run_of
from pipeline.models import widths
from pipeline.models.kinds.telescopic import Telescopic
from pipeline.training import loop, train

ROOT = Path(__file__).parents[2]
OVERLAYS = [ROOT / "workflow/config" / name for name in ("demo.yaml", "portable.yaml")]
DATASET, VARIANT, SEED = "kvasir_seg", "telescopic", 41


def none() -> None:
    """No fault."""


def reversed_widths() -> None:
    """The width schedule in reverse: as many parameters, in other layers."""
    right = widths.telescopic_widths
    widths.telescopic_widths = lambda *given: right(*given)[::-1]


def double_sigmoid() -> None:
    right = loop.dice_bce_loss
    loop.dice_bce_loss = lambda *given: right(*given[:4], True)


def flipped_masks() -> None:
    """Training and validation masks upside down."""
    right = train.to_device
    train.to_device = lambda images, masks, device: right(images, masks[:, ::-1], device)


def flipped_predictions() -> None:
    right = score_run.upsample_probability
    score_run.upsample_probability = lambda mask, *size: right(np.ascontiguousarray(mask[::-1]), *size)


def shuffled_prompts() -> None:
    """In training each case gets the prompts of another."""
    right = train.load_split

    def load_split(folder, split):
        loaded = right(folder, split)
        loaded.cases["prompts"] = np.roll(loaded.cases["prompts"].to_numpy(), 1)
        return loaded

    train.load_split = load_split


def shuffled_test_prompts() -> None:
    right = score_run.evaluation_prompts
    score_run.evaluation_prompts = lambda *given: right(*given)[1:] + right(*given)[:1]


def unfrozen_layer() -> None:
    """A layer of the backbone is trained together with the adapters."""
    right = Telescopic.attach

    def attach(settings, segmenter):
        right(settings, segmenter)
        segmenter.clipseg.clip.vision_model.encoder.layers[3].mlp.fc1.weight.requires_grad_(True)

    Telescopic.attach = attach


DAMAGES = {
    damage.__name__: damage
    for damage in (
        none,
        reversed_widths,
        double_sigmoid,
        flipped_masks,
        flipped_predictions,
        shuffled_prompts,
        shuffled_test_prompts,
        unfrozen_layer,
    )
}


def train_and_score(damage: str, demo: Path, output: Path) -> None:
    DAMAGES[damage]()
    study = read_study(ROOT / "config.yaml", *OVERLAYS)
    settings, threads = study.training_of(VARIANT), study.jobs.threads
    variant = study.variants[VARIANT].settings.model_dump(mode="json")
    tensors, backbone = demo / "tensors" / DATASET, demo / "backbone"
    run = run_of(output, DATASET, VARIANT, SEED).folder
    train.train_run(tensors, backbone, variant, settings, SEED, threads, output / "state", run, VARIANT)
    command = ["score_run", "--tensors", tensors, "--backbone", backbone, "--weights", run / "weights.safetensors"]
    command += ["--prompt-type", settings.prompt_type, "--threads", threads]
    command += ["--output", run / "per_case.csv", "--per-prompt", run / "per_prompt.csv"]
    sys.argv = list(map(str, command))
    score_run.main()
    grid = ["--datasets", json.dumps([DATASET]), "--seeds", json.dumps({VARIANT: [SEED]})]
    sys.argv = ["collect", "--results", str(output), *grid, "--output", str(output / "dsc.csv")]
    collect.main()


if __name__ == "__main__":
    demo, output = map(Path, sys.argv[1:])
    with get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        pool.starmap(train_and_score, [(name, demo, output / name) for name in DAMAGES], chunksize=1)
