"""The entry of paper.md, which links to all tables and figures."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.plan.shown import PAPER, page
from pipeline.plan.sources import REPORTED, Sources
from pipeline.plan.steps import Entry, Source, Step

ANSWERS = {
    "joint": {"joint": "tables/joint.csv"},
    "leaks": {"leaks": "tables/leaks.csv"},
    "transfer": {"outcomes": "tables/transfer_outcomes.csv"},
    "tuned": {"tuned": "tables/tuned.csv"},
    "components": {"components": "tables/ablation_components.csv"},
    "methods": {"fronts": "tables/methods.csv"},
    "augmentation": {"augmentation": "tables/augmentation.csv"},
    "gradients": {"gradients": "tables/gradients.csv"},
    "prompt_outcomes": {"prompts": "tables/prompt_outcomes.csv"},
}
"""What the page reads of a family or table, if the study has it, by option."""


def _names(prefix: str, steps: Sequence[Step]) -> list[str]:
    return [step.name.removeprefix(prefix) for step in steps if step.name.startswith(prefix)]


def paper(plan: Sources, tables: Sequence[Step], figures: Sequence[Step]) -> Iterator[Step]:
    """paper.md and its page."""
    listed = {"figures": _names("figure_", figures), "tables": _names("table_", tables)}
    families = {
        name: plan.study.ablations[name].model_dump(include={"title", "reference"})
        | {"table": f"{plan.study.results}/tables/ablation_{name}.csv"}
        for name in plan.families
    }
    source = plan.file(regression="regression.json", dsc="dsc.csv", cost="cost.csv") | REPORTED
    source |= plan.file(comparison="tables/comparison.csv", choices="tables/evaluation_choices.csv")
    there = {*plan.further, *plan.families, *listed["tables"]}
    for name in ANSWERS:
        source |= plan.file(**ANSWERS[name]) if name in there else Source()
    source |= Source({}, [entry["table"] for entry in families.values()], {"families": families})
    source |= Source(options=listed) | plan.rows(plan.main)
    # Later options replace earlier ones: the names of all variants that are told of.
    shown = [*plan.main.variants, *(name for group in plan.families.values() for name in group.variants)]
    source |= plan.names(replace(plan.main, seeds=dict.fromkeys(shown, ())))
    output = f"{plan.study.results}/paper.md"
    yield Step("paper", "pipeline.reporting.paper", source, {"md": output}, output)
    entry = Entry(PAPER, {"page": "Paper and study, figure by figure"}, "page_paper")
    yield page(plan, "paper", entry, Source({}, [step.outputs["png"] for step in figures]))
