"""Score a run on test cases: per_case.csv of its own dataset or of several; by prompt type, per_prompt.csv;
calibration.csv, and thresholds.csv of the validation cases."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from transformers import PreTrainedTokenizerBase

from pipeline.data.conventions import CONVENTIONS
from pipeline.data.prompts import EVALUATION, draw_prompt
from pipeline.data.tensors import PreparedSplit, load_split
from pipeline.evaluation import kept
from pipeline.evaluation.calibration import (
    best_threshold,
    bin_sums,
    calibration_error,
    calibration_table,
    dsc_by_threshold,
    sweep_table,
)
from pipeline.evaluation.metrics import Target, upsample_probability
from pipeline.evaluation.per_case import COLUMNS, EMPTY, SCORED, over_prompts
from pipeline.evaluation.probability_maps import maps_by_prompt_type, mirror_averaged_maps
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


class Scoring(NamedTuple):
    """How maps are scored.

    Attributes:
        threshold: Probability above which a pixel is foreground.
        counted: Positions of the prompts that count, which the ensemble and the bins take.
        tuned: Another threshold whose DSC is told; NaN for none.
        mirror: Whether maps are averaged with those of the mirror images.
    """

    threshold: float
    counted: Sequence[int]
    tuned: float = np.nan
    mirror: bool = False


class Scored(NamedTuple):
    """Scores of cases against targets of one convention.

    Attributes:
        tables: For each prompt one row per case, as :func:`over_prompts` takes it.
        bins: :func:`bin_sums` over all cases and the prompts that count.
    """

    tables: list[pd.DataFrame]
    bins: np.ndarray


def score_case(
    split: PreparedSplit, index: int, maps: Sequence[np.ndarray], convention: str, scoring: Scoring
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Scores of the case at ``index`` under several prompts; predictions that are the same are scored once.

    Args:
        maps: The probabilities under each prompt at the model's input size, float32 (S, S).
        convention: Of the target, one of :data:`pipeline.data.conventions.CONVENTIONS`.

    Returns:
        For each prompt the metrics at the case's original size, to which predictions are resized (nearest-exact); the
        calibration error of the map and the target resized to it (nearest neighbour); and
        :data:`pipeline.evaluation.per_case.CHOICES`: the DSC of the prediction as it is and that small target, and that
        against the target by each convention; and :data:`pipeline.evaluation.per_case.FURTHER`. Then the bins of the
        prompts that count.
    """
    targets = {name: Target(split.target(index, name)) for name in CONVENTIONS}
    target = targets[convention]
    resized = Image.fromarray(target.mask).resize(maps[0].shape[::-1], Image.Resampling.NEAREST)
    small = Target(np.asarray(resized))
    compared: dict[bytes, dict[str, Any]] = {}
    tuned: dict[bytes, float] = {}

    def compare(mask: np.ndarray) -> dict[str, Any]:
        if (key := mask.tobytes()) not in compared:
            large = upsample_probability(mask, *target.mask.shape)
            compared[key] = dataclasses.asdict(target.compare(large)) | {"dsc_input_size": small.dsc(mask)}
            compared[key] |= {f"dsc_{name}": other.dsc(large) for name, other in targets.items()}
        return compared[key]

    def dsc(mask: np.ndarray) -> float:
        if (key := mask.tobytes()) not in tuned:
            known = compared.get(key)
            tuned[key] = known["dsc"] if known else target.dsc(upsample_probability(mask, *target.mask.shape))
        return tuned[key]

    rows, bins = [], []
    for probability in maps:
        bins.append(bin_sums(probability, small.mask))
        rows.append(compare(probability > scoring.threshold) | {"ece": calibration_error(bins[-1])})
    for probability, row in zip(maps, rows, strict=True):
        row["dsc_tuned_threshold"] = np.nan if np.isnan(scoring.tuned) else dsc(probability > scoring.tuned)
    counted = [maps[at] for at in scoring.counted]
    # In double precision the mean of equal maps is that map.
    ensemble = dsc(np.mean(counted, axis=0, dtype=np.float64) > np.float32(scoring.threshold))
    return [row | {"dsc_prompt_ensemble": ensemble} for row in rows], sum(bins[at] for at in scoring.counted)


