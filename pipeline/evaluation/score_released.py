"""Score a released checkpoint on a test split: CONVENTION/per_prompt.csv under each convention for masks."""

import argparse
from pathlib import Path

from pipeline.data.conventions import CONVENTIONS
from pipeline.data.tensors import load_split
from pipeline.evaluation.score_run import Scoring, by_prompt_type, evaluation_prompts, prompt_types, score_split
from pipeline.models.backbone import load_backbone
from pipeline.models.checkpoints import load_released_checkpoint
from pipeline.models.preprocessing import load_tokenizer
from pipeline.runtime.atomic import write_csv
from pipeline.runtime.errors import run_command
from pipeline.runtime.lease import compute_device
from pipeline.training.determinism import set_mode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tensors", type=Path, required=True, help="folder of prepared tensors")
    parser.add_argument("--backbone", type=Path, required=True, help="folder of the pretrained CLIPSeg")
    parser.add_argument("--checkpoint", type=Path, required=True, help="file in the layout of a release")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability above which a pixel is foreground")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=4, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="folder to write into")
    options = parser.parse_args()
    with compute_device() as device:
        set_mode(device, deterministic=True, threads=options.threads)
        segmenter = load_released_checkpoint(options.checkpoint, load_backbone(options.backbone)).to(device)
        split = load_split(options.tensors, "test")
        types = prompt_types(split)
        prompts = [evaluation_prompts(split, name) for name in types]
        tokenizer = load_tokenizer(options.backbone)
        scoring = Scoring(options.threshold, range(len(types)))
        scored = score_split(segmenter, tokenizer, split, prompts, CONVENTIONS, options, scoring)
    for convention, (tables, _) in zip(CONVENTIONS, scored, strict=True):
        write_csv(options.output / convention / "per_prompt.csv", by_prompt_type(types, tables))


if __name__ == "__main__":
    run_command(main)
