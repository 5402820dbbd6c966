"""The plan of a study: its runs, and one entry for each table and figure that is made from them.

    python -m pipeline.plan config.yaml [overlay.yaml ...]     counts the runs, new and shared, by family
    python -m pipeline.plan config.yaml --teraflops 30         adds an estimate of GPU hours

The rules in workflow/rules are loops over what stands here, and pipeline.verify renders the same entries again. To add
a figure or table: one entry in :meth:`Plan._figures` or :meth:`Plan._tables`, one module, one caption.
"""

import argparse
import json
import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.config import Ablation, Further, HubBackbone, Study, read_study
from pipeline.cost.hours import NOTE, ImageCost, training_hours
from pipeline.data.conventions import CONVENTIONS
from pipeline.data.released import released_checkpoint, released_checkpoints
from pipeline.data.sources import JOINT, LEAK_FREE, dataset_facts, origin
from pipeline.evaluation.readers import read_cost
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.shipped import changes
from pipeline.trials import expand, trials, tuned

REPORTED = "workflow/resources/reported.csv"
MOST_IN_A_FIGURE = 2
"""Changed settings, and seeds, that the note of a figure names."""
FIGURES, TABLES = "pipeline.reporting.figures", "pipeline.reporting.tables"
# The report sorts its categories by name.
PAPER, TABLE, FIGURE, ABLATION, DATA = "1 Paper", "2 Tables", "3 Figures", "4 Ablations", "5 Data"


@dataclass(frozen=True)
class Entry:
    """Where Snakemake's report shows a result. One label: of a second one with two values it makes a broken switch."""

    category: str
    labels: Mapping[str, str]
    caption: str
    subcategory: str | None = None


