"""Render the tables of a study again from its per-case scores, and say whether they agree.

    python -m pipeline.verify config.yaml [overlay.yaml ...]

Taken as given: the scores by case, bins and thresholds in runs/, transfer/ and mirrored/, the histories and manifests,
cost.csv, speed.csv, the reported numbers, and the datasets' cases.csv and integrity.json. Each step of the plan that
writes text (lists of runs, tables, tuning.json, regression.json, paper.md) is run again with its own command line into
a scratch folder, and reads what was rendered there before it. Exit status 1 if a file differs.
"""

import argparse
import importlib
import math
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.config import read_study
from pipeline.plan import Plan, Step
from pipeline.runtime.errors import PipelineError, run_command

TEXT = {"csv", "md", "tex", "json"}
# The last bits of a mean differ between processors; every number in print has far fewer digits than this.
TOLERANCE = 1e-8
_DECIMAL = re.compile(r"(?<![\w.])\d+\.\d+(?:e[-+]?\d+)?(?![\w.])")


class Finding(NamedTuple):
    """One file: its path below the results folder, and what is wrong with it, or None."""

    path: str
    problem: str | None


def _same(one: str, other: str) -> bool:
    """Whether two lines are equal but for rounding in their numbers."""
    if _DECIMAL.split(one) != _DECIMAL.split(other):
        return False
    pairs = zip(_DECIMAL.findall(one), _DECIMAL.findall(other), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=TOLERANCE, abs_tol=TOLERANCE) for a, b in pairs)


def difference(found: str, expected: str) -> str | None:
    """The first line in which two texts differ, or None."""
    left, right = found.splitlines(), expected.splitlines()
    for number, (one, other) in enumerate(zip(left, right, strict=False), start=1):
        if not _same(one, other):
            return f"line {number} is\n    {one}\n  but the per-case scores give\n    {other}"
    if len(left) != len(right):
        return f"has {len(left)} lines, but the per-case scores give {len(right)}"
    return None


def _run(step: Step, arguments: list[str]) -> None:
    """Run a step in this process."""
    before = sys.argv
    sys.argv = [step.module, *arguments]
    try:
        importlib.import_module(step.module).main()
    finally:
        sys.argv = before


def verify(plan: Plan, scratch: Path) -> Iterator[Finding]:
    """Render every text of ``plan`` into ``scratch``, and compare it with the one in the results folder.

    What ``snakemake all`` leaves out is compared only if it is there.
    """
    results = Path(plan.study.results)

    def again(path: str) -> Path:
        return scratch / Path(path).relative_to(results)

    rendered: set[str] = set()

    def locate(path: str) -> str:
        """In the scratch folder, what is rendered there; all else where it lies."""
        return str(again(path)) if path in rendered else path

    for step in plan.steps.values():
        texts = [path for kind, path in step.outputs.items() if kind in TEXT]
        if not texts or (step.on_request and not Path(texts[0]).exists()):
            continue
        rendered.add(step.output)
        try:
            _run(step, step.arguments(locate))
        except PipelineError as error:
            rendered.discard(step.output)
            yield Finding(texts[0], f"cannot be rendered again: {error}")
            continue
        rendered.update(texts)
        for path in texts:
            try:
                found = Path(path).read_text(encoding="utf-8")
            except OSError as error:
                yield Finding(path, f"cannot be read ({error.strerror}); run its rule")
            else:
                yield Finding(path, difference(found, again(path).read_text(encoding="utf-8")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="config.yaml, then the overlays that the study was run with")
    plan = Plan(read_study(*parser.parse_args().files))
    if not Path(plan.study.results).is_dir():
        raise PipelineError(f"{plan.study.results}: no such folder; run the study first: snakemake all --cores 8")
    wrong = checked = 0
    with tempfile.TemporaryDirectory() as folder:
        for path, problem in verify(plan, Path(folder)):
            print(f"agrees   {path}" if problem is None else f"DIFFERS  {path}: {problem}")
            checked, wrong = checked + 1, wrong + (problem is not None)
    if wrong:
        raise PipelineError(f"{wrong} of {checked} files in {plan.study.results} are not what the scores by case give")
    print(f"{checked} files agree with the scores by case in {plan.study.results}")


if __name__ == "__main__":
    run_command(main)
