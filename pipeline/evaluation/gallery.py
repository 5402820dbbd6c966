"""Predictions of several variants for a few test cases of one dataset, for the qualitative figures.

The cases are chosen by rule from the first variant's scores: best, median and worst DSC, then the next worst as
failures.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.data.tensors import load_split
from pipeline.evaluation.metrics import upsample_probability
from pipeline.evaluation.per_case import read_per_case
from pipeline.evaluation.probability_maps import predict
from pipeline.models.backbone import load_backbone
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.weights import load_weights
from pipeline.runtime.atomic import atomic_path
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.lease import compute_device
from pipeline.training.determinism import set_mode

LONGEST_SIDE = 512


def choose_cases(scores: pd.DataFrame, failures: int) -> list[tuple[int, str]]:
    """Row and role of the chosen cases; only cases with foreground compete, ties go to the first case by name.

    Args:
        scores: per_case.csv of the variant that decides.
        failures: how many further cases from the low end.
    """
    ranked = scores[scores["target_pixels"] > 0].sort_values(["dsc", "case"], ascending=[False, True]).index.tolist()
    if not ranked:
        return []
    chosen = [(ranked[0], "best"), (ranked[len(ranked) // 2], "median"), (ranked[-1], "worst")]
    return chosen + [(row, "failure") for row in reversed(ranked[-1 - failures : -1])]


def _fit(height: int, width: int) -> tuple[int, int]:
    factor = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=Path, required=True, help="folder of prepared tensors")
    parser.add_argument("--images", type=Path, required=True, help="folder of the dataset's images")
    parser.add_argument("--backbone", type=Path, required=True, help="folder of the pretrained CLIPSeg")
    parser.add_argument("--runs", type=json.loads, required=True, help="run folder of each variant, JSON object")
    parser.add_argument("--failures", type=int, default=3, help="further cases from the low end")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--output", type=Path, required=True, help=".npz file")
    arguments = parser.parse_args()
    split = load_split(arguments.tensors, "test")
    tables = {variant: read_per_case(run) for variant, run in arguments.runs.items()}
    for variant, table in tables.items():
        if list(table["case"]) != list(split.cases["case"]):
            run = arguments.runs[variant]
            raise PipelineError(
                f"{run}/per_case.csv: its cases are not those of {arguments.tensors}; evaluate it again"
            )
    leading = next(iter(tables.values()))
    chosen = choose_cases(leading, arguments.failures)
    rows = [row for row, _ in chosen]
    arrays: dict[str, np.ndarray] = {
        "cases": np.array([leading["case"][row] for row in rows], dtype=str),
        "roles": np.array([role for _, role in chosen], dtype=str),
        "prompts": np.array([leading["prompt"][row] for row in rows], dtype=str),
        "variants": np.array(list(tables), dtype=str),
        "dsc": np.array([[table["dsc"][row] for table in tables.values()] for row in rows]),
    }
    sizes = []
    for index, row in enumerate(rows):
        target = split.target(row)
        sizes.append(_fit(*target.shape))
        with Image.open(arguments.images / split.cases["image"].iloc[row]) as image:
            image = image.convert("RGB").resize(sizes[-1][::-1], Image.Resampling.BILINEAR)
            arrays[f"image_{index}"] = np.asarray(image)
        arrays[f"target_{index}"] = upsample_probability(target, *sizes[-1])
    masks: list[list[np.ndarray]] = [[] for _ in rows]
    with compute_device() as device:
        set_mode(device, deterministic=True, threads=arguments.threads)
        tokenizer = load_tokenizer(arguments.backbone)
        for variant, table in tables.items():
            weights = Path(arguments.runs[variant]) / "weights.safetensors"
            segmenter = load_weights(weights, load_backbone(arguments.backbone)).to(device)
            prompts = [table["prompt"][row] for row in rows]
            for index, probability in enumerate(predict(segmenter, tokenizer, split.images[rows], prompts)):
                masks[index].append(upsample_probability(probability > arguments.threshold, *sizes[index]))
    arrays |= {f"prediction_{index}": np.stack(stack) for index, stack in enumerate(masks)}
    with atomic_path(arguments.output) as path, path.open("wb") as file:
        np.savez_compressed(file, **arrays)


if __name__ == "__main__":
    run_command(main)
