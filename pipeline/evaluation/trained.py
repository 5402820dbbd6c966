"""A trained run to be scored: the options that every such command line has, and the run on its device."""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from pipeline.models.backbone import load_backbone
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.segmenter import Segmenter
from pipeline.models.weights import load_weights
from pipeline.runtime.lease import compute_device
from pipeline.training.determinism import set_mode


def add_scoring_options(parser: argparse.ArgumentParser) -> None:
    """Options that say which run is scored, and how; :func:`trained_run` reads some of them."""
    parser.add_argument("--backbone", type=Path, required=True, help="folder of the pretrained CLIPSeg")
    parser.add_argument("--weights", type=Path, required=True, help="weights.safetensors of the run")
    parser.add_argument("--seed", type=int, required=True, help="seed of the run, from which prompts are drawn")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability above which a pixel is foreground")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=4, help="CPU threads")


@contextlib.contextmanager
def trained_run(arguments: argparse.Namespace) -> Iterator[tuple[Segmenter, PreTrainedTokenizerBase]]:
    """The run's segmenter on the device to compute on, in deterministic mode, and its tokenizer."""
    with compute_device() as device:
        set_mode(device, deterministic=True, threads=arguments.threads)
        segmenter = load_weights(arguments.weights, load_backbone(arguments.backbone)).to(device)
        yield segmenter, load_tokenizer(arguments.backbone)