@dataclass(frozen=True)
class Source:
    """What a step is made from; ``a | b`` joins two.

    Attributes:
        inputs: files by the option that names them.
        reads: files that the module finds by itself, below the results folder.
        options: other options; None leaves one out, what is neither text nor number is given as JSON.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    reads: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __or__(self, other: "Source") -> "Source":
        return Source({**self.inputs, **other.inputs}, [*self.reads, *other.reads], {**self.options, **other.options})


@dataclass(frozen=True)
class Step:
    """A file or set of files that one command makes from scores, facts and other steps' files.

    Attributes:
        name: of its rule and its log.
        module: run with ``python -m``; ``subcommand`` is its first argument, if it has any.
        outputs: the files by kind.
        output: value of ``--output``.
        entry: where the report shows it, if it does.
        on_request: whether ``snakemake all`` leaves it out.
    """

    name: str
    module: str
    source: Source
    outputs: Mapping[str, str]
    output: str
    entry: Entry | None = None
    on_request: bool = False
    subcommand: str | None = None

    def arguments(self, locate: Callable[[str], str] = str) -> list[str]:
        """The command line after ``python -m MODULE``; ``locate`` may move inputs and the output elsewhere."""
        values = {name: locate(path) for name, path in self.source.inputs.items()}
        values |= {name: _text(value) for name, value in self.source.options.items() if value is not None}
        values["output"] = locate(self.output)
        words = [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", value)]
        return [self.subcommand, *words] if self.subcommand else words

    def command(self) -> str:
        """The arguments as a shell reads them."""
        return shlex.join(self.arguments())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else compact(value)


def compact(value: Any) -> str:
    """``value`` as JSON on one line, for command lines and for the rerun trigger on parameters."""
    return json.dumps(value, separators=(",", ":"))


def files(folders: Iterable[str], *names: str) -> list[str]:
    """The files of these names in each of ``folders``."""
    return [f"{folder}/{name}" for folder in folders for name in names]


@dataclass(frozen=True)
class Group:
    """Runs that are compared: variants, each with its seeds, on datasets; and the table that lists its runs."""

    name: str
    table: str
    seeds: Mapping[str, Sequence[int]]
    datasets: Sequence[str]

    @property
    def variants(self) -> list[str]:
        """In the order in which they are shown."""
        return list(self.seeds)

    def runs(self) -> list[tuple[str, str, int]]:
        """Dataset, variant and seed of each run."""
        pairs = [(variant, seed) for variant, seeds in self.seeds.items() for seed in seeds]
        return [(dataset, *pair) for dataset, pair in product(self.datasets, pairs)]


class Plan:
    """Everything that a study computes."""

    def __init__(self, study: Study):
        root = study.results
        self.changes = changes(study)
        self.trials, listed = trials(study), study.variants
        self.study = study = expand(study)
        self.reference = study.evaluation.comparisons_reference
        # By variant whose widths are learned: the variant from whose run they are.
        self.learned = {name: entry.widths_from for name, entry in study.variants.items() if entry.widths_from}
        self.main = self._group("main table", f"{root}/dsc.csv", study.main, study.datasets)
        # Learned scales are shown for one variant.
        self.alone = self._group("reference", f"{root}/reference.csv", [self.reference], study.datasets)
        self.released = [
            key
            for key, entry in released_checkpoints().items()
            if entry.dataset in study.datasets and entry.method in study.variants
        ]
        # Published weights fit neither phantoms nor the demo's backbone: there runs of the study's own are scored.
        self.own_checkpoints = bool(study.archives.phantoms) or study.backbone.source == "phantom"
        families = {name: self._family(name, entry) for name, entry in study.ablations.items()}
        self.families = {name: group for name, group in families.items() if group.datasets}
        self.tried = self._tried()
        self.further = {group.name: group for group in self._further_groups()}
        self.groups = (self.main, *self.families.values(), self.tried, *self.further.values())
        # Those that the family tuning derives cost what their methods cost.
        shown = dict.fromkeys(name for group in self.groups for name in group.variants)
        self.variants = [name for name in shown if name in listed]
        # All that are made: the study's, and those that further families derive from them.
        self.datasets = list(dict.fromkeys(name for group in self.groups for name in group.datasets))
        self.data = self._apart(Group("data", "", {}, self.datasets))
        tables, figures = list(self._tables()), list(self._figures())
        wanted = [step for step in tables if not step.on_request]
        steps = (*self._collected(), *tables, *figures, *self._paper(wanted, figures))
        self.steps = {step.name: step for step in steps}

    def _group(
        self,
        name: str,
        table: str,
        variants: Iterable[str],
        datasets: Sequence[str],
        seeds: Sequence[int] | None = None,
    ) -> Group:
        """Further seeds count where there are others to compare with, and ``seeds`` in place of all others."""
        own = {variant: self.study.seeds_of(variant) for variant in variants}
        comparable = sum(len(numbers) > len(self.study.seeds) for numbers in own.values()) > 1
        shared = seeds or (None if comparable else self.study.seeds)
        return Group(name, table, {variant: shared or numbers for variant, numbers in own.items()}, datasets)

    def _family(self, name: str, entry: Ablation) -> Group:
        table = f"{self.study.results}/ablations/{name}.csv"
        datasets = [dataset for dataset in entry.datasets or self.study.datasets if dataset in self.study.datasets]
        return self._group(name, table, entry.variants, datasets, entry.seeds)

    def _further_groups(self) -> Iterator[Group]:
        """The families beside the ablations, which ask a question of the study's methods on any of its datasets."""
        study = self.study

        def group(name: str, entry: Further, derived: Callable[[list[str]], list[str]]) -> Iterator[Group]:
            chosen = [name for name in entry.datasets or study.datasets if name in study.datasets]
            datasets = list(dict.fromkeys(derived(chosen)))
            if len(datasets) > 1:
                variants, seeds = entry.variants or study.main, entry.seeds or study.seeds
                yield self._group(name, f"{study.results}/{name}.csv", variants, datasets, seeds)

        def on_both_splits(names: list[str]) -> list[str]:
            return [name + ending for name in names for ending in ("", LEAK_FREE)]

        if entry := study.transfer:
            yield from group("transfer", entry, lambda names: [*names, *entry.beside])
        if study.joint:
            yield from group("joint", study.joint, lambda names: [*names, JOINT] if len(names) > 1 else [])
        if study.leaks:
            yield from group("leaks", study.leaks, on_both_splits)
        if self.trials:
            entry = study.tuning
            if datasets := [name for name in study.datasets if name in (entry.datasets or study.datasets)]:
                variants = [*self.trials, *map(tuned, self.trials)]
                table, seeds = f"{study.results}/tuned.csv", entry.seeds or study.seeds
                yield self._group("tuned", table, variants, datasets, seeds)

    def _tried(self) -> Group:
        """The trials of the family tuning: their validation DSC counts, and they are not scored."""
        tuning = self.study.tuning
        variants = [trial.variant for points in self.trials.values() for trial in points]
        datasets = [name for name in self.study.datasets if name in tuning.tried_on] if variants else []
        seeds = {variant: [self.study.seeds[0] if tuning.seed is None else tuning.seed] for variant in variants}
        return Group("tuning", "", seeds, datasets)

    # ---------------------------------------------------------------- names and settings

    def run_folder(self, dataset: str, variant: str, seed: int) -> str:
        """Where a run's files lie."""
        return f"{self.study.results}/runs/{dataset}/{variant}/seed{seed}"

    def folders(self, group: Group, below: str = "runs") -> list[str]:
        """Folders of the runs of ``group``, or of further scores that are laid out as they are."""
        root = f"{self.study.results}/{below}"
        return [f"{root}/{dataset}/{variant}/seed{seed}" for dataset, variant, seed in group.runs()]

    def tested_on(self, family: str) -> list[str]:
        """The datasets on whose test cases each run of the family transfer is scored, or each joint one; or none."""
        return list(self._apart(self.further[family]).datasets) if family in self.further else []

    def split(self, dataset: str) -> str:
        """The variant of the split lists that ``dataset`` has."""
        return self.study.split if dataset == origin(dataset) else "leak_free"

    def pretrained(self, variant: str) -> list[str]:
        """The file of weights, beside the backbone's, that ``variant`` is trained from, if any."""
        name = self.study.variants[variant].settings.pretrained
        return [f"{self.study.results}/pretrained/{name}"] if name else []

    def first_run(self, dataset: str, variant: str, seed: int) -> str:
        """The folder of the run from which ``variant``'s widths are learned."""
        return self.run_folder(dataset, self.learned[variant], seed)

    def alike(self, dataset: str, variant: str, seed: int) -> list[str]:
        """The runs of which one is the same as this, which has tuned rates, if theirs are chosen."""
        points = next((points for name, points in self.trials.items() if variant == tuned(name)), ())
        planned = {*self.tried.runs(), *self.further["tuned"].runs()} if points else ()
        runs = [(dataset, trial.variant, int(seed)) for trial in points]
        return [self.run_folder(*run) for run in runs if run in planned]

    def tuning_options(self, dataset: str, variant: str, seed: int) -> dict[str, str]:
        """Options of a training with the rates that the family tuning chooses; none of another."""
        if not self.study.is_tuned(variant):
            return {}
        return {"method": self.study.method_of(variant), "alike": compact(self.alike(dataset, variant, seed))}

    def is_trial(self, variant: str) -> bool:
        """Whether ``variant`` is trained for the family tuning alone."""
        return variant in self.tried.seeds and variant not in self.trials

    def settings(self, variant: str) -> dict[str, Any]:
        """What determines the model of ``variant``; neither its label nor how it is trained."""
        return self.study.variants[variant].settings.model_dump(mode="json")

    def training(self, variant: str) -> dict[str, Any]:
        """What determines how ``variant`` is trained; not what only decides how a run is saved."""
        return self.study.training_of(variant).model_dump(mode="json", exclude={"save_every"})

    def backbone(self) -> str:
        """The size of the backbone: of the demo's, of clipseg-rd64-refined, or of the one in a folder."""
        backbone = self.study.backbone
        return {"phantom": "tiny", "hub": "full"}.get(backbone.source) or backbone.folder

    def _incomparable(self, most: int | None = None) -> list[str]:
        """Why the numbers cannot be compared with the paper's; more changed settings than ``most`` are counted."""
        archives, backbone = self.study.archives, self.study.backbone
        reasons = []
        if archives.phantoms:
            reasons.append("phantom images")
        elif not archives.official:
            reasons.append(archives.description)
        elif archives.allow_missing:
            reasons.append(f"cases may be missing in {', '.join(archives.allow_missing)}")
        if backbone.source == "phantom":
            reasons.append("a tiny backbone pretrained on coloured shapes, not CLIPSeg's weights")
        elif backbone.source == "folder":
            reasons.append(f"the backbone of {backbone.folder}")
        elif backbone != HubBackbone():
            reasons.append(f"the backbone {backbone.repository} at {backbone.revision}")
        settings = self.changes.settings
        if most is not None and len(settings) > most:
            reasons.append("changed settings, named below each table")
        elif settings:
            reasons.append(f"changed settings (shipped ones in brackets): {'; '.join(settings)}")
        return reasons

    def comparable(self) -> bool:
        """Whether the numbers estimate what the paper's do; other seeds than the shipped study's do so too."""
        return not self._incomparable()

    def note(self, most: int | None = None) -> str:
        """What every table and figure says of a study other than the shipped one; nothing of that one.

        Args:
            most: settings and seeds that a figure names; where there are more, it refers to the tables.
        """
        reasons, seeds = self._incomparable(most), self.changes.seeds
        sentences = [f"Not comparable with the paper: {'; '.join(reasons)}."] if reasons else []
        if most is not None and len(seeds) > most:
            sentences.append("Other seeds than the shipped study's.")
        elif seeds:
            sentences.append(f"Other seeds than the shipped study's: {'; '.join(seeds)}.")
        return " ".join(sentences)

    @staticmethod
    def _apart(group: Group) -> Group:
        """``group`` without the trainings on several datasets, which are scored dataset by dataset."""
        return replace(group, datasets=[dataset for dataset in group.datasets if dataset != JOINT])

    def _reference_of(self, group: Group) -> str:
        """The variant of ``group`` that its others are compared with."""
        return self.reference if self.reference in group.variants else group.variants[-1]

    def gallery_variants(self) -> list[str]:
        """The main table's variants; the one that others are compared with comes first."""
        return [self.reference, *(variant for variant in self.study.main if variant != self.reference)]

    def _schedules(self) -> list[str]:
        """The variants whose widths are drawn: the depth family's telescopic ones, or the main table's."""
        variants = [name for name in self.families.get("depth", self.main).variants if name not in self.learned]
        return [variant for variant in variants if self.study.variants[variant].settings.kind == "telescopic"]

    def _differs_in_widths(self, family: Group) -> bool:
        """Whether the variants of ``family`` are telescopic and differ in the widths by layer, and in nothing else."""
        settings = [self.study.variants[variant].settings for variant in family.variants]
        if {entry.kind for entry in settings} != {"telescopic"}:
            return False
        widths = {"base_dimension", "schedule", "width_sum", "vision_layers", "placement", "text_width"}
        alike = len({entry.model_dump_json(exclude=widths) for entry in settings}) == 1
        return alike and len({entry.model_dump_json() for entry in settings}) > 1

    def _prompt_family(self) -> tuple[Group, Source] | None:
        """The prompts family and how its runs are told apart, if it compares own prompt types with all of them."""
        family, entry = self.families.get("prompts"), self.study.ablations.get("prompts")
        if family is None or entry is None:
            return None
        types = {variant: self.study.training_of(variant).prompt_type for variant in family.variants}
        own = {variant: name for variant, name in types.items() if name != "random"}
        if not own or entry.reference in own:
            return None
        return family, Source(options={"own": own})

    def _dimensions(self) -> dict[str, int]:
        """Base dimension of the reference and of those variants of the depth family that differ in nothing else."""
        settings = {name: self.settings(name) for name in self.families.get("depth", self.main).variants}
        alike = {
            name: entry["base_dimension"]
            for name, entry in settings.items()
            if entry | {"base_dimension": 0} == self.settings(self.reference) | {"base_dimension": 0}
            and name not in self.learned
        }
        return alike if len(alike) > 1 and self.reference in alike else {}

    def _augmented(self) -> dict[str, str]:
        """By variant of the family augmentation the one that differs from it in that alone."""

        def apart_from_it(variant: str) -> str:
            return compact([self.settings(variant), self.training(variant) | {"augmentation": None}])

        family = self.families["augmentation"].variants if "augmentation" in self.families else ()
        light = {apart_from_it(name): name for name in family if self.training(name)["augmentation"] != "none"}
        plain = (name for name in family if name not in light.values())
        return {name: light[apart_from_it(name)] for name in plain if apart_from_it(name) in light}

    def _data_points(self) -> dict[str, dict[str, Any]]:
        """Method and share of the training cases of each variant of the data family."""
        study, variants = self.study, self.families["data"].variants
        fractions = {variant: study.training_of(variant).train_fraction for variant in variants}
        whole = [variant for variant in variants if fractions[variant] == 1]

        def method(variant: str) -> str:
            same = (other for other in whole if self.settings(other) == self.settings(variant))
            return study.label(next(same, variant))

        return {variant: {"method": method(variant), "fraction": fractions[variant]} for variant in variants}

    # ---------------------------------------------------------------- what entries are made from

    def _file(self, **names: str) -> Source:
        """Files below the results folder, by option."""
        return Source({option: f"{self.study.results}/{name}" for option, name in names.items()})

    def _runs(self, group: Group, *names: str) -> Source:
        """The list of a group's runs, and these files of each of them."""
        reads = files(self.folders(group), *names)
        return Source({"runs": group.table}, reads, {"results": self.study.results})

    def _further(self, group: Group, below: str, scores: str = "per_case.csv") -> Source:
        """Further ``scores`` of a group's runs, laid out in the folder ``below`` as the runs are."""
        return Source({}, files(self.folders(group, below), scores), {"scores": f"{self.study.results}/{below}"})

    def _mirrored(self) -> Source:
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

    def _datasets(self, group: Group, *names: str) -> Source:
        """These files of each standardised dataset of ``group``."""
        folders = [f"{self.study.results}/datasets/{dataset}" for dataset in group.datasets]
        source = Source({}, files(folders, *names), {"results": self.study.results})
        return source | self._in_order(group) | self._names(Group("", "", {}, group.datasets))

    def _in_order(self, group: Group | None = None) -> Source:
        return Source(options={"datasets": list((group or self.main).datasets)})

    def _against(self, reference: str) -> Source:
        return Source(options={"reference": reference, "margin": self.study.evaluation.margin})

    def _names(self, group: Group) -> Source:
        """Display names of what is shown, and the note."""
        names = {variant: self.study.label(variant) for variant in group.variants}
        names |= {dataset: dataset_facts(dataset).title for dataset in group.datasets}
        return Source(options={"labels": names, "note": self.note()})

    def _rows(self, group: Group) -> Source:
        """The same with the rows in their order."""
        return Source(options={"variants": list(group.variants)}) | self._names(group)

    def _splits(self) -> Source:
        """What the two splits are called that the family leaks compares."""
        return Source(options={"names": [f"{self.study.split} split", "leak-free split"]})

    def _widths(self, group: Group) -> Source:
        """What widths by layer follow from: settings, and what was learned for runs of ``group``."""
        settings = {variant: self.settings(variant) for variant in group.variants}
        learned = [variant for variant in group.variants if variant in self.learned]
        those = replace(group, seeds={variant: group.seeds[variant] for variant in learned})
        reads = files(self.folders(those), "widths.json")
        return Source({}, reads, {"settings": settings, "backbone": self.backbone(), "learned": learned or None})

    # ---------------------------------------------------------------- entries

    def _collected(self) -> Iterator[Step]:
        """The tables of runs: dsc.csv and those of the families."""
        scored = (group for group in (*self.groups, self.alone) if group.table)
        for group in map(self._apart, scored):
            seeds = {variant: list(numbers) for variant, numbers in group.seeds.items()}
            options = {"results": self.study.results, "datasets": list(group.datasets), "seeds": seeds}
            source = Source({}, files(self.folders(group), "per_case.csv", "per_prompt.csv"), options)
            name = "collect" if group.name == self.main.name else f"collect_{group.name}"
            yield Step(name, "pipeline.evaluation.collect", source, {"csv": group.table}, group.table)

    def _tables(self) -> Iterator[Step]:
        study, main = self.study, self.main
        runs = self._runs(main, "per_case.csv", "manifest.json")
        scores, cost = self._file(dsc="dsc.csv"), self._file(cost="cost.csv")
        comparison, regression = (
            self._file(comparison="tables/comparison.csv"),
            self._file(regression="regression.json"),
        )
        reported, ordered = Source({"reported": REPORTED}), self._in_order() | self._rows(main)

        compared = runs | self._against(self.reference) | self._names(main)
        compared |= Source(options={"bootstrap": study.evaluation.bootstrap_samples})
        yield from self._table("comparison", "Better, worse or equivalent", compared)
        table = runs | scores | comparison | reported | ordered
        yield from self._table("main", "DSC by method and dataset", table)
        secondary = runs | scores | reported | ordered
        yield from self._table("secondary_metrics", "IoU, HD95 and NSD by method and dataset", secondary)
        calibrated = self._runs(main, "per_case.csv", "calibration.csv", "thresholds.csv", "manifest.json")
        shown = "Calibration, and the threshold that validation chooses"
        yield from self._table("calibration", shown, calibrated | scores | ordered)
        source = runs | scores | cost | self._file(speed="speed.csv") | reported | ordered
        yield from self._table("efficiency", "Cost and DSC", source)
        for name, family in self.families.items():
            entry = study.ablations[name]
            of_family = self._runs(family, "per_case.csv", "manifest.json") | Source({"dsc": family.table}) | cost
            options = self._against(entry.reference) | Source(options={"title": entry.title}) | self._in_order(family)
            shown = Entry(ABLATION, {"result": "Table: DSC by variant"}, "page_ablation", entry.title)
            yield from self._table(f"ablation_{name}", shown, of_family | options | self._rows(family), "family")
        if methods := self.families.get("methods"):
            entry = study.ablations["methods"]
            source = self._runs(methods, "per_case.csv", "manifest.json") | Source({"dsc": methods.table}) | cost
            source |= Source(options={"title": entry.title, "reference": entry.reference})
            yield from self._table(
                "methods", "Methods: size, rank, time", source | self._in_order(methods) | self._rows(methods)
            )
        if pairs := self._augmented():
            family = self.families["augmentation"]
            source = self._runs(family, "per_case.csv", "manifest.json") | Source({"dsc": family.table})
            source |= Source(options={"methods": pairs, "margin": study.evaluation.margin}) | self._in_order(family)
            yield from self._table("augmentation", "Training with augmentation", source | self._names(family))
        if joint := self.further.get("joint"):
            apart, together = self._apart(joint), replace(joint, datasets=[JOINT])
            reads = files(self.folders(together), "manifest.json")
            reads += files(self.folders(together, "transfer"), "per_case.csv")
            options = {"scores": f"{study.results}/transfer", "margin": study.evaluation.margin}
            source = self._runs(apart, "per_case.csv", "manifest.json") | Source({}, reads, options)
            yield from self._table("joint", "One training on all datasets", source | self._names(apart))
        if leaks := self.further.get("leaks"):
            source = self._runs(leaks, "per_case.csv", "manifest.json") | Source({"dsc": leaks.table})
            source |= self._in_order(leaks) | Source(options={"margin": study.evaluation.margin}) | self._splits()
            yield from self._table("leaks", "Published against leak-free splits", source | self._names(leaks))
        if transfer := self.further.get("transfer"):
            source = self._runs(transfer, "manifest.json") | self._further(transfer, "transfer") | self._names(transfer)
            yield from self._table("transfer", "Transfer between datasets", source)
            beside = [dataset for dataset in transfer.datasets if dataset not in study.datasets]
            source |= Source(options={"reference": self._reference_of(transfer), "margin": study.evaluation.margin})
            source |= Source(options={"beside": beside})
            yield from self._table("transfer_outcomes", "Transfer: methods compared", source)
        if self.trials:
            points = {method: [trial._asdict() for trial in found] for method, found in self.trials.items()}
            (seed,) = set().union(*self.tried.seeds.values())
            options = {"results": study.results, "trials": points, "seed": seed}
            source = Source({}, files(self.folders(self.tried), "history.csv", "manifest.json"), options)
            output = f"{study.results}/tuning.json"
            source |= self._in_order(self.tried)
            yield Step("tuning", "pipeline.evaluation.tuning", source, {"json": output}, output)
        if group := self.further.get("tuned"):
            methods = {method: tuned(method) for method in self.trials}
            source = self._runs(group, "per_case.csv", "manifest.json") | Source({"dsc": group.table})
            source |= self._file(tuning="tuning.json") | self._in_order(group) | Source(options={"methods": methods})
            source |= self._against(self.reference if self.reference in methods else list(methods)[-1])
            yield from self._table("tuned", "DSC with tuned rates", source | self._names(group))
        choices = runs | Source(options={"side": study.image_size, "masks": study.masks}) | self._names(main)
        choices |= self._mirrored()
        yield from self._table("evaluation_choices", "DSC by choices of the evaluation", choices)
        prompts = self._runs(main, "per_prompt.csv", "manifest.json") | self._names(main)
        yield from self._table("prompt_sensitivity", "DSC by prompt type", prompts)
        if self.released:
            yield from self._published()

        if found := self._prompt_family():
            family, own = found
            # Runs without a type of their own are scored under all types anyway.
            typed = {variant: family.seeds[variant] for variant in own.options["own"]}
            source = self._runs(family, "per_prompt.csv", "manifest.json") | self._names(family) | own
            source |= self._further(replace(family, seeds=typed), "every_prompt", "per_prompt.csv")
            yield from self._table("prompt_matrix", "DSC by prompt type of training", source)
            source |= self._against(study.ablations["prompts"].reference)
            yield from self._table("prompt_outcomes", "Training with one prompt type", source)
        if dimensions := self._dimensions():
            depth = self.families["depth"]
            options = {"reference": self.reference, "dimensions": dimensions}
            source = self._runs(depth, "history.csv", "manifest.json") | Source(options=options) | self._names(depth)
            yield from self._table("gradients", "Gradients by base dimension", source)

        judged = study.regression.model_dump() | {"comparable": self.comparable(), "note": self.note()}
        source = runs | reported | Source(options=judged)
        output, module = f"{study.results}/regression.json", "pipeline.evaluation.reproduction"
        yield Step("reproduction", module, source, {"json": output}, output, subcommand="judge")
        shown = Entry(PAPER, {"page": "Reported against measured DSC"}, "page_regression")
        yield from self._table("regression", shown, runs | regression | self._names(main), kinds=("md",))
        audit = self._datasets(self.data, "integrity.json", "provenance.json", "cases.csv")
        shown = Entry(DATA, {"result": "Table: audit"}, "page_data_audit")
        yield from self._table("data_audit", shown, audit, kinds=("csv", "md"))

    def _table(
        self,
        name: str,
        shown: str | Entry,
        source: Source,
        module: str | None = None,
        kinds: Sequence[str] = ("csv", "md", "tex"),
        on_request: bool = False,
    ) -> Iterator[Step]:
        """A table and its page; ``shown`` is the page's place in the report, or its label among the tables."""
        stem, place = f"{self.study.results}/tables/{name}", f"{TABLES}.{module or name}"
        outputs = {kind: f"{stem}.{kind}" for kind in kinds}
        yield Step(f"table_{name}", place, source, outputs, stem, on_request=on_request)
        entry = Entry(TABLE, {"table": shown}, f"page_{name}") if isinstance(shown, str) else shown
        yield self._page(f"tables/{name}", entry, Source(), on_request)

    def _published(self) -> Iterator[Step]:
        """The table of released checkpoints, on request where it needs the hub: what is missing there stops nothing."""
        entries = [released_checkpoint(key) for key in self.released]
        names = ("source.json", *(f"{masks}/per_prompt.csv" for masks in CONVENTIONS))
        scored = files([f"{self.study.results}/released/{key}" for key in self.released], *names)
        source = Source({"reported": REPORTED}, scored, {"results": self.study.results, "checkpoints": self.released})
        shown = Group("", "", {entry.method: () for entry in entries}, [entry.dataset for entry in entries])
        on_request = not self.own_checkpoints
        yield from self._table("released", "Published checkpoints", source | self._names(shown), on_request=on_request)

    def _figures(self) -> Iterator[Step]:
        study, main, alone = self.study, self.main, self.alone
        scores, cost = self._file(dsc="dsc.csv"), self._file(cost="cost.csv")
        rows = self._rows(main)

        comparison = self._file(comparison="tables/comparison.csv")
        published = Source({"published": REPORTED}) if self.comparable() else Source()
        shown = Entry(PAPER, {"page": "Overview: all methods on all datasets"}, "overview")
        yield self._figure("overview", shown, scores | comparison | published | self._in_order() | rows)
        yield self._figure("pareto", "DSC against trained parameters", scores | cost | published | rows)
        if len(main.variants) > 1:
            yield self._figure("comparison", "Better, worse or equivalent", comparison | rows, "forest")
        galleries = Source({}, [f"{study.results}/gallery/{dataset}.npz" for dataset in study.datasets])
        galleries |= Source(options={"results": study.results}) | self._in_order()
        for name, shown, roles in (
            ("qualitative", "The median case of each dataset", ["median"]),
            ("failures", "The worst case of each dataset", ["worst"]),
            ("qualitative_supplement", "Supplement: best, median and worst cases", ["best", "median", "worst"]),
            ("failures_supplement", "Supplement: further failures", ["failure"]),
        ):
            yield self._figure(name, shown, galleries | rows | Source(options={"roles": roles}), "casegrid")
        yield self._figure("training_curves", "Training curves", self._runs(main, "history.csv") | rows)
        yield self._figure("calibration", "Reliability diagram", self._runs(main, "calibration.csv") | rows)
        schedules = self._group("schedules", "", self._schedules(), ())
        yield self._figure("width_schedule", "Widths by layer", self._widths(schedules) | self._rows(schedules))
        yield self._figure("cost", "Cost", self._runs(main, "manifest.json") | cost | rows, "cost_by_variant")
        overview = self._datasets(self.main, "integrity.json")
        shown = Entry(DATA, {"result": "Figure: overview"}, "data_overview")
        yield self._figure("data_overview", shown, overview)
        if transfer := self.further.get("transfer"):
            source = self._file(transfer="tables/transfer.csv") | self._rows(transfer)
            yield self._figure("transfer", "Transfer between datasets", source, "transfer_heatmap")
        if pairs := self._augmented():
            family = self.families["augmentation"]
            shown = replace(family, seeds={name: family.seeds[name] for name in pairs})
            source = self._file(table="tables/augmentation.csv") | Source(options={"names": ["none", "light"]})
            yield self._figure("augmentation", "Training with augmentation", source | self._rows(shown), "before_after")
        if joint := self.further.get("joint"):
            source = self._file(table="tables/joint.csv") | Source(
                options={"names": ["one training each", "one on all"]}
            )
            source |= self._rows(self._apart(joint))
            yield self._figure("joint", "One training on all datasets", source, "before_after")
        if leaks := self.further.get("leaks"):
            source = self._file(table="tables/leaks.csv") | self._splits()
            yield self._figure(
                "leaks", "Published against leak-free splits", source | self._rows(leaks), "before_after"
            )
        if self.trials:
            shown = Group("", "", dict.fromkeys(self.trials, ()), self.tried.datasets)
            source = self._file(tuning="tuning.json") | self._rows(shown)
            yield self._figure("tuning", "Validation DSC by learning rate", source)
        if getattr(study.variants[self.reference].settings, "alpha_learned", False):
            scales = self._runs(alone, "weights.safetensors") | self._rows(alone)
            yield self._figure("alpha_by_depth", "Learned residual scales", scales)
        prompts = self._file(table="tables/prompt_sensitivity.csv") | rows
        yield self._figure("prompt_sensitivity", "DSC by prompt type", prompts, "prompt_types")
        if found := self._prompt_family():
            family, own = found
            matrix = self._file(table="tables/prompt_matrix.csv") | self._rows(family) | own
            yield self._figure("prompt_matrix", "DSC by prompt type of training", matrix, "prompt_types")
        for name, family in self.families.items():
            ablation = study.ablations[name]
            source = self._runs(family, "per_case.csv") | self._against(ablation.reference) | self._rows(family)
            module, label, more = "ablation", "Figure: DSC by variant", Source(options={"title": ablation.title})
            if self._differs_in_widths(family):
                module, label = "ablation_depth", "Figure: DSC by width schedule"
                more |= self._widths(family)
            shown = Entry(ABLATION, {"result": label}, module, ablation.title)
            yield self._figure(f"ablation_{name}", shown, source | more, module)
        if methods := self.families.get("methods"):
            source = self._file(table="tables/methods.csv") | self._in_order(methods) | self._rows(methods)
            yield self._figure("methods", "Methods: DSC against parameters, time, memory", source)
        if "data" in self.families:
            family = self.families["data"]
            source = self._runs(family, "per_case.csv") | Source(options={"points": self._data_points()})
            label = {"result": "Figure: DSC by share of the cases"}
            shown = Entry(ABLATION, label, "data_efficiency", study.ablations["data"].title)
            yield self._figure("data_efficiency", shown, source | self._names(family))

    def _figure(self, name: str, shown: str | Entry, source: Source, module: str | None = None) -> Step:
        """A figure; ``shown`` is its place in the report, or its label among the figures."""
        stem = f"{self.study.results}/{name}"
        outputs = {kind: f"{stem}.{kind}" for kind in ("pdf", "png")}
        entry = Entry(FIGURE, {"figure": shown}, name) if isinstance(shown, str) else shown
        source |= Source(options={"note": self.note(MOST_IN_A_FIGURE)})
        return Step(f"figure_{name}", f"{FIGURES}.{module or name}", source, outputs, stem, entry)

    def _paper(self, tables: Sequence[Step], figures: Sequence[Step]) -> Iterator[Step]:
        """paper.md, which links to all tables and figures, and its page."""
        names = {
            kind: [step.name.removeprefix(f"{kind}_") for step in steps if step.name.startswith(f"{kind}_")]
            for kind, steps in (("figure", figures), ("table", tables))
        }
        source = self._file(regression="regression.json", dsc="dsc.csv", cost="cost.csv") | Source(
            {"reported": REPORTED}
        )
        source |= self._file(comparison="tables/comparison.csv", choices="tables/evaluation_choices.csv")
        if "components" in self.families:
            source |= self._file(components="tables/ablation_components.csv")
        answers = {
            "joint": {"joint": "tables/joint.csv"},
            "leaks": {"leaks": "tables/leaks.csv"},
            "transfer": {"outcomes": "tables/transfer_outcomes.csv"},
            "tuned": {"tuned": "tables/tuned.csv"},
        }
        for name in self.further:
            source |= self._file(**answers[name])
        if "methods" in self.families:
            source |= self._file(fronts="tables/methods.csv")
        if "gradients" in names["table"]:
            source |= self._file(gradients="tables/gradients.csv")
        if "augmentation" in names["table"]:
            source |= self._file(augmentation="tables/augmentation.csv")
        if "prompt_outcomes" in names["table"]:
            source |= self._file(prompts="tables/prompt_outcomes.csv")
        families = {
            name: self.study.ablations[name].model_dump(include={"title", "reference"})
            | {"table": f"{self.study.results}/tables/ablation_{name}.csv"}
            for name in self.families
        }
        source |= Source({}, [entry["table"] for entry in families.values()], {"families": families})
        source |= Source(options={"figures": names["figure"], "tables": names["table"]}) | self._rows(self.main)
        # Later options replace earlier ones: the names of all variants that are told of.
        shown = [*self.main.variants, *(name for group in self.families.values() for name in group.variants)]
        source |= self._names(replace(self.main, seeds=dict.fromkeys(shown, ())))
        output = f"{self.study.results}/paper.md"
        yield Step("paper", "pipeline.reporting.paper", source, {"md": output}, output)
        shown = Entry(PAPER, {"page": "Paper and study, figure by figure"}, "page_paper")
        yield self._page("paper", shown, Source({}, [step.outputs["png"] for step in figures]))

    def _page(self, name: str, entry: Entry, pictures: Source, on_request: bool = False) -> Step:
        """A browser shows Markdown as it is typed: what the report has of tables and texts are pages made of it."""
        html, rule = f"{self.study.results}/pages/{name}.html", f"page_{name.removeprefix('tables/')}"
        source = self._file(markdown=f"{name}.md") | pictures
        return Step(rule, "pipeline.reporting.page", source, {"html": html}, html, entry, on_request)

    # ---------------------------------------------------------------- the whole

    def trainings(self, group: Group) -> set[tuple[str, str, int]]:
        """Dataset, variant and seed of each run that ``group`` needs.

        Also of those that widths are learned from, and of the trials that choose its rates.
        """
        own = set(group.runs())
        if any(self.study.is_tuned(name) for name in group.variants):
            own |= set(self.tried.runs())
        return own | {(dataset, self.learned[name], seed) for dataset, name, seed in own if name in self.learned}

    def targets(self) -> list[str]:
        """All that ``snakemake all`` makes."""
        wanted = [step for step in self.steps.values() if not step.on_request]
        return [path for step in wanted for path in step.outputs.values()] + [f"{self.study.results}/regression.passed"]

    def _images(self, dataset: str) -> tuple[int, int]:
        """Cases of the training and of the validation split; as listed, so of another split than published about."""
        if dataset == JOINT:
            parts = [self._images(name) for name in self.tested_on("joint")]
            return sum(train for train, _ in parts), sum(val for _, val in parts)
        phantoms, records = self.study.archives.phantoms, dataset_facts(dataset).records
        return (phantoms.train, phantoms.val) if phantoms else (records["train"], records["val"])

    def estimate(
        self, costs: Mapping[str, ImageCost], teraflops: float, epochs: int | None = None
    ) -> Callable[[Iterable[tuple[str, str, int]]], float]:
        """GPU hours of trainings (:func:`pipeline.cost.hours.training_hours`); NaN if the cost of one is not known.

        Args:
            costs: by variant, those of :attr:`variants`; what trains nothing has none and takes no time.
            teraflops: assumed throughput, 1e12 FLOPs a second.
            epochs: of each training; ``max_epochs`` of its own if absent.
        """
        by_model = {compact(self.settings(name)): costs[name] for name in self.variants if name in costs}

        def hours(dataset: str, variant: str, _: int) -> float:
            settings, (train, val) = self.study.training_of(variant), self._images(dataset)
            cost = by_model.get(compact(self.settings(variant)), ImageCost(math.nan, math.nan))
            share = settings.train_fraction  # of the validation cases; an epoch is as long as with all
            return training_hours(cost, train, share * val, epochs or settings.max_epochs, teraflops)

        return lambda runs: sum(hours(*run) for run in runs)

    def summary(self, hours: Callable[[Iterable[tuple[str, str, int]]], float] | None = None) -> str:
        """Runs of the main table and of each family: all, shared with those above, new, and new for more seeds only.

        Args:
            hours: of trainings; for a column with those of the new runs.
        """

        def line(name: str, *counts: Any) -> str:
            columns = zip(counts, (6, 7, 6, 15, 10), strict=False)
            return f"{name:20} " + " ".join(f"{value:>{width}}" for value, width in columns)

        def new(runs: set[tuple[str, str, int]]) -> list[Any]:
            more = sum(seed not in self.study.seeds for *_, seed in runs)
            return [len(runs), more] + ([f"{hours(runs):.0f}"] if hours else [])

        heading = ["runs", "shared", "new", "for more seeds"] + (["GPU hours"] if hours else [])
        lines, planned = [line("", *heading)], set()
        for group in (group for group in self.groups if group.variants):
            runs = self.trainings(group)
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
        print(plan.summary())
        return
    path = f"{plan.study.results}/cost.csv"
    if not Path(path).exists():
        raise PipelineError(f"{path}: is not there; make it with `snakemake --cores 2 {path}`, which needs no data")
    table = read_cost(path)[list(ImageCost._fields)]
    table[table.isna().any(axis=1)] = 0  # nothing is trained
    costs = {name: ImageCost(*values) for name, *values in table.itertuples()}
    print(plan.summary(plan.estimate(costs, options.teraflops, options.epochs)))
    epochs = f"{options.epochs} epochs" if options.epochs else "as many epochs as it may (max_epochs)"
    print(NOTE.format(epochs=epochs, teraflops=options.teraflops))


if __name__ == "__main__":
    run_command(main)
