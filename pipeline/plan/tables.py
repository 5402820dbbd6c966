"""One entry for each table, with the lists of runs and the verdicts that tables are made from."""

from collections.abc import Iterator
from dataclasses import replace

from pipeline.data.conventions import CONVENTIONS
from pipeline.data.released import released_checkpoint
from pipeline.data.sources import JOINT
from pipeline.plan.runs import Group
from pipeline.plan.shown import ABLATION, DATA, PAPER, table
from pipeline.plan.sources import REPORTED, Sources
from pipeline.plan.steps import Entry, Source, Step, files
from pipeline.trials import tuned


def tables(plan: Sources) -> Iterator[Step]:
    """All tables, in the order in which the report shows them."""
    for entries in (
        *(_main, _families, _methods, _augmentation, _joint, _leaks, _transfer, _tuning),
        *(_choices, _released, _prompts, _gradients, _regression, _data),
    ):
        yield from entries(plan)


def collected(plan: Sources) -> Iterator[Step]:
    """The tables of runs: dsc.csv and those of the families."""
    for group in (group.apart() for group in (*plan.groups, plan.alone) if group.table):
        seeds = {variant: list(numbers) for variant, numbers in group.seeds.items()}
        options = {"results": plan.study.results, "datasets": list(group.datasets), "seeds": seeds}
        source = Source({}, files(plan.folders(group), "per_case.csv", "per_prompt.csv"), options)
        name = "collect" if group.name == plan.main.name else f"collect_{group.name}"
        yield Step(name, "pipeline.evaluation.collect", source, {"csv": group.table}, group.table)


def _of_main(plan: Sources) -> Source:
    return plan.of_runs(plan.main, "per_case.csv", "manifest.json")


def _scored(plan: Sources, group: Group) -> Source:
    """The runs of a family and its table of them."""
    return plan.of_runs(group, "per_case.csv", "manifest.json") | Source({"dsc": group.table})


def _main(plan: Sources) -> Iterator[Step]:
    runs, rows = _of_main(plan), plan.in_order() | plan.rows(plan.main)
    scores = runs | plan.file(dsc="dsc.csv") | REPORTED
    compared = runs | plan.against(plan.reference) | plan.names(plan.main)
    compared |= Source(options={"bootstrap": plan.study.evaluation.bootstrap_samples})
    yield from table(plan, "comparison", "Better, worse or equivalent", compared)
    comparison = plan.file(comparison="tables/comparison.csv")
    yield from table(plan, "main", "DSC by method and dataset", scores | comparison | rows)
    yield from table(plan, "secondary_metrics", "IoU, HD95 and NSD by method and dataset", scores | rows)
    bins = plan.of_runs(plan.main, "per_case.csv", "calibration.csv", "thresholds.csv", "manifest.json")
    shown = "Calibration, and the threshold that validation chooses"
    yield from table(plan, "calibration", shown, bins | plan.file(dsc="dsc.csv") | rows)
    cost = plan.file(cost="cost.csv", speed="speed.csv")
    yield from table(plan, "efficiency", "Cost and DSC", scores | cost | rows)


def _families(plan: Sources) -> Iterator[Step]:
    for name, family in plan.families.items():
        entry = plan.study.ablations[name]
        source = _scored(plan, family) | plan.file(cost="cost.csv") | plan.against(entry.reference)
        source |= Source(options={"title": entry.title}) | plan.in_order(family) | plan.rows(family)
        shown = Entry(ABLATION, {"result": "Table: DSC by variant"}, "page_ablation", entry.title)
        yield from table(plan, f"ablation_{name}", shown, source, "family")


def _methods(plan: Sources) -> Iterator[Step]:
    if family := plan.families.get("methods"):
        entry = plan.study.ablations["methods"]
        source = _scored(plan, family) | plan.file(cost="cost.csv") | plan.in_order(family) | plan.rows(family)
        source |= Source(options={"title": entry.title, "reference": entry.reference})
        yield from table(plan, "methods", "Methods: size, rank, time", source)


def _augmentation(plan: Sources) -> Iterator[Step]:
    if pairs := plan.augmented():
        family = plan.families["augmentation"]
        source = _scored(plan, family) | plan.in_order(family) | plan.names(family)
        source |= Source(options={"methods": pairs, "margin": plan.study.evaluation.margin})
        yield from table(plan, "augmentation", "Training with augmentation", source)


def _joint(plan: Sources) -> Iterator[Step]:
    if joint := plan.further.get("joint"):
        apart, together = joint.apart(), replace(joint, datasets=[JOINT])
        reads = files(plan.folders(together), "manifest.json")
        reads += files(plan.folders(together, "transfer"), "per_case.csv")
        options = {"scores": f"{plan.study.results}/transfer", "margin": plan.study.evaluation.margin}
        source = plan.of_runs(apart, "per_case.csv", "manifest.json") | Source({}, reads, options)
        yield from table(plan, "joint", "One training on all datasets", source | plan.names(apart))


def _leaks(plan: Sources) -> Iterator[Step]:
    if leaks := plan.further.get("leaks"):
        source = _scored(plan, leaks) | plan.in_order(leaks) | plan.split_names() | plan.names(leaks)
        source |= Source(options={"margin": plan.study.evaluation.margin})
        yield from table(plan, "leaks", "Published against leak-free splits", source)


