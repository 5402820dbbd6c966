"""Check a study before anything is computed: its configuration, and that each of its variants can be built and trained.

    python -m pipeline check [config.yaml overlay.yaml ...]

Snakemake does the same before its first job. A note in the results folder saves it from checking the same again.
"""

import argparse
import copy
import hashlib
import json
import subprocess
import sys
import traceback
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import read_study
from pipeline.models.kinds import KindSettings, parse_variant
from pipeline.models.widths import features_of
from pipeline.plan import Plan
from pipeline.runtime.atomic import write_text
from pipeline.runtime.code import digest
from pipeline.runtime.errors import PipelineError, run_command

if TYPE_CHECKING:
    from transformers import CLIPSegForImageSegmentation

NOTE = ".checked"
SIDE = 32


def _refuse(problems: list[str]) -> None:
    if problems:
        raise PipelineError("\n  ".join([f"{len(problems)} of the study's variants cannot be built", *problems]))


def check_widths(plan: Plan) -> None:
    """Refuse bottlenecks that the study's backbone does not build as wide as its variants ask. Without torch.

    Raises:
        PipelineError: names variants, places and widths.
    """
    problems, features = [], features_of(plan.backbone())
    for name in plan.variants:
        settings = plan.study.variants[name].settings
        try:
            if settings.kind == "telescopic":
                settings.adapter_widths(features)
        except ValueError as error:
            problems.append(f"variants.{name}: {error}")
    _refuse(problems)


def check_variants(variants: Mapping[str, Mapping[str, Any]], backbone: str) -> None:
    """Attach each variant to an empty CLIPSeg (meta device, no weights); with one of each kind go forward and back.

    Args:
        variants: settings of the kinds by variant.
        backbone: "full", "tiny" or a folder with a CLIPSeg's config.json.

    Raises:
        PipelineError: names the variants that cannot be built or trained, and why.
    """
    from pipeline.cost.count import backbone_config
    from pipeline.models.backbone import empty_backbone

    model, problems, found, tried = empty_backbone(backbone_config(backbone), "eager"), [], {}, set()
    for name, value in variants.items():
        settings = parse_variant(dict(value))
        key = settings.model_dump_json()
        if key not in found:
            found[key] = _problem(settings, copy.deepcopy(model), settings.kind not in tried)
            tried.add(settings.kind)
        if found[key]:
            problems.append(f"variants.{name}: {found[key]}")
    _refuse(problems)


def _problem(settings: KindSettings, backbone: "CLIPSegForImageSegmentation", run: bool) -> str:
    """Why a segmenter with these settings cannot be built or, with ``run``, trained; "" if it can."""
    import torch

    from pipeline.models.variants import build_segmenter

    try:
        segmenter = build_segmenter(settings, backbone).train()
        if not run:
            return ""
        tokens = torch.zeros(2, 3, dtype=torch.long, device="meta")
        logits = segmenter(torch.zeros(2, 3, SIDE, SIDE, device="meta"), tokens)
        if logits.shape != (2, 1, SIDE, SIDE):
            return f"its logits for two images of {SIDE} x {SIDE} pixels are {tuple(logits.shape)}"
        if logits.requires_grad:
            logits.sum().backward()
        idle = [name for name, value in segmenter.trainable_parameters().items() if value.grad is None]
        return f"the mask does not depend on what is trained: {', '.join(idle[:3])}" if idle else ""
    except Exception as error:
        # A kind may be anyone's: whatever it raises is told with its place.
        frames = [at for at in traceback.extract_tb(error.__traceback__) if "kinds" in Path(at.filename).parts]
        place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        return f"{error if isinstance(error, ValueError) else repr(error)}{place}"


def check_before_jobs(plan: Plan) -> None:
    """:func:`check_variants` in a process of its own, unless these very variants and their code have passed already.

    Where torch is not installed, as with an environment for each job, nothing is checked.

    Raises:
        PipelineError: the same.
    """
    modules = sorted({plan.study.variants[name].module for name in plan.variants})
    variants = {name: plan.settings(name) for name in plan.variants}
    content = json.dumps([variants, plan.backbone(), digest("pipeline.check", "pipeline.models.variants", *modules)])
    note, passed = Path(plan.study.results, NOTE), hashlib.sha256(content.encode()).hexdigest()
    if find_spec("torch") is None or (note.is_file() and note.read_text() == passed):
        return
    command = [sys.executable, "-m", "pipeline.runtime.start", "pipeline.check", "--variants"]
    result = subprocess.run(command, input=content, capture_output=True, text=True)
    if result.returncode:
        raise PipelineError(result.stderr.strip().removeprefix("error: "))
    write_text(note, passed)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", help="config.yaml, then overlays", default=["config.yaml"])
    parser.add_argument("--variants", action="store_true", help="read settings by variant from standard input")
    arguments = parser.parse_args()
    if arguments.variants:
        check_variants(*json.load(sys.stdin)[:2])
        return
    study = read_study(*arguments.files)
    plan = Plan(study)
    check_widths(plan)
    variants = {name: plan.settings(name) for name in plan.variants}
    check_variants(variants, plan.backbone())
    print(f"valid: {len(study.datasets)} datasets, {len(variants)} variants, {len(study.seeds)} seeds")


if __name__ == "__main__":
    run_command(main)
