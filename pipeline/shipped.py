"""The study as this repository ships it, and what another one changes that can move a number.

    python -m pipeline.shipped config.yaml     records config.yaml in workflow/resources/shipped.json

The record is apart from config.yaml, since that is the file that users edit.
"""

import argparse
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.config import Study, read_study
from pipeline.runtime.atomic import read_json, write_json
from pipeline.runtime.errors import run_command

RECORD = Path(__file__).parents[1] / "workflow" / "resources" / "shipped.json"
# What is run, where from and how, what it is called, and by which rules the numbers are judged. Fewer datasets or
# variants leave the other rows as they are, and another grid of tuning all but the tuned ones, which tell it. What the
# archives and the backbone are, the plan says in words.
_WITHOUT_EFFECT = re.compile(
    r"(results|jobs|datasets|main|archives|regression|backbone"
    r"|(ablations\.\w+|transfer|joint|leaks|test_time|tuning)\.(title|reference|variants|datasets|beside)|variants\.\w+\.label"
    r"|tuning\.(tried_on|factors|weight_decays)"
    r"|training\.(accumulation|gradient_checkpointing|cuda_graph|deterministic|save_every|max_consecutive_skips)"
    r"|evaluation\.(batch_size|bootstrap_samples|margin|comparisons_reference))\."
)
_SEEDS = re.compile(r"(more_)?seeds|(ablations\.\w+|transfer|joint|leaks|test_time|tuning)\.seeds?")
_NAMED = re.compile(r"(variants|ablations)\.(\w+)\.(.+)")
_FEW = 3


class Changes(NamedTuple):
    """Changed keys and their values.

    Attributes:
        settings: of what decides which numbers the study estimates, the shipped values in brackets.
        seeds: of seeds alone.
    """

    settings: list[str]
    seeds: list[str]


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings by dotted key; None is none."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else key)
    elif value is not None:
        yield prefix, value


def numbers(study: Study) -> dict[str, Any]:
    """All settings of ``study`` that can move a number, by their dotted keys in config.yaml.

    Of a variant's own settings those that differ from its kind's defaults.
    """
    settings = study.model_dump(mode="json", exclude={"variants"})
    settings["variants"] = {
        name: variant.settings.changes()
        | {"training": variant.training.model_dump(mode="json", exclude_none=True)}
        | {"widths_from": variant.widths_from}
        for name, variant in study.variants.items()
    }
    if study.more_seeds:
        settings["more_seeds"] = [*study.more_seeds.seeds, "for", *study.more_seeds.variants]
    return {key: value for key, value in _flat(settings) if not _WITHOUT_EFFECT.match(f"{key}.")}


@cache
def _record() -> dict[str, Any]:
    return read_json(RECORD, dict, "restore it from the repository")


def changes(study: Study) -> Changes:
    """What ``study`` changes of the shipped one, whatever it has besides; many of a section are told in short.

    A variant counts if the shipped study has it and ``study`` shows it in its main table or an ablation.

    Raises:
        PipelineError: the record cannot be read.
    """
    before, after = _record(), numbers(study)
    shown = {*study.main, *(name for family in study.ablations.values() for name in family.variants)}
    shown = {name for name in shown if f"variants.{name}.kind" in before}
    sections: dict[tuple[str, str], dict[str, str]] = {}
    for key in dict.fromkeys([*after, *before]):
        if before.get(key) == after.get(key):
            continue
        if not (named := _NAMED.fullmatch(key)):
            section, _, setting = key.rpartition(".")
            sections.setdefault((section, ""), {})[key] = setting
        elif named[1] != "variants" or named[2] in shown:
            sections.setdefault((named[1], named[3].partition(".")[0]), {})[key] = named[2]
    found = Changes([], [])
    for (section, shared), keys in sections.items():
        seeds = [key for key in keys if _SEEDS.fullmatch(key)]
        if len(keys) <= _FEW or not section:
            found.seeds.extend(f"{key} {_value(after, key)}" for key in seeds)
            others = [key for key in keys if key not in seeds]
            found.settings.extend(f"{key} {_value(after, key)} ({_value(before, key)})" for key in others)
        elif shared:
            (found.seeds if seeds else found.settings).append(f"{shared} of {len(set(keys.values()))} {section}")
        else:
            values = [f"{setting} {_value(after, key)}" for key, setting in keys.items()]
            found.settings.append(f"{section}: {', '.join(values)}")
    return found


def _value(settings: Mapping[str, Any], key: str) -> str:
    value = settings.get(key)
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "unset" if value is None else str(value).lower()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="config.yaml")
    write_json(RECORD, numbers(read_study(parser.parse_args().file)))


if __name__ == "__main__":
    run_command(main)
