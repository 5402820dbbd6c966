"""cost.csv: parameters, FLOPs and storage of each variant, without a weight at hand."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pydantic import ValidationError
from transformers import CLIPSegConfig

from pipeline.cost.flops import PARTS, Cost, CostCounter
from pipeline.cost.parameters import ParameterCounts, count_parameters
from pipeline.models.backbone import empty_backbone, full_size_config
from pipeline.models.folder import CONFIG, read_config
from pipeline.models.kinds import parse_variant
from pipeline.models.variants import build_segmenter
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.progress import log, track

# What cost_detail.csv calls transformers' own forward of CLIPSeg.
RELEASED = "clipseg_as_released"
DETAIL_COLUMNS = ["variant", "measure", "part", "operation", "count"]


def backbone_config(settings: Mapping[str, Any]) -> CLIPSegConfig:
    """The configuration of the backbone that ``settings`` (``backbone`` of config.yaml) name; no weights needed."""
    source = settings.get("source", "hub")
    if source == "phantom":
        from pipeline.demo.tiny import tiny_config

        return tiny_config()
    if source == "folder" and (Path(settings["folder"]) / CONFIG).is_file():
        return read_config(settings["folder"])
    if source == "folder":
        log(f"cost: no {CONFIG} in {settings['folder']}; counting clipseg-rd64-refined")
    return full_size_config()


def count_costs(
    variants: Mapping[str, Mapping[str, Any]], config: CLIPSegConfig, image_size: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Count every variant at one image and one prompt of full length.

    Args:
        variants: settings by name, as in ``variants`` of config.yaml.
        image_size: side of the input, pixels.

    Returns:
        One row a variant (cost.csv), and its parts in long form (cost_detail.csv).

    Raises:
        PipelineError: settings that do not validate.
    """
    counter = CostCounter(config, image_size)
    rows, details = [], []
    for name, value in track(variants.items(), "cost: counting", len(variants)):
        try:
            settings = parse_variant(dict(value))
            segmenter = build_segmenter(settings, empty_backbone(config, "eager"))
        except (ValidationError, ValueError) as error:
            raise PipelineError(f"variants.{name}: {error}") from None
        parameters = count_parameters(segmenter, settings)
        cost = counter.count(segmenter)
        rows.append({"variant": name, **_row(parameters, cost)})
        details += _details(name, cost)
        details += [(name, "updated_parameters", key, "", count) for key, count in parameters.by_branch.items()]
    released = counter.count_released()
    details += _details(RELEASED, released)
    log(
        f"cost: CLIPSeg as released: {sum(released.inference_macs.values()) / 1e9:.2f} GMAC by fvcore, "
        f"{sum(released.inference_flops.values()) / 1e9:.2f} GFLOP by FlopCounterMode, of which "
        f"{_of_part(released.inference_flops, 'unread') / 1e9:.2f} in vision layers that no mask depends on"
    )
    return pd.DataFrame(rows), pd.DataFrame(details, columns=DETAIL_COLUMNS)


def _of_part(counts: Mapping[tuple[str, str], int], part: str) -> int:
    return sum(count for (key, _), count in counts.items() if key == part)


def _row(parameters: ParameterCounts, cost: Cost) -> dict[str, Any]:
    inference = sum(cost.inference_flops.values())
    training = None if cost.training_flops is None else sum(cost.training_flops.values())
    return {
        "trainable_parameters": parameters.trainable,
        "total_parameters": parameters.total,
        "trainable_percent": 100 * parameters.trainable / parameters.total,
        "inference_gmacs": sum(cost.inference_macs.values()) / 1e9,
        "inference_gflops": inference / 1e9,
        "training_gflops": None if training is None else training / 1e9,
        # What training really does in each step: the frozen part of the text branch is computed once for each prompt.
        "training_cached_gflops": None if training is None else (training - cost.prefix_flops) / 1e9,
        # fvcore counts normalisations, FlopCounterMode does not: inference_gflops = 2 * (inference_gmacs - this).
        "norm_gmacs": sum(count for (_, key), count in cost.inference_macs.items() if key == "norm") / 1e9,
        **{f"{part}_gmacs": _of_part(cost.inference_macs, part) / 1e9 for part in PARTS},
        "updated_parameters": parameters.updated,
        **{f"updated_{branch}": count for branch, count in parameters.by_branch.items()},
        "stored_bytes": parameters.stored_bytes,
    }


def _details(name: str, cost: Cost) -> list[tuple]:
    """Long form: each measure by part and operation, and why the two counters differ."""
    keys = sorted({*cost.inference_macs, *cost.inference_flops})
    difference = {key: 2 * cost.inference_macs[key] - cost.inference_flops[key] for key in keys}
    measures = {
        "inference_macs": cost.inference_macs,
        "inference_flops": cost.inference_flops,
        "training_flops": cost.training_flops or {},
        "twice_macs_minus_flops": difference,
    }
    return [
        (name, measure, part, operation, count)
        for measure, counts in measures.items()
        for (part, operation), count in sorted(counts.items())
        if count
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", type=json.loads, required=True, help="settings of the variants by name, JSON")
    parser.add_argument("--backbone-settings", type=json.loads, required=True, help="backbone, JSON")
    parser.add_argument("--image-size", type=int, default=352, help="side of the input, pixels")
    parser.add_argument("--output", type=Path, required=True, help="cost.csv")
    parser.add_argument("--detail", type=Path, help="cost_detail.csv: by part and operation")
    arguments = parser.parse_args()
    # Small matrices, and other jobs beside: more threads would wait for each other.
    torch.set_num_threads(1)
    table, detail = count_costs(arguments.variants, backbone_config(arguments.backbone_settings), arguments.image_size)
    if arguments.detail:
        write_csv(arguments.detail, detail)
    write_csv(arguments.output, table)


if __name__ == "__main__":
    run_command(main)
