"""One entry for each figure."""

from collections.abc import Iterator
from dataclasses import replace

from pipeline.plan.runs import Group
from pipeline.plan.shown import ABLATION, DATA, PAPER, figure
from pipeline.plan.sources import REPORTED, Sources
from pipeline.plan.steps import Entry, Source, Step


def figures(plan: Sources) -> Iterator[Step]:
    """All figures, in the order in which the report shows them."""
    for entries in (_main, _examples, _runs, _data, _further, _prompts, _families):
        yield from entries(plan)


def _main(plan: Sources) -> Iterator[Step]:
    rows, scores, cost = plan.rows(plan.main), plan.file(dsc="dsc.csv"), plan.file(cost="cost.csv")
    comparison = plan.file(comparison="tables/comparison.csv")
    published = Source({"published": REPORTED.inputs["reported"]}) if plan.comparable() else Source()
    shown = Entry(PAPER, {"page": "Overview: all methods on all datasets"}, "overview")
    yield figure(plan, "overview", shown, scores | comparison | published | plan.in_order() | rows)
    yield figure(plan, "pareto", "DSC against trained parameters", scores | cost | published | rows)
    if len(plan.main.variants) > 1:
        yield figure(plan, "comparison", "Better, worse or equivalent", comparison | rows, "forest")


def _examples(plan: Sources) -> Iterator[Step]:
    galleries = Source({}, [f"{plan.study.results}/gallery/{dataset}.npz" for dataset in plan.study.datasets])
    galleries |= Source(options={"results": plan.study.results}) | plan.in_order() | plan.rows(plan.main)
    for name, shown, roles in (
        ("qualitative", "The median case of each dataset", ["median"]),
        ("failures", "The worst case of each dataset", ["worst"]),
        ("qualitative_supplement", "Supplement: best, median and worst cases", ["best", "median", "worst"]),
        ("failures_supplement", "Supplement: further failures", ["failure"]),
    ):
        yield figure(plan, name, shown, galleries | Source(options={"roles": roles}), "casegrid")


def _runs(plan: Sources) -> Iterator[Step]:
    rows = plan.rows(plan.main)
    yield figure(plan, "training_curves", "Training curves", plan.of_runs(plan.main, "history.csv") | rows)
    yield figure(plan, "calibration", "Reliability diagram", plan.of_runs(plan.main, "calibration.csv") | rows)
    drawn = Group("", "", dict.fromkeys(plan.schedules(), plan.study.seeds), ())
    yield figure(plan, "width_schedule", "Widths by layer", plan.widths(drawn) | plan.rows(drawn))
    source = plan.of_runs(plan.main, "manifest.json") | plan.file(cost="cost.csv") | rows
    yield figure(plan, "cost", "Cost", source, "cost_by_variant")
    if getattr(plan.study.variants[plan.reference].settings, "alpha_learned", False):
        scales = plan.of_runs(plan.alone, "weights.safetensors") | plan.rows(plan.alone)
        yield figure(plan, "alpha_by_depth", "Learned residual scales", scales)


def _data(plan: Sources) -> Iterator[Step]:
    shown = Entry(DATA, {"result": "Figure: overview"}, "data_overview")
    yield figure(plan, "data_overview", shown, plan.of_datasets(plan.study.datasets, "integrity.json"))


def _further(plan: Sources) -> Iterator[Step]:
    if transfer := plan.further.get("transfer"):
        source = plan.file(transfer="tables/transfer.csv") | plan.rows(transfer)
        yield figure(plan, "transfer", "Transfer between datasets", source, "transfer_heatmap")
    if pairs := plan.augmented():
        family = plan.families["augmentation"]
        plain = replace(family, seeds={name: family.seeds[name] for name in pairs})
        source = plan.file(table="tables/augmentation.csv") | Source(options={"names": ["none", "light"]})
        yield figure(plan, "augmentation", "Training with augmentation", source | plan.rows(plain), "before_after")
    if joint := plan.further.get("joint"):
        source = plan.file(table="tables/joint.csv") | plan.rows(joint.apart())
        source |= Source(options={"names": ["one training each", "one on all"]})
        yield figure(plan, "joint", "One training on all datasets", source, "before_after")
    if leaks := plan.further.get("leaks"):
        source = plan.file(table="tables/leaks.csv") | plan.split_names() | plan.rows(leaks)
        yield figure(plan, "leaks", "Published against leak-free splits", source, "before_after")
    if plan.trials:
        methods = Group("", "", dict.fromkeys(plan.trials, ()), plan.tried.datasets)
        source = plan.file(tuning="tuning.json") | plan.rows(methods)
        yield figure(plan, "tuning", "Validation DSC by learning rate", source)


def _prompts(plan: Sources) -> Iterator[Step]:
    source = plan.file(table="tables/prompt_sensitivity.csv") | plan.rows(plan.main)
    yield figure(plan, "prompt_sensitivity", "DSC by prompt type", source, "prompt_types")
    if found := plan.prompt_family():
        family, own = found
        source = plan.file(table="tables/prompt_matrix.csv") | plan.rows(family) | own
        yield figure(plan, "prompt_matrix", "DSC by prompt type of training", source, "prompt_types")


def _families(plan: Sources) -> Iterator[Step]:
    for name, family in plan.families.items():
        ablation = plan.study.ablations[name]
        source = plan.of_runs(family, "per_case.csv") | plan.against(ablation.reference) | plan.rows(family)
        source |= Source(options={"title": ablation.title})
        module, label = "ablation", "Figure: DSC by variant"
        if plan.differs_in_widths(family):
            module, label, source = "ablation_depth", "Figure: DSC by width schedule", source | plan.widths(family)
        shown = Entry(ABLATION, {"result": label}, module, ablation.title)
        yield figure(plan, f"ablation_{name}", shown, source, module)
    if family := plan.families.get("methods"):
        source = plan.file(table="tables/methods.csv") | plan.in_order(family) | plan.rows(family)
        yield figure(plan, "methods", "Methods: DSC against parameters, time, memory", source)
    if family := plan.families.get("data"):
        source = plan.of_runs(family, "per_case.csv") | Source(options={"points": plan.data_points()})
        label = {"result": "Figure: DSC by share of the cases"}
        shown = Entry(ABLATION, label, "data_efficiency", plan.study.ablations["data"].title)
        yield figure(plan, "data_efficiency", shown, source | plan.names(family))
