"""Predictions of several variants for a few test cases of one dataset, for the qualitative figures.

A run that is scored under several prompt types is shown under the first of them with words (p1, the name of the
target), so that all images of a dataset are asked for the same; its scores are those of this type. The cases are chosen
by rule from the first variant's scores: best, median and worst DSC, then the next worst as failures.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.data.tensors import load_split
from pipeline.evaluation.metrics import upsample_probability
from pipeline.evaluation.per_case import EMPTY, read_per_prompt
from pipeline.evaluation.probability_maps import probability_maps
from pipeline.evaluation.runs import run_of
from pipeline.models.backbone import load_backbone
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.weights import load_weights
from pipeline.runtime.atomic import atomic_path
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.lease import compute_device
from pipeline.runtime.options import json_value
from pipeline.training.determinism import set_mode

LONGEST_SIDE = 512
FAILURES = 3


def shown_scores(run: Path) -> pd.DataFrame:
    """The rows of per_prompt.csv of the prompt type that the gallery shows of the run in the folder ``run``."""
    table = read_per_prompt(run)
    types = sorted(set(table["prompt_type"]))
    shown = next((name for name in types if name != EMPTY), EMPTY)
    return table[table["prompt_type"] == shown].reset_index(drop=True)


def choose_cases(scores: pd.DataFrame) -> list[tuple[int, str]]:
    """Row and role of the chosen cases; only cases with foreground count, ties go to the first case by name.

    Args:
        scores: Of the variant that decides which cases are shown.
    """
    ranked = scores[scores["target_pixels"] > 0].sort_values(["dsc", "case"], ascending=[False, True]).index.tolist()
    if not ranked:
        return []
    chosen = [(ranked[0], "best"), (ranked[len(ranked) // 2], "median"), (ranked[-1], "worst")]
    return chosen + [(row, "failure") for row in reversed(ranked[-1 - FAILURES : -1])]


def _fit(height: int, width: int) -> tuple[int, int]:
    factor = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="results folder: datasets/, tensors/, runs/")
    parser.add_argument("--backbone", type=Path, required=True, help="folder of the pretrained CLIPSeg")
    parser.add_argument("--dataset", required=True)
    variants = json_value("--variants", list)
    parser.add_argument("--variants", type=variants, required=True, help="JSON list; the first decides on cases")
    parser.add_argument("--seed", type=int, required=True, help="seed of the runs")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability above which a pixel is foreground")
    parser.add_argument("--threads", type=int, default=4, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help=".npz file")
    arguments = parser.parse_args()
    results, dataset = arguments.results, arguments.dataset
    split = load_split(results / "tensors" / dataset, "test")
    runs = [run_of(results, dataset, variant, arguments.seed) for variant in arguments.variants]
    tables = {run: shown_scores(run.folder) for run in runs}
    for run, table in tables.items():
        if list(table["case"]) != list(split.cases["case"]):
            raise PipelineError(
                f"{run.folder}/per_prompt.csv: its cases differ from {results}/tensors/{dataset}; score the run again"
            )
    chosen = choose_cases(tables[runs[0]])
    rows = [row for row, _ in chosen]
    arrays: dict[str, np.ndarray] = {
        "cases": np.array([split.cases["case"].iloc[row] for row in rows], dtype=str),
        "roles": np.array([role for _, role in chosen], dtype=str),
        "variants": np.array(arguments.variants, dtype=str),
        "dsc": np.array([[table["dsc"][row] for table in tables.values()] for row in rows]),
    }
    sizes = []
    for index, row in enumerate(rows):
        target = split.target(row)
        sizes.append(_fit(*target.shape))
        with Image.open(results / "datasets" / dataset / "images" / split.cases["image"].iloc[row]) as image:
            image = image.convert("RGB").resize(sizes[-1][::-1], Image.Resampling.BILINEAR)
            arrays[f"image_{index}"] = np.asarray(image)
        arrays[f"target_{index}"] = upsample_probability(target, *sizes[-1])
    masks: list[list[np.ndarray]] = [[] for _ in rows]
    # One lease for all variants: once CUDA is initialised, a process cannot change its card.
    with compute_device() as device:
        set_mode(device, deterministic=True, threads=arguments.threads)
        tokenizer = load_tokenizer(arguments.backbone)
        for run, table in tables.items():
            segmenter = load_weights(run.folder / "weights.safetensors", load_backbone(arguments.backbone)).to(device)
            prompts = [table["prompt"][row] for row in rows]
            for index, probability in enumerate(probability_maps(segmenter, tokenizer, split.images[rows], prompts)):
                masks[index].append(upsample_probability(probability > arguments.threshold, *sizes[index]))
    arrays |= {f"prediction_{index}": np.stack(stack) for index, stack in enumerate(masks)}
    with atomic_path(arguments.output) as path, path.open("wb") as file:
        np.savez_compressed(file, **arrays)


if __name__ == "__main__":
    run_command(main)
