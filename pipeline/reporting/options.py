"""The command lines of tables and figures, from one list of options, and display names."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.data.conventions import CONVENTIONS
from pipeline.evaluation.readers import AVERAGE, OVERALL
from pipeline.runtime.options import json_value

REPORTED_ONLY = {"cris": "CRIS", "san": "SAN", "imedsam_lora": "I-MedSAM (LoRA)"}
"""Methods of the paper's table that are other architectures: they appear with their reported numbers only."""
_FIXED = {AVERAGE: "Average", OVERALL: "Overall", **REPORTED_ONLY}


def _json(kind: type[list] | type[dict], content: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "help": f"JSON {'object' if kind is dict else 'list'}: {content}", **more}


OPTIONS: dict[str, dict[str, Any]] = {
    "results": {"type": Path, "help": "results folder"},
    "runs": {"type": Path, "help": "CSV that lists the runs, in runs/ of --results: dataset, variant, seed"},
    "scores": {"type": Path, "help": "folder of further per-case scores of the runs, laid out as runs/"},
    "dsc": {"help": "dsc.csv, or ablations/{family}.csv: the scores of these runs"},
    "cost": {"help": "cost.csv"},
    "speed": {"help": "speed.csv"},
    "reported": {"help": "reported.csv"},
    "published": {"default": None, "help": "reported.csv, if the study is comparable with it"},
    "regression": {"help": "regression.json"},
    "comparison": {"help": "tables/comparison.csv"},
    "transfer": {"help": "tables/transfer.csv"},
    "table": {"help": "the table that the figure shows, as CSV"},
    "gradients": {"default": None, "help": "tables/gradients.csv, if the study has several base dimensions"},
    "prompts": {"default": None, "help": "tables/prompt_outcomes.csv, if the study has this family"},
    "fronts": {"default": None, "help": "tables/methods.csv, if the study has this family"},
    "choices": {"default": None, "help": "tables/evaluation_choices.csv"},
    "own": _json(dict, "by variant the prompt type that it was trained with", default={}),
    "dimensions": _json(dict, "base dimension of each variant"),
    "families": _json(dict, "title, reference and table of each ablation", default={}),
    "components": {"default": None, "help": "tables/ablation_components.csv, if the study has this family"},
    "outcomes": {"default": None, "help": "tables/transfer_outcomes.csv, if the study has this family"},
    "joint": {"default": None, "help": "tables/joint.csv, if the study has this family"},
    "leaks": {"default": None, "help": "tables/leaks.csv, if the study has this family"},
    "augmentation": {"default": None, "help": "tables/augmentation.csv, if the study has this family"},
    "tuning": {"help": "tuning.json"},
    "tuned": {"default": None, "help": "tables/tuned.csv, if the study has this family"},
    "methods": _json(dict, "by method its variant with tuned rates, or with augmentation"),
    "reference": {"help": "variant that the others are compared with"},
    "bootstrap": {"type": int, "help": "resamples for the 95%% intervals"},
    "margin": {"type": float, "help": "of equivalence, DSC points"},
    "side": {"type": int, "help": "side of the model's input, pixels"},
    "mirrored": _json(dict, "datasets and, by variant, seeds of the runs in mirrored/ of --results", default={}),
    "masks": {"choices": CONVENTIONS, "help": "which levels of masks are foreground"},
    "title": {"default": "", "help": "heading"},
    "backbone": {"help": "CLIPSeg whose states the adapters act on: full, tiny, or a folder"},
    "settings": _json(dict, "settings of each variant"),
    "names": _json(list, "what is compared, before and after"),
    "learned": _json(list, "variants whose runs have a widths.json", default=[]),
    "points": _json(dict, "method and fraction of each variant"),
    "variants": _json(list, "variants in order"),
    "datasets": _json(list, "datasets in order"),
    "beside": _json(list, "datasets that are not the study's"),
    "roles": _json(list, "which cases are shown: best, median, worst, failure"),
    "figures": _json(list, "figures that the page links to"),
    "tables": _json(list, "tables that the page links to"),
    "checkpoints": _json(list, "keys of the table of released checkpoints"),
    "labels": _json(dict, "display names of variants and datasets", default={}),
    "note": {"default": "", "help": "provenance that the result shows; may be empty"},
    "output": {"type": Path, "help": "path without ending (paper.md: with it)"},
}
"""Arguments of :meth:`argparse.ArgumentParser.add_argument`; what has no default is required where it is used."""


def parse_options(description: str, *names: str) -> argparse.Namespace:
    """The options ``names`` of :data:`OPTIONS`, with ``--labels``, ``--note`` and ``--output``.

    Args:
        description: the module's docstring.
    """
    parser = argparse.ArgumentParser(description=description)
    for name in (*names, "labels", "note", "output"):
        settings = OPTIONS[name] | {"required": "default" not in OPTIONS[name]}
        if settings.get("type") in (list, dict):
            settings["type"] = json_value(f"--{name}", settings["type"])
        parser.add_argument(f"--{name}", **settings)
    return parser.parse_args()


def label(labels: Mapping[str, str], key: str) -> str:
    """The display name of a variant, method or dataset: as ``labels`` (``--labels``) has it, else ``key`` itself."""
    return labels.get(key) or _FIXED.get(key, key)
