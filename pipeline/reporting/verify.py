"""Recompute a study's tables from its per-case scores and say whether they agree.

python -m pipeline.reporting.verify results

Taken as given: the runs' per_case.csv and those of transfer/, evaluation_choices/ and prompt_sensitivity/, and for the
tables cost.csv and the reported numbers. Computed again from these alone: dsc.csv, ablations/*.csv, the tables
comparison, main, efficiency, ablation_*, transfer, evaluation_choices and prompt_sensitivity, regression.json with its
table, and the numbers, verdicts and sentences of paper.md. The audit of the data has no scores in it: it is computed
again from the datasets' cases.csv and integrity.json, not from their images. Which runs, names, order and note a table
has is read off the table itself. Other tables are named as not checked. Exit status 1 if a file does not agree.
"""

import argparse
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from pipeline.data import audit
from pipeline.evaluation.collect import collect
from pipeline.evaluation.readers import dataset_label, read_cost, read_dsc, read_reported, read_table
from pipeline.evaluation.runs import Run
from pipeline.reporting.markup import Table, latex, markdown
from pipeline.reporting.paper import paper
from pipeline.reporting.tables import comparison, evaluation_choices, regression
from pipeline.reporting.tables import prompt_sensitivity as prompt_sensitivity_table
from pipeline.reporting.tables import scores as tables
from pipeline.reporting.tables import transfer as transfer_table
from pipeline.runtime.errors import PipelineError, run_command

REPORTED = "workflow/resources/reported.csv"
# The last bits of a mean differ between processors; every number in print has far fewer digits than this.
TOLERANCE = 1e-8
_DECIMAL = re.compile(r"(?<![\w.])\d+\.\d+(?:e[-+]?\d+)?(?![\w.])")
Rendered = dict[str, str]
"""Text of each file, by its ending."""


class Finding(NamedTuple):
    """One file: its path below the results folder, and what is wrong with it, or None."""

    path: str
    problem: str | None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read ({error.strerror}); run its rule again") from None


class _Printed:
    """What a Markdown table says that its CSV does not: title, note, names of the rows, and which is the reference."""

    def __init__(self, path: Path):
        self.text = _read(path)
        lines = self.text.splitlines()
        self.title = lines[0].strip("*") if lines else ""
        self.note = next((line[2:] for line in lines if line.startswith("> ")), "")
        rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][2:]
        self.names = [cells[0].replace("\\|", "|") for cells in rows]
        marked = [index for index, cells in enumerate(rows) if cells[-1] == "reference"]
        self.reference = marked[0] if marked else None
        self.has_provenance = any(line.startswith("Made from ") for line in lines)


def _same(one: str, other: str) -> bool:
    """Whether two lines are equal but for rounding in their numbers."""
    if one == other:
        return True
    pairs = zip(_DECIMAL.findall(one), _DECIMAL.findall(other), strict=False)
    return _DECIMAL.split(one) == _DECIMAL.split(other) and all(
        math.isclose(float(left), float(right), rel_tol=TOLERANCE, abs_tol=TOLERANCE) for left, right in pairs
    )


def _first_difference(found: str, expected: str) -> str | None:
    """The first line in which two texts differ, or None."""
    left, right = found.splitlines(), expected.splitlines()
    for number, (one, other) in enumerate(zip(left, right, strict=False), start=1):
        if not _same(one, other):
            return f"line {number} is\n    {one}\n  but the per-case scores give\n    {other}"
    if len(left) != len(right):
        return f"has {len(left)} lines, but the per-case scores give {len(right)}"
    return None


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")


def _render(made: Sequence[tuple[pd.DataFrame, Table]], runs: Sequence[Run]) -> list[Rendered]:
    """What :func:`pipeline.reporting.tables.scores.write` writes of each table; with its provenance if ``runs`` are given."""
    result = []
    for frame, bare in made:
        table = tables.with_provenance(bare, runs)
        result.append({"csv": _csv(tables.filled(frame)), "md": markdown(table), "tex": latex(table)})
    return result


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


