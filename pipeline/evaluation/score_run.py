"""Score a run on test cases: per_case.csv of its own dataset or of several, and per_prompt.csv, by prompt type."""

import argparse
import dataclasses
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from transformers import PreTrainedTokenizerBase

from pipeline.data.conventions import CONVENTIONS
from pipeline.data.prompts import EVALUATION, draw_prompt
from pipeline.data.tensors import PreparedSplit, load_split
from pipeline.evaluation import kept
from pipeline.evaluation.metrics import Target, upsample_probability
from pipeline.evaluation.per_case import COLUMNS, EMPTY, SCORED, over_prompts
from pipeline.evaluation.probability_maps import maps_by_prompt_type
from pipeline.models.backbone import load_backbone
from pipeline.models.interface import SegmentationModel
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.weights import load_weights
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.lease import compute_device
from pipeline.runtime.progress import log, track
from pipeline.training.determinism import set_mode

DATASET, RANDOM = "test_dataset", "random"
DRAW = 0
"""The seed with which all runs draw among the wordings of a prompt type."""


def prompt_types(split: PreparedSplit) -> list[str]:
    """The prompt types that every case of ``split`` has, by name; the log names the others.

    Raises:
        PipelineError: there is none but the empty one.
    """
    each = [set(prompts) for prompts in split.cases["prompts"]]
    common, every = set.intersection(*each), set.union(*each)
    if not common - {EMPTY}:
        raise PipelineError(
            f"the test cases share no prompt type but {EMPTY}, of {', '.join(sorted(every))}; give all of them one "
            "more, or set prompt_type to p0"
        )
    if every - common:
        log(f"left out, as some cases lack them: {', '.join(sorted(every - common))}")
    return sorted(common)


def evaluation_prompts(split: PreparedSplit, prompt_type: str) -> list[str]:
    """The prompt of each case of ``split`` under ``prompt_type``: it depends on the case and the type alone.

    Of several wordings one is drawn by case. All runs are scored with the same, whatever their seed, so that scores
    vary between seeds for no other reason than training.
    """
    drawn = zip(split.cases["prompts"], split.cases["case"], strict=True)
    return [draw_prompt(options, prompt_type, DRAW, case, EVALUATION) for options, case in drawn]


def score_case(split: PreparedSplit, index: int, masks: Sequence[np.ndarray], convention: str) -> list[dict[str, Any]]:
    """Scores of the case at ``index`` under several prompts; predictions that are the same are scored once.

    Args:
        masks: The prediction under each prompt at the model's input size, bool (S, S).
        convention: Of the target, one of :data:`pipeline.data.conventions.CONVENTIONS`.

    Returns:
        For each prompt the metrics at the case's original size, to which predictions are resized (nearest-exact), and
        :data:`pipeline.evaluation.per_case.CHOICES`: the DSC of the prediction as it is and the target resized to it
        (nearest neighbour), and that against the target by each convention.
    """
    targets = {name: Target(split.target(index, name)) for name in CONVENTIONS}
    target = targets[convention]
    resized = Image.fromarray(target.mask).resize(masks[0].shape[::-1], Image.Resampling.NEAREST)
    small = Target(np.asarray(resized))
    rows: dict[bytes, dict[str, Any]] = {}
    for mask in masks:
        key = mask.tobytes()
        if key not in rows:
            large = upsample_probability(mask, *target.mask.shape)
            rows[key] = dataclasses.asdict(target.compare(large)) | {"dsc_input_size": small.dsc(mask)}
            rows[key] |= {f"dsc_{name}": other.dsc(large) for name, other in targets.items()}
    return [rows[mask.tobytes()] for mask in masks]