def score_split(
    segmenter: SegmentationModel,
    tokenizer: PreTrainedTokenizerBase,
    split: PreparedSplit,
    prompts: Sequence[Sequence[str]],
    conventions: Sequence[str],
    options: argparse.Namespace,
    scoring: Scoring,
) -> list[Scored]:
    """The scores of all cases against targets of each of ``conventions``.

    Args:
        prompts: For each prompt type, one prompt per case.
        conventions: Of the targets, some of :data:`pipeline.data.conventions.CONVENTIONS`.
        options: Of the command line: batch_size, and threads, which compute metrics while the next batch is predicted.
    """
    scored: list[list[Future]] = [[] for _ in conventions]
    maps: dict[int, list[np.ndarray]] = {}
    predict = mirror_averaged_maps if scoring.mirror else maps_by_prompt_type
    with ThreadPoolExecutor(options.threads) as pool:
        for row, index, probability in predict(segmenter, tokenizer, split.images, prompts, options.batch_size):
            maps.setdefault(index, []).append(probability)
            if row == len(prompts) - 1:
                predicted = maps.pop(index)
                for convention, futures in zip(conventions, scored, strict=True):
                    futures.append(pool.submit(score_case, split, index, predicted, convention, scoring))
                    # The maps of no more than a batch wait.
                    if index >= options.batch_size:
                        futures[index - options.batch_size].result()
        by_convention = [[case.result() for case in track(futures, "scored")] for futures in scored]
    names = split.cases["case"]
    return [
        Scored(
            [
                pd.DataFrame([rows[at] for rows, _ in cases]).assign(case=names, prompt=list(given))
                for at, given in enumerate(prompts)
            ],
            sum(bins for _, bins in cases),
        )
        for cases in by_convention
    ]


def by_prompt_type(types: Sequence[str], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """per_prompt.csv of one convention's tables of :func:`score_split`, one for each of ``types``."""
    named = [table.assign(prompt_type=name) for name, table in zip(types, tables, strict=True)]
    return pd.concat(named, ignore_index=True)[["prompt_type", *SCORED]]


def score_dataset(
    segmenter: SegmentationModel,
    tokenizer: PreTrainedTokenizerBase,
    split: PreparedSplit,
    options: argparse.Namespace,
    tuned: float,
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """per_case.csv and per_prompt.csv of a run on one dataset, and the bins of its pixels.

    A run with a prompt type of its own is scored under it, one with ``random`` under all types, of which all but the
    empty one count.

    Args:
        options: Of the command line: prompt_type, threshold, and those of :func:`score_split`.
        tuned: As of :class:`Scoring`.
    """
    types = prompt_types(split) if options.prompt_type == RANDOM else [options.prompt_type]
    counted = [name for name in types if name != EMPTY] or types
    if not options.per_prompt:
        types = counted
    prompts = [evaluation_prompts(split, name) for name in types]
    scoring = Scoring(options.threshold, [types.index(name) for name in counted], tuned, options.mirror)
    masks = [options.masks or split.convention]
    ((tables, bins),) = score_split(segmenter, tokenizer, split, prompts, masks, options, scoring)
    scores = over_prompts([tables[at] for at in scoring.counted], counted)
    return scores, by_prompt_type(types, tables), bins


def sweep(
    segmenter: SegmentationModel, tokenizer: PreTrainedTokenizerBase, split: PreparedSplit, options: argparse.Namespace
) -> pd.DataFrame:
    """thresholds.csv of the cases of ``split``, each under one prompt of the run's type, drawn as training draws it."""
    prompts = [evaluation_prompts(split, options.prompt_type)]
    found = maps_by_prompt_type(segmenter, tokenizer, split.images, prompts, options.batch_size)
    return sweep_table([dsc_by_threshold(probability, split.masks[index] > 0) for _, index, probability in found])


def score(
    segmenter: SegmentationModel, tokenizer: PreTrainedTokenizerBase, options: argparse.Namespace
) -> Mapping[str, pd.DataFrame]:
    """What is written, by the option that names the file: of a run on all datasets that ``options`` name.

    Args:
        segmenter: In evaluation mode, on its device.
    """
    tables, by_type, bins, tuned, thresholds = [], [], 0, np.nan, {}
    if options.thresholds:
        thresholds["thresholds"] = sweep(segmenter, tokenizer, load_split(options.tensors[0], "val"), options)
        tuned = best_threshold(thresholds["thresholds"])
    for folder in options.tensors:
        scores, per_prompt, sums = score_dataset(segmenter, tokenizer, load_split(folder, "test"), options, tuned)
        tables.append(scores.assign(**{DATASET: folder.name}))
        by_type.append(per_prompt)
        bins += sums
    columns = [*([options.by] if options.by else []), *COLUMNS]
    per_case, per_prompt = (pd.concat(parts, ignore_index=True) for parts in (tables, by_type))
    shared = {"output": per_case[columns], "per_prompt": per_prompt, "calibration": calibration_table(bins)}
    return shared | thresholds


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
    mirror = "average the probabilities with those of the horizontal mirror image"
    parser.add_argument("--mirror", action="store_true", help=mirror)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=4, help="CPU threads")
    parser.add_argument("--per-prompt", type=Path, help="write scores by prompt type, the empty prompt included, too")
    parser.add_argument("--calibration", type=Path, help="write the reliability bins of the pixels, too")
    swept = "try thresholds on the validation cases of the first dataset, write their DSC, and score with the best, too"
    parser.add_argument("--thresholds", type=Path, help=swept)
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
        tables = score(segmenter, load_tokenizer(options.backbone), options)
    for name, table in tables.items():
        if path := getattr(options, name):
            write_csv(path, table)


if __name__ == "__main__":
    run_command(main)
