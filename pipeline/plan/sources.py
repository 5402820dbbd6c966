"""What tables and figures are made from, and which variants some of them show."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.data.sources import dataset_facts
from pipeline.plan.runs import Group, Runs
from pipeline.plan.steps import Source, compact, files

REPORTED = Source({"reported": "workflow/resources/reported.csv"})


class Sources(Runs):
    """The runs of a study, and what is told of them to the modules that render tables and figures."""

    def reference_of(self, group: Group) -> str:
        """The variant of ``group`` that its others are compared with."""
        return self.reference if self.reference in group.variants else group.variants[-1]

    def gallery_variants(self) -> list[str]:
        """The main table's variants; the one that others are compared with comes first."""
        return [self.reference, *(variant for variant in self.study.main if variant != self.reference)]

    def schedules(self) -> list[str]:
        """The variants whose widths are drawn: the depth family's telescopic ones, or the main table's."""
        variants = [name for name in self.families.get("depth", self.main).variants if name not in self.learned]
        return [variant for variant in variants if self.study.variants[variant].settings.kind == "telescopic"]

    def differs_in_widths(self, family: Group) -> bool:
        """Whether the variants of ``family`` are telescopic and differ in the widths by layer, and in nothing else."""
        settings = [self.study.variants[variant].settings for variant in family.variants]
        if {entry.kind for entry in settings} != {"telescopic"}:
            return False
        widths = {"base_dimension", "schedule", "width_sum", "vision_layers", "placement", "text_width"}
        alike = len({entry.model_dump_json(exclude=widths) for entry in settings}) == 1
        return alike and len({entry.model_dump_json() for entry in settings}) > 1

    def prompt_family(self) -> tuple[Group, Source] | None:
        """The prompts family and how its runs are told apart, if it compares own prompt types with all of them."""
        family, entry = self.families.get("prompts"), self.study.ablations.get("prompts")
        if family is None or entry is None:
            return None
        types = {variant: self.study.training_of(variant).prompt_type for variant in family.variants}
        own = {variant: name for variant, name in types.items() if name != "random"}
        if not own or entry.reference in own:
            return None
        return family, Source(options={"own": own})

    def dimensions(self) -> dict[str, int]:
        """Base dimension of the reference and of those variants of the depth family that differ in nothing else."""
        settings = {name: self.settings(name) for name in self.families.get("depth", self.main).variants}
        alike = {
            name: entry["base_dimension"]
            for name, entry in settings.items()
            if entry | {"base_dimension": 0} == self.settings(self.reference) | {"base_dimension": 0}
            and name not in self.learned
        }
        return alike if len(alike) > 1 and self.reference in alike else {}

    def augmented(self) -> dict[str, str]:
        """By variant of the family augmentation the one that differs from it in that alone."""

        def apart_from_it(variant: str) -> str:
            return compact([self.settings(variant), self.training(variant) | {"augmentation": None}])

        family = self.families["augmentation"].variants if "augmentation" in self.families else ()
        light = {apart_from_it(name): name for name in family if self.training(name)["augmentation"] != "none"}
        plain = (name for name in family if name not in light.values())
        return {name: light[apart_from_it(name)] for name in plain if apart_from_it(name) in light}

    def data_points(self) -> dict[str, dict[str, Any]]:
        """Method and share of the training cases of each variant of the data family."""
        study, variants = self.study, self.families["data"].variants
        fractions = {variant: study.training_of(variant).train_fraction for variant in variants}
        whole = [variant for variant in variants if fractions[variant] == 1]

        def method(variant: str) -> str:
            same = (other for other in whole if self.settings(other) == self.settings(variant))
            return study.label(next(same, variant))

        return {variant: {"method": method(variant), "fraction": fractions[variant]} for variant in variants}

    def file(self, **names: str) -> Source:
        """Files below the results folder, by option."""
        return Source({option: f"{self.study.results}/{name}" for option, name in names.items()})

    def of_runs(self, group: Group, *names: str) -> Source:
        """The list of a group's runs, and these files of each of them."""
        reads = files(self.folders(group), *names)
        return Source({"runs": group.table}, reads, {"results": self.study.results})

    def further_scores(self, group: Group, below: str, scores: str = "per_case.csv") -> Source:
        """Further ``scores`` of a group's runs, laid out in the folder ``below`` as the runs are."""
        return Source({}, files(self.folders(group, below), scores), {"scores": f"{self.study.results}/{below}"})

    def mirrored(self) -> Source:
        """Scores of those runs of the main table whose predictions are averaged with the mirror images', if any."""
        entry, main = self.study.test_time, self.main
        if entry is None:
            return Source()
        datasets = [name for name in main.datasets if name in (entry.datasets or main.datasets)]
        counted = entry.seeds or self.study.seeds
        seeds = {
            name: [seed for seed in numbers if seed in counted]
            for name, numbers in main.seeds.items()
            if name in (entry.variants or main.variants)
        }
        reads = files(self.folders(Group("mirrored", "", seeds, datasets), "mirrored"), "per_case.csv")
        return Source({}, reads, {"mirrored": {"datasets": datasets, "seeds": seeds}})

    def of_datasets(self, datasets: Sequence[str], *names: str) -> Source:
        """These files of each standardised dataset."""
        folders, group = (
            [f"{self.study.results}/datasets/{dataset}" for dataset in datasets],
            Group("", "", {}, datasets),
        )
        source = Source({}, files(folders, *names), {"results": self.study.results})
        return source | self.in_order(group) | self.names(group)

    def in_order(self, group: Group | None = None) -> Source:
        """The datasets of ``group``, or of the main table, in their order."""
        return Source(options={"datasets": list((group or self.main).datasets)})

    def against(self, reference: str) -> Source:
        """What variants are compared with, and the difference below which they count as equivalent."""
        return Source(options={"reference": reference, "margin": self.study.evaluation.margin})

    def names(self, group: Group) -> Source:
        """Display names of what is shown, and the note."""
        names = {variant: self.study.label(variant) for variant in group.variants}
        names |= {dataset: dataset_facts(dataset).title for dataset in group.datasets}
        return Source(options={"labels": names, "note": self.note()})

    def rows(self, group: Group) -> Source:
        """The same with the rows in their order."""
        return Source(options={"variants": list(group.variants)}) | self.names(group)

    def split_names(self) -> Source:
        """What the two splits are called that the family leaks compares."""
        return Source(options={"names": [f"{self.study.split} split", "leak-free split"]})

    def widths(self, group: Group) -> Source:
        """What widths by layer follow from: settings, and what was learned for runs of ``group``."""
        settings = {variant: self.settings(variant) for variant in group.variants}
        learned = [variant for variant in group.variants if variant in self.learned]
        those = replace(group, seeds={variant: group.seeds[variant] for variant in learned})
        reads = files(self.folders(those), "widths.json")
        return Source({}, reads, {"settings": settings, "backbone": self.backbone(), "learned": learned or None})