def _transfer(plan: Sources) -> Iterator[Step]:
    if transfer := plan.further.get("transfer"):
        source = plan.of_runs(transfer, "manifest.json") | plan.further_scores(transfer, "transfer")
        source |= plan.names(transfer)
        yield from table(plan, "transfer", "Transfer between datasets", source)
        beside = [dataset for dataset in transfer.datasets if dataset not in plan.study.datasets]
        source |= plan.against(plan.reference_of(transfer)) | Source(options={"beside": beside})
        yield from table(plan, "transfer_outcomes", "Transfer: methods compared", source)


def _tuning(plan: Sources) -> Iterator[Step]:
    if plan.trials:
        points = {method: [trial._asdict() for trial in found] for method, found in plan.trials.items()}
        (seed,) = set().union(*plan.tried.seeds.values())
        options = {"results": plan.study.results, "trials": points, "seed": seed}
        source = Source({}, files(plan.folders(plan.tried), "history.csv", "manifest.json"), options)
        output = f"{plan.study.results}/tuning.json"
        source |= plan.in_order(plan.tried)
        yield Step("tuning", "pipeline.evaluation.tuning", source, {"json": output}, output)
    if group := plan.further.get("tuned"):
        methods = {method: tuned(method) for method in plan.trials}
        source = _scored(plan, group) | plan.file(tuning="tuning.json") | plan.in_order(group)
        source |= plan.against(plan.reference if plan.reference in methods else list(methods)[-1])
        source |= Source(options={"methods": methods}) | plan.names(group)
        yield from table(plan, "tuned", "DSC with tuned rates", source)


def _choices(plan: Sources) -> Iterator[Step]:
    choices = _of_main(plan) | plan.names(plan.main)
    choices |= plan.mirrored() | Source(options={"side": plan.study.image_size, "masks": plan.study.masks})
    yield from table(plan, "evaluation_choices", "DSC by choices of the evaluation", choices)
    prompts = plan.of_runs(plan.main, "per_prompt.csv", "manifest.json") | plan.names(plan.main)
    yield from table(plan, "prompt_sensitivity", "DSC by prompt type", prompts)


def _released(plan: Sources) -> Iterator[Step]:
    """Published checkpoints; on request where they come from the hub, so that what is missing there stops nothing."""
    if plan.released:
        entries = [released_checkpoint(key) for key in plan.released]
        names = ("source.json", *(f"{masks}/per_prompt.csv" for masks in CONVENTIONS))
        scored = files([f"{plan.study.results}/released/{key}" for key in plan.released], *names)
        options = {"results": plan.study.results, "checkpoints": plan.released}
        shown = Group("", "", {entry.method: () for entry in entries}, [entry.dataset for entry in entries])
        source = REPORTED | Source({}, scored, options) | plan.names(shown)
        yield from table(plan, "released", "Published checkpoints", source, on_request=not plan.own_checkpoints)


def _prompts(plan: Sources) -> Iterator[Step]:
    if found := plan.prompt_family():
        family, own = found
        # Runs without a type of their own are scored under all types anyway.
        typed = {variant: family.seeds[variant] for variant in own.options["own"]}
        source = plan.of_runs(family, "per_prompt.csv", "manifest.json") | plan.names(family) | own
        source |= plan.further_scores(replace(family, seeds=typed), "every_prompt", "per_prompt.csv")
        yield from table(plan, "prompt_matrix", "DSC by prompt type of training", source)
        source |= plan.against(plan.study.ablations["prompts"].reference)
        yield from table(plan, "prompt_outcomes", "Training with one prompt type", source)


def _gradients(plan: Sources) -> Iterator[Step]:
    if dimensions := plan.dimensions():
        depth = plan.families["depth"]
        options = {"reference": plan.reference, "dimensions": dimensions}
        source = plan.of_runs(depth, "history.csv", "manifest.json") | Source(options=options) | plan.names(depth)
        yield from table(plan, "gradients", "Gradients by base dimension", source)


def _regression(plan: Sources) -> Iterator[Step]:
    runs, output = _of_main(plan), f"{plan.study.results}/regression.json"
    judged = plan.study.regression.model_dump() | {"comparable": plan.comparable(), "note": plan.note()}
    module, source = "pipeline.evaluation.reproduction", runs | REPORTED | Source(options=judged)
    yield Step("reproduction", module, source, {"json": output}, output, subcommand="judge")
    shown = Entry(PAPER, {"page": "Reported against measured DSC"}, "page_regression")
    source = runs | plan.file(regression="regression.json") | plan.names(plan.main)
    yield from table(plan, "regression", shown, source, kinds=("md",))


def _data(plan: Sources) -> Iterator[Step]:
    datasets = [dataset for dataset in plan.datasets if dataset != JOINT]
    audit = plan.of_datasets(datasets, "integrity.json", "provenance.json", "cases.csv")
    shown = Entry(DATA, {"result": "Table: audit"}, "page_data_audit")
    yield from table(plan, "data_audit", shown, audit, kinds=("csv", "md"))
