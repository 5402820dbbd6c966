"""speed.csv: how fast each variant predicts on the device at hand, with random weights, and the memory that it takes.

Measured, unlike cost.csv: from an image's pixels and a prompt of full length on the device to the mask's logits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.utils.benchmark import Timer
from transformers import CLIPSegConfig

from pipeline.cost.count import backbone_config, model_options
from pipeline.models.backbone import random_backbone
from pipeline.models.frozen import prepare_frozen
from pipeline.models.interface import SegmentationModel
from pipeline.models.merging import merge_adapters
from pipeline.models.precision import autocast
from pipeline.models.segmenter import Segmenter
from pipeline.models.variants import build_segmenter
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.lease import compute_device
from pipeline.runtime.manifest import device_name
from pipeline.runtime.progress import log, track
from pipeline.training.determinism import precision_on, set_mode

BATCHES = (1, 32)
SECONDS = 0.2
"""How long each measurement is repeated at least; the median counts."""


@torch.inference_mode()
def measure(segmenter: SegmentationModel, image_size: int, batch_size: int) -> dict[str, float | None]:
    """Seconds and memory of one forward; the memory is the GPU's, weights included, and None on a CPU.

    Args:
        segmenter: on its device, as :func:`pipeline.models.frozen.prepare_frozen` left it.
        image_size: side of the input, pixels.
    """
    device = segmenter.device.type
    pixels = torch.rand(batch_size, 3, image_size, image_size, device=device)
    ids = torch.zeros(batch_size, segmenter.context, dtype=torch.long, device=device)

    def forward() -> None:
        with autocast(device, segmenter.precision):
            segmenter(pixels, ids)

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    timer = Timer("forward()", globals={"forward": forward}, num_threads=torch.get_num_threads())
    seconds = timer.blocked_autorange(min_run_time=SECONDS).median
    return {
        "latency_ms": 1000 * seconds,
        "images_per_second": batch_size / seconds,
        "peak_mib": torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None,
    }


def measure_variants(
    variants: Mapping[str, Mapping[str, Any]], config: CLIPSegConfig, image_size: int, precision: str, device: str
) -> pd.DataFrame:
    """One row per variant and batch size, and the same again with ``merged`` where something can be merged.

    Args:
        variants: settings of the kinds by variant.
        precision: fp32, or a key of ``AUTOCAST``.

    Returns:
        The columns of speed.csv. A variant that cannot be measured is logged and has no row.

    Raises:
        PipelineError: no variant can be measured.
    """
    rows = []
    for name, value in track(variants.items(), "speed: measuring", len(variants)):
        try:
            sizes = set()
            for merged in (False, True):
                segmenter = build_segmenter(value, random_backbone(config, seed=0)).to(device).eval()
                if merged and isinstance(segmenter, Segmenter):
                    merge_adapters(segmenter)
                sizes.add(sum(1 for _ in segmenter.parameters()))
                if merged and len(sizes) == 1:
                    continue
                prepare_frozen(segmenter, precision)
                for batch_size in BATCHES:
                    found = measure(segmenter, image_size, batch_size)
                    rows.append({"variant": name, "merged": merged, "batch_size": batch_size, **found})
        except Exception as error:
            # A kind may be anyone's and raise anything: the others are measured all the same.
            log(f"speed: left out variants.{name}: {error!r}")
    if not rows:
        raise PipelineError(f"no variant can be measured: {', '.join(variants)}; see the log above")
    return pd.DataFrame(rows).assign(device=device_name(device), precision=precision)


def main() -> None:
    parser = model_options(__doc__)
    parser.add_argument("--precision", default="fp16", help="of training; what the device lacks is replaced by fp32")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="speed.csv")
    options = parser.parse_args()
    with compute_device() as device:
        set_mode(device, deterministic=False, threads=options.threads)
        precision = precision_on(device, options.precision)
        config = backbone_config(options.backbone)
        table = measure_variants(options.variants, config, options.image_size, precision, device)
    write_csv(options.output, table)


if __name__ == "__main__":
    run_command(main)