class Study:
    """A results folder, with what its per-case scores give."""

    def __init__(self, results: Path, reported: Path):
        self.results = results
        self.reported = read_reported(reported)
        self.runs = self._runs("dsc.csv")
        self.dsc = collect(self.runs)
        # The tables list datasets in the study's order, which is that of the runs.
        self.datasets = _once(run.dataset for run in self.runs)
        self.comparison: pd.DataFrame | None = None
        self.components: pd.DataFrame | None = None
        self.regression: list[dict[str, Any]] | None = None

    def _run(self, dataset: str, variant: str, seed: int) -> Run:
        return Run(dataset, variant, seed, self.results / "runs" / dataset / variant / f"seed{seed}")

    def _runs(self, name: str) -> list[Run]:
        rows = read_dsc(self.results / name).itertuples()
        return [self._run(row.dataset, row.variant, int(row.seed)) for row in rows]

    def check(self) -> Iterator[Finding]:
        """All files that are there, in the order in which they depend on each other."""
        yield self._compare("dsc.csv", _csv(self.dsc))
        steps: list[tuple[str, Callable[[str], Sequence[Rendered]]]] = [
            ("tables/comparison", self._comparison),
            ("tables/main", self._main),
            ("tables/efficiency", self._efficiency),
            ("tables/transfer", self._transfer),
            ("tables/evaluation_choices", self._evaluation_choices),
            ("tables/prompt_sensitivity", self._prompt_sensitivity),
        ]
        if (self.results / "datasets").is_dir():
            steps.append(("tables/data_audit", self._data_audit))
        for path in sorted((self.results / "ablations").glob("*.csv")):
            yield self._compare(f"ablations/{path.name}", _csv(collect(self._runs(f"ablations/{path.name}"))))
            steps.append((f"tables/ablation_{path.stem}", self._ablation))
        for name, step in steps:
            if (self.results / f"{name}.csv").is_file():
                try:
                    candidates = step(name)
                except PipelineError as error:
                    yield Finding(f"{name}.csv", f"cannot be computed again: {error}")
                else:
                    yield from self._agree(name, candidates)
        if (self.results / "regression.json").is_file():
            yield from self._regression()
        needed = ("paper.md", "regression.json", "cost.csv", "tables/main.csv")
        if all((self.results / name).is_file() for name in needed):
            yield self._compare("paper.md", self._paper())

    def _compare(self, name: str, expected: str) -> Finding:
        try:
            found = (self.results / name).read_text(encoding="utf-8")
        except OSError as error:
            return Finding(name, f"cannot be read ({error.strerror})")
        return Finding(name, _first_difference(found, expected))

    def _agree(self, name: str, candidates: Sequence[Rendered]) -> Iterator[Finding]:
        """Compare a table's files with those of ``candidates`` of which most agree."""
        findings = [
            [self._compare(f"{name}.{ending}", expected) for ending, expected in rendered.items()]
            for rendered in candidates
        ]
        yield from min(findings, key=lambda files: sum(finding.problem is not None for finding in files))

    def _comparison(self, name: str) -> list[Rendered]:
        stored = read_table(self.results / f"{name}.csv", ["variant", "reference"])
        printed = _Printed(self.results / f"{name}.md")
        resamples = re.search(r"(\d+) resamples", printed.text)
        if not len(stored) or resamples is None:
            raise PipelineError(f"{self.results / name}.md: does not say how often it resampled; run its rule again")
        labels = dict(zip(stored["variant"], printed.names, strict=False))
        self.comparison, table = comparison.build(
            self.runs, stored["reference"].iloc[0], labels, int(resamples.group(1)), printed.note
        )
        return [{"csv": _csv(self.comparison), "md": markdown(table), "tex": latex(table)}]

    def _comparisons(self) -> list[pd.DataFrame | None]:
        """A table is with or without marks of significance."""
        return [None] if self.comparison is None else [None, self.comparison]

    def _main(self, name: str) -> list[Rendered]:
        variants = self._variants(name)
        printed = _Printed(self.results / f"{name}.md")
        selection = (self.dsc, self.reported, variants, self.datasets, self._labels(name), printed.note)
        made = [tables.main_table(*selection, marks) for marks in self._comparisons()]
        return _render(made, self.runs if printed.has_provenance else [])

    def _efficiency(self, name: str) -> list[Rendered]:
        printed = _Printed(self.results / f"{name}.md")
        selection = (self.reported, self._variants(name), self.datasets, self._labels(name), printed.note)
        made = tables.efficiency_table(self.dsc, read_cost(self.results / "cost.csv"), *selection)
        return _render([made], self.runs if printed.has_provenance else [])

    def _ablation(self, name: str) -> list[Rendered]:
        printed = _Printed(self.results / f"{name}.md")
        variants = self._variants(name)
        if printed.reference is None or printed.reference >= len(variants):
            raise PipelineError(f"{self.results / name}.md: names no reference; run its rule again")
        family = name.removeprefix("tables/ablation_")
        runs = self._runs(f"ablations/{family}.csv")
        dsc = collect(runs)
        stored = read_table(self.results / f"{name}.csv", ["variant"])
        datasets = [dataset for dataset in dict.fromkeys(dsc["dataset"]) if dataset in stored]
        cost = read_cost(self.results / "cost.csv") if "trainable_parameters" in stored else None
        selection = (dsc, variants, datasets, variants[printed.reference], printed.title.removesuffix(": DSC (%)"))
        more = (self._labels(name), Path(name).name, printed.note, cost)
        # Without the runs there is neither provenance nor a mark.
        made_of = runs if printed.has_provenance else []
        tests = tables.family_tests(made_of, variants[printed.reference]) if made_of else None
        rendered = _render([tables.ablation_table(*selection, *more, tests)], made_of)
        if family == "components":
            self.components = pd.read_csv(io.StringIO(rendered[0]["csv"]))
        return rendered

    def _transfer(self, name: str) -> list[Rendered]:
        stored = read_table(self.results / f"{name}.csv", ["variant", "train_dataset", "seed"])
        rows = stored.drop_duplicates(["variant", "train_dataset", "seed"]).itertuples()
        runs = [self._run(row.train_dataset, row.variant, int(row.seed)) for row in rows]
        printed = _Printed(self.results / f"{name}.md")
        # A row is called by its variant and its dataset; the names of datasets are the project's own.
        labels = {
            run.variant: printed_name.removesuffix(f", {dataset_label(run.dataset)}")
            for run in runs
            for printed_name in printed.names
            if printed_name.endswith(f", {dataset_label(run.dataset)}")
        }
        return _render([transfer_table.build(runs, self.results / "transfer", labels, printed.note)], [])

    def _evaluation_choices(self, name: str) -> list[Rendered]:
        side = int(read_table(self.results / f"{name}.csv", ["input_side"])["input_side"].iloc[0])
        selection = (self.results / "evaluation_choices", side, self._labels(name), self._note(name))
        return _render([evaluation_choices.build(self.runs, *selection)], [])

    def _prompt_sensitivity(self, name: str) -> list[Rendered]:
        selection = (self.results / "prompt_sensitivity", self._labels(name), self._note(name))
        return _render([prompt_sensitivity_table.build(self.runs, *selection)], [])

    def _data_audit(self, name: str) -> list[Rendered]:
        datasets = _once(read_table(self.results / f"{name}.csv", ["dataset"])["dataset"])
        lines = _read(self.results / f"{name}.md").splitlines()
        note = next((line.strip("*") for line in lines[:3] if line.startswith("**")), "")
        findings = [
            finding
            for dataset in datasets
            for finding in audit.audit_dataset(dataset, self.results / "datasets" / dataset)
        ]
        return [{"csv": audit.to_csv(findings), "md": audit.to_markdown(datasets, findings, note)}]

    def _paper(self) -> str:
        text = _read(self.results / "paper.md")
        return paper(
            self.regression or [],
            self.dsc,
            read_cost(self.results / "cost.csv"),
            self.reported,
            self._variants("tables/main"),
            self._labels("tables/main"),
            self.components,
            self.comparison,
            _once(re.findall(r"\]\((\w+)\.pdf\)", text)),
            _once(re.findall(r"\]\(tables/(\w+)\.md\)", text)),
            next((line[2:] for line in text.splitlines() if line.startswith("> ")), ""),
        )

    def _note(self, name: str) -> str:
        return _Printed(self.results / f"{name}.md").note

    def _variants(self, name: str) -> list[str]:
        rows = read_table(self.results / f"{name}.csv", ["variant"])
        own = ~rows["reported_only"].astype(bool) if "reported_only" in rows else slice(None)
        return rows.loc[own, "variant"].tolist()

    def _labels(self, name: str) -> Mapping[str, str]:
        rows = read_table(self.results / f"{name}.csv", ["variant", "label"])
        return dict(zip(rows["variant"], rows["label"], strict=True))

    def _regression(self) -> Iterator[Finding]:
        path = self.results / "regression.json"
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            with_cases = any(row["case_half_width"] is not None for row in stored["rows"])
            settings = [stored[key] for key in ("datasets", "must_reproduce", "smallest_tolerance", "resamples")]
            settings += [stored["comparable"], stored["note"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PipelineError(f"{path}: cannot be read ({error!r}); run its rule again") from None
        runs = self.runs if with_cases else []
        record, table = regression.build(self.dsc, self.reported, runs, *settings)
        self.regression = record["rows"]
        yield self._compare("regression.json", json.dumps(record, indent=2, sort_keys=True) + "\n")
        yield self._compare("tables/regression.md", markdown(table))


def unchecked(results: Path, findings: Sequence[Finding]) -> list[str]:
    """Tables that :meth:`Study.check` did not compute again: made from something else, or parts of them missing."""
    seen = {finding.path for finding in findings}
    paths = [*sorted((results / "tables").glob("*.*")), *sorted(results.glob("paper.md"))]
    names = (path.relative_to(results).as_posix() for path in paths)
    return [name for name in names if name not in seen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the study's results folder")
    parser.add_argument("--reported", type=Path, default=Path(REPORTED), help="reported.csv")
    arguments = parser.parse_args()
    study = Study(arguments.results, arguments.reported)
    findings = list(study.check())
    for finding in findings:
        print(f"{'agrees ' if finding.problem is None else 'DIFFERS'} {finding.path}")
    for name in unchecked(arguments.results, findings):
        print(f"not checked {name}")
    problems = [f"  {finding.path}: {finding.problem}" for finding in findings if finding.problem is not None]
    if problems:
        raise PipelineError(
            f"{len(problems)} of {len(findings)} files are not what the {len(study.runs)} runs' per-case scores give; "
            "run their rules again\n" + "\n".join(problems)
        )
    print(f"{len(findings)} files agree with the per-case scores of {len(study.runs)} runs")


if __name__ == "__main__":
    run_command(main)
