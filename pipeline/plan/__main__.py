"""Count the runs of a study, new and shared, by family; with --teraflops, estimate their GPU hours."""

import argparse
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import read_study
from pipeline.cost.hours import NOTE, ImageCost, training_hours
from pipeline.data.sources import JOINT, dataset_facts
from pipeline.evaluation.readers import read_cost
from pipeline.plan import Plan, compact
from pipeline.runtime.errors import PipelineError, run_command


def _images(plan: Plan, dataset: str) -> tuple[int, int]:
    """Cases of the training and of the validation split; as listed, so of another split than published about."""
    if dataset == JOINT:
        parts = [_images(plan, name) for name in plan.tested_on("joint")]
        return sum(train for train, _ in parts), sum(val for _, val in parts)
    phantoms, records = plan.study.archives.phantoms, dataset_facts(dataset).records
    return (phantoms.train, phantoms.val) if phantoms else (records["train"], records["val"])


def estimate(
    plan: Plan, costs: Mapping[str, ImageCost], teraflops: float, epochs: int | None = None
) -> Callable[[Iterable[tuple[str, str, int]]], float]:
    """GPU hours of trainings (:func:`pipeline.cost.hours.training_hours`); NaN if the cost of one is not known.

    Args:
        costs: by variant, those of :attr:`Runs.variants`; what trains nothing has none and takes no time.
        teraflops: assumed throughput, 1e12 FLOPs a second.
        epochs: of each training; ``max_epochs`` of its own if absent.
    """
    by_model = {compact(plan.settings(name)): costs[name] for name in plan.variants if name in costs}

    def hours(dataset: str, variant: str, _: int) -> float:
        settings, (train, val) = plan.study.training_of(variant), _images(plan, dataset)
        cost = by_model.get(compact(plan.settings(variant)), ImageCost(math.nan, math.nan))
        share = settings.train_fraction  # of the validation cases; an epoch is as long as with all
        return training_hours(cost, train, share * val, epochs or settings.max_epochs, teraflops)

    return lambda runs: sum(hours(*run) for run in runs)


def summary(plan: Plan, hours: Callable[[Iterable[tuple[str, str, int]]], float] | None = None) -> str:
    """Runs of the main table and of each family: all, shared with those above, new, and new for more seeds only.

    Args:
        hours: of trainings; for a column with those of the new runs.
    """

    def line(name: str, *counts: Any) -> str:
        columns = zip(counts, (6, 7, 6, 15, 10), strict=False)
        return f"{name:20} " + " ".join(f"{value:>{width}}" for value, width in columns)

    def new(runs: set[tuple[str, str, int]]) -> list[Any]:
        more = sum(seed not in plan.study.seeds for *_, seed in runs)
        return [len(runs), more] + ([f"{hours(runs):.0f}"] if hours else [])

    heading = ["runs", "shared", "new", "for more seeds"] + (["GPU hours"] if hours else [])
    lines, planned = [line("", *heading)], set()
    for group in (group for group in plan.groups if group.variants):
        runs = plan.trainings(group)
        lines.append(line(group.name, len(runs), len(runs & planned), *new(runs - planned)))
        planned |= runs
    return "\n".join([*lines, line("total", "", "", *new(planned))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="config.yaml, then overlays")
    assumed = "assumed throughput of a GPU in training, 1e12 FLOPs a second, for an estimate of GPU hours"
    parser.add_argument("--teraflops", type=float, help=assumed)
    parser.add_argument("--epochs", type=int, help="of each training in that estimate; max_epochs if absent")
    options = parser.parse_args()
    for name in ("teraflops", "epochs"):
        if (value := getattr(options, name)) is not None and not value > 0:
            raise PipelineError(f"--{name}: {value:g} is not above 0")
    plan = Plan(read_study(*options.files))
    if not options.teraflops:
        print(summary(plan))
        return
    path = f"{plan.study.results}/cost.csv"
    if not Path(path).exists():
        raise PipelineError(f"{path}: is not there; make it with `snakemake --cores 2 {path}`, which needs no data")
    table = read_cost(path)[list(ImageCost._fields)]
    table[table.isna().any(axis=1)] = 0  # nothing is trained
    costs = {name: ImageCost(*values) for name, *values in table.itertuples()}
    print(summary(plan, estimate(plan, costs, options.teraflops, options.epochs)))
    epochs = f"{options.epochs} epochs" if options.epochs else "as many epochs as it may (max_epochs)"
    print(NOTE.format(epochs=epochs, teraflops=options.teraflops))


if __name__ == "__main__":
    run_command(main)
