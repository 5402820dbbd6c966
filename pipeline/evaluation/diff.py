"""Compare two studies, B minus A: which rows moved, by how much, and what differs in how they were trained.

    python -m pipeline.evaluation.diff RESULTS_A RESULTS_B [--csv FILE]

A row is a dataset and a variant: their scored runs in both studies, over the cases that both have, paired by the seeds
that both have (:func:`pipeline.evaluation.compare_methods`); Holm's correction is over the rows that moved. Settings
are those in the runs' manifests, which say nothing of how runs were scored.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.evaluation.intervals import case_intervals
from pipeline.evaluation.methods import MARGIN, compare_methods
from pipeline.evaluation.readers import read_cases
from pipeline.evaluation.runs import Run, run_of
from pipeline.runtime.atomic import read_json, write_csv
from pipeline.runtime.errors import PipelineError, run_command

SETTINGS = ("configuration", "code_sha256", "data_sha256", "backbone_sha256", "trained_parameters")
SETTINGS += ("mode", "precision", "steps", "device", "versions")
"""Keys of manifest.json that say how a run was trained."""
FOUND = ["difference", "low", "high", "p_holm", "outcome", "cases_low", "cases_high"]
NEEDED = ["case", "dsc", "target_pixels"]
SAMPLES = 2000
Rows = dict[str, dict[int, Run]]


def scored_runs(results: Path) -> Rows:
    """The scored runs in a results folder by row ("dataset/variant") and seed.

    Raises:
        PipelineError: there is none.
    """
    rows: Rows = {}
    for path in sorted(results.glob("runs/*/*/seed*[0-9]/per_case.csv")):
        run = run_of(results, *path.parts[-4:-2], path.parts[-2].removeprefix("seed"))
        rows.setdefault(f"{run.dataset}/{run.variant}", {})[run.seed] = run
    if not rows:
        raise PipelineError(f"{results}: holds no scored run (runs/*/*/seed*/per_case.csv); name a results folder")
    return rows


def compare(a: Rows, b: Rows, margin: float) -> tuple[pd.DataFrame, list[str]]:
    """The rows of both studies, the largest differences first, and in words where their test cases differ.

    Returns:
        Columns row; seeds and cases: how many are compared; changed: how many of these cases have another DSC; a and b:
        mean DSC, points; :data:`FOUND`, as of :func:`pipeline.evaluation.compare_methods` and
        :func:`pipeline.evaluation.intervals.case_intervals`, empty in rows that did not move.
    """
    moved, rows, notes = [], [], []
    for row in [row for row in a if row in b]:
        seeds = a[row].keys() & b[row].keys()
        chosen = [[run for seed, run in runs[row].items() if seed in seeds or not seeds] for runs in (a, b)]
        sides = [read_cases(runs, NEEDED) for runs in chosen]
        targets = [side.groupby("case")["target_pixels"].first() for side in sides]
        shared = targets[0].index.intersection(targets[1].index)
        if left := [len(target) - len(shared) for target in targets if len(target) > len(shared)]:
            notes.append(f"{row}: {len(shared)} test cases are in both studies, {sum(left)} in one of them only")
        if other := int((targets[0][shared] != targets[1][shared]).sum()):
            notes.append(f"{row}: the masks of {other} test cases have another area")
        if shared.empty:
            continue
        sides = [side[side["case"].isin(shared)] for side in sides]
        tables = [side.pivot_table(index="case", columns="seed", values="dsc") for side in sides]
        changed = int((~(tables[0] - tables[1]).abs().lt(1e-9)).any(axis=1).sum())
        rows.append([row, len(seeds), len(shared), changed, *(100 * table.mean(axis=None) for table in tables)])
        if changed:  # each row as a dataset of its own, with the studies in place of variants
            moved += [side.assign(dataset=row, variant=name) for name, side in zip("ab", sides, strict=True)]
    table = pd.DataFrame(rows, columns=["row", "seeds", "cases", "changed", "a", "b"])
    if moved:
        scores, key = pd.concat(moved), ["dataset", "variant"]
        found = compare_methods(scores, "a", margin).merge(case_intervals(scores, "a", SAMPLES), on=key)
        table = table.merge(found[["dataset", *FOUND]].rename(columns={"dataset": "row"}), on="row", how="left")
        table = table.sort_values("difference", key=abs, ascending=False, kind="stable", ignore_index=True)
    return table.reindex(columns=[*table.columns[:6], *FOUND]), notes


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        yield name.removeprefix("configuration."), str(value)[:40]
    for key, item in value.items() if isinstance(value, Mapping) else ():
        yield from _flat(item, f"{name}.{key}" if name else key)


def changed_settings(a: Rows, b: Rows) -> dict[str, list[str]]:
    """What differs, as "setting: its value in A, its value in B", and the rows of both studies in which it does."""
    found: dict[str, list[str]] = {}
    for row in [row for row in a if row in b]:
        sides: list[dict[str, set[str]]] = [{}, {}]
        for side, run in [(side, run) for side, runs in zip(sides, (a, b), strict=True) for run in runs[row].values()]:
            record = read_json(run.folder / "manifest.json", dict, "train the run again")
            for name, value in _flat({name: record.get(name) for name in SETTINGS}):
                side.setdefault(name, set()).add(value)
        for name in dict.fromkeys([*sides[0], *sides[1]]):
            values = [", ".join(sorted(side.get(name, {"absent"}))) for side in sides]
            if values[0] != values[1]:
                found.setdefault(f"{name}: A {values[0]}, B {values[1]}", []).append(row)
    return found


def text(a: Rows, b: Rows, table: pd.DataFrame, notes: list[str], margin: float) -> str:
    """The comparison to be read on a terminal."""
    moved, shared = table[table["changed"] > 0], [row for row in a if row in b]
    lines = [f"{len(table)} rows are compared: {len(moved)} moved, {len(table) - len(moved)} have the same scores"]
    if len(moved):
        counts = moved["outcome"].value_counts()
        head = {"a": "DSC A", "b": "DSC B", "difference": "B - A", "cases_low": "cases low", "cases_high": "cases high"}
        shown = moved.drop(columns="p_holm").rename(columns=head)
        lines[0] += f"; B is {', '.join(f'{outcome} in {count}' for outcome, count in counts.items())}"
        lines += ["", shown.to_string(index=False, float_format="{:.2f}".format, na_rep="n/a"), ""]
        lines += [f"DSC in points; outcome after Holm's correction, margin of equivalence {margin:g}. 95% intervals:"]
        lines += ["low, high: of other trainings (two seeds at least); cases low, high: of other test cases."]
    different = changed_settings(a, b)
    parts = {"in A only": [row for row in a if row not in b], "in B only": [row for row in b if row not in a]}
    for name, rows in (parts | different).items():
        some = f"{', '.join(rows[:3])}{f' and {len(rows) - 3} more' if len(rows) > 3 else ''}"
        lines += [f"{name} ({'all rows' if rows == shared else some})"] if rows else []
    return "\n".join([*lines, *notes, *([] if different else ["no setting of training differs"])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs=2, type=Path, help="two results folders, A and B")
    parser.add_argument("--csv", type=Path, help="write the comparison to this file")
    parser.add_argument(
        "--margin", type=float, default=MARGIN, help="of equivalence, DSC points (default: %(default)g)"
    )
    options = parser.parse_args()
    a, b = map(scored_runs, options.results)
    table, notes = compare(a, b, options.margin)
    print(text(a, b, table, notes, options.margin))
    if options.csv:
        write_csv(options.csv, table)


if __name__ == "__main__":
    run_command(main)
