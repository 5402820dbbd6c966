"""cost.csv: parameters and FLOPs of each variant, from its architecture alone."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import CLIPSegConfig

from pipeline.cost.flops import Cost, count_flops
from pipeline.models.backbone import empty_backbone, full_size_config, tiny_config
from pipeline.models.folder import read_config
from pipeline.models.interface import SegmentationModel
from pipeline.models.kinds import KindSettings, parse_variant
from pipeline.models.variants import build_segmenter
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.options import json_value
from pipeline.runtime.progress import log, track

CONFIGS = {"full": full_size_config, "tiny": tiny_config}


def backbone_config(backbone: str) -> CLIPSegConfig:
    """The configuration of ``full`` (clipseg-rd64-refined), of ``tiny`` (the demo's CLIPSeg) or of a backbone's folder.

    Raises:
        PipelineError: neither a name nor a folder with CLIPSeg's config.json.
    """
    return CONFIGS[backbone]() if backbone in CONFIGS else read_config(backbone)


def count_costs(variants: Mapping[str, Mapping[str, Any]], config: CLIPSegConfig, image_size: int) -> pd.DataFrame:
    """Count every variant at one image and one prompt of full length.

    Args:
        variants: settings of the kinds by variant.
        image_size: side of the input, pixels.

    Returns:
        One row per variant, the columns of cost.csv. A variant that cannot be counted is logged and has no row.

    Raises:
        PipelineError: no variant can be counted.
    """
    rows, costs, reasons = [], {}, []
    for name, value in track(variants.items(), "cost: counting", len(variants)):
        try:
            settings = parse_variant(dict(value))
            segmenter = build_segmenter(settings, empty_backbone(config, "eager"))
            # Variants that differ only in how they are trained cost the same.
            key = settings.model_dump_json()
            if key not in costs:
                costs[key] = count_flops(segmenter, image_size)
            rows.append({"variant": name, **_row(settings, segmenter, costs[key])})
        except Exception as error:
            # A kind may be anyone's and raise anything: the others are counted all the same.
            reasons.append(f"variants.{name}: {error if isinstance(error, ValueError) else repr(error)}")
            log(f"cost: left out {reasons[-1]}")
    if not rows:
        raise PipelineError(f"no variant can be counted: {'; '.join(reasons)}")
    return pd.DataFrame(rows)


def _row(settings: KindSettings, segmenter: SegmentationModel, cost: Cost) -> dict[str, Any]:
    trainable = settings.trainable_parameters(segmenter)
    total = sum(value.numel() for value in segmenter.parameters())
    return {
        "trainable_parameters": trainable,
        "total_parameters": total,
        "trainable_percent": 100 * trainable / total,
        "inference_gmacs": cost.inference_macs / 1e9,
        "inference_gflops": cost.inference_flops / 1e9,
        "training_gflops": None if cost.training_flops is None else cost.training_flops / 1e9,
    }


def model_options(description: str | None) -> argparse.ArgumentParser:
    """A command line that names variants, and the backbone and image size at which they are looked at."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--variants", type=json_value("--variants", dict), required=True, help="settings of the kinds by variant, JSON"
    )
    parser.add_argument("--backbone", default="full", help="full, tiny, or a folder with a CLIPSeg's config.json")
    parser.add_argument("--image-size", type=int, default=352, help="side of the input, pixels")
    return parser


def main() -> None:
    parser = model_options(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="cost.csv")
    arguments = parser.parse_args()
    # Small matrices, and other jobs beside: more threads would wait for each other.
    torch.set_num_threads(1)
    write_csv(
        arguments.output, count_costs(arguments.variants, backbone_config(arguments.backbone), arguments.image_size)
    )


if __name__ == "__main__":
    run_command(main)