def score_split(
    segmenter: SegmentationModel,
    tokenizer: PreTrainedTokenizerBase,
    split: PreparedSplit,
    prompts: Sequence[Sequence[str]],
    conventions: Sequence[str],
    options: argparse.Namespace,
) -> list[list[pd.DataFrame]]:
    """For each of ``conventions`` and of ``prompts`` a table with one row per case, as :func:`over_prompts` takes it.

    Args:
        prompts: For each prompt type, one prompt per case.
        conventions: Of the targets, some of :data:`pipeline.data.conventions.CONVENTIONS`.
        options: Of the command line: threshold, batch_size, and threads, which compute metrics while the next batch is
            predicted.
    """
    scored: list[list[Future]] = [[] for _ in conventions]
    masks: dict[int, list[np.ndarray]] = {}
    with ThreadPoolExecutor(options.threads) as pool:
        for row, index, probability in maps_by_prompt_type(
            segmenter, tokenizer, split.images, prompts, options.batch_size
        ):
            masks.setdefault(index, []).append(probability > options.threshold)
            if row == len(prompts) - 1:
                predicted = masks.pop(index)
                for convention, futures in zip(conventions, scored, strict=True):
                    futures.append(pool.submit(score_case, split, index, predicted, convention))
        by_convention = [[case.result() for case in track(futures, "scored")] for futures in scored]
    names = split.cases["case"]
    return [
        [
            pd.DataFrame([case[row] for case in cases]).assign(case=names, prompt=list(given))
            for row, given in enumerate(prompts)
        ]
        for cases in by_convention
    ]


def by_prompt_type(types: Sequence[str], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """per_prompt.csv of one convention's tables of :func:`score_split`, one for each of ``types``."""
    named = [table.assign(prompt_type=name) for name, table in zip(types, tables, strict=True)]
    return pd.concat(named, ignore_index=True)[["prompt_type", *SCORED]]


def score_dataset(
    segmenter: SegmentationModel, tokenizer: PreTrainedTokenizerBase, split: PreparedSplit, options: argparse.Namespace
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """per_case.csv and per_prompt.csv of a run on one dataset.

    A run with a prompt type of its own is scored under it, one with ``random`` under all types, of which all but the
    empty one count.

    Args:
        options: Of the command line: prompt_type, and those of :func:`score_split`.
    """
    types = prompt_types(split) if options.prompt_type == RANDOM else [options.prompt_type]
    counted = [name for name in types if name != EMPTY] or types
    if not options.per_prompt:
        types = counted
    prompts = [evaluation_prompts(split, name) for name in types]
    (tables,) = score_split(segmenter, tokenizer, split, prompts, [options.masks or split.convention], options)
    scores = over_prompts([tables[types.index(name)] for name in counted], counted)
    return scores, by_prompt_type(types, tables)


def score(
    segmenter: SegmentationModel, tokenizer: PreTrainedTokenizerBase, options: argparse.Namespace
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """per_case.csv and per_prompt.csv of a run on all datasets that ``options`` name.

    Args:
        segmenter: In evaluation mode, on its device.
    """
    tables, by_type = [], []
    for folder in options.tensors:
        scores, per_prompt = score_dataset(segmenter, tokenizer, load_split(folder, "test"), options)
        tables.append(scores.assign(**{DATASET: folder.name}))
        by_type.append(per_prompt)
    columns = [*([options.by] if options.by else []), *COLUMNS]
    return pd.concat(tables, ignore_index=True)[columns], pd.concat(by_type, ignore_index=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=Path, nargs="+", required=True, help="folders of prepared tensors")
    parser.add_argument("--prompt-type", default=RANDOM, help="p0, p1, ..., or random: the mean over p1 and up")
    parser.add_argument("--by", choices=[DATASET], help="further column of the output")
    parser.add_argument("--backbone", type=Path, required=True, help="folder of the pretrained CLIPSeg")
    parser.add_argument("--weights", type=Path, required=True, help="weights.safetensors of the run")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability above which a pixel is foreground")
    parser.add_argument("--masks", choices=CONVENTIONS, help="foreground of the targets; as trained with if absent")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=4, help="CPU threads")
    parser.add_argument("--per-prompt", type=Path, help="write scores by prompt type, the empty prompt included, too")
    parser.add_argument("--state", type=Path, help="the run's state; scores that its training has kept there are taken")
    parser.add_argument("--output", type=Path, required=True, help="the CSV to write")
    return parser


def main() -> None:
    options = parser().parse_args()
    if options.state and kept.take(options.state, options):
        log("scored by the process that trained the run")
        return
    with compute_device() as device:
        set_mode(device, deterministic=True, threads=options.threads)
        segmenter = load_weights(options.weights, load_backbone(options.backbone)).to(device)
        per_case, per_prompt = score(segmenter, load_tokenizer(options.backbone), options)
    if options.per_prompt:
        write_csv(options.per_prompt, per_prompt)
    write_csv(options.output, per_case)


if __name__ == "__main__":
    run_command(main)
