"""Which runs a study has: groups that are compared, the folder of each run, and what determines it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from pipeline.config import Ablation, Further, HubBackbone, Study
from pipeline.data.released import released_checkpoints
from pipeline.data.sources import JOINT, LEAK_FREE, origin
from pipeline.plan.steps import compact
from pipeline.shipped import changes
from pipeline.trials import expand, trials, tuned


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

    def apart(self) -> "Group":
        """Without the trainings on several datasets, which are scored dataset by dataset."""
        return replace(self, datasets=[dataset for dataset in self.datasets if dataset != JOINT])


class Runs:
    """The runs of a study, in groups.

    Attributes:
        study: with the variants that the family tuning derives.
        changes: what was changed of the shipped study.
        reference: the variant that others are compared with.
        learned: by variant whose widths are learned, the variant from whose runs they are.
        main: the main table's group.
        alone: the reference's runs among them.
        families: groups of the ablations.
        further: groups of the families beside them.
        trials: by method, the points of the family tuning.
        tried: their runs, whose validation DSC counts, and which are not scored.
        groups: all that are counted.
        variants: all that are shown, but for those that the family tuning derives; these cost what their methods cost.
        datasets: all that are made: the study's, and those that further families derive from them.
        released: published checkpoints that are scored.
        own_checkpoints: whether runs of the study stand in for them.
    """

    def __init__(self, study: Study):
        root = study.results
        self.changes = changes(study)
        self.trials, listed = trials(study), study.variants
        self.study = study = expand(study)
        self.reference = study.evaluation.comparisons_reference
        self.learned = {name: entry.widths_from for name, entry in study.variants.items() if entry.widths_from}
        self.main = self.group("main table", f"{root}/dsc.csv", study.main, study.datasets)
        self.alone = self.group("reference", f"{root}/reference.csv", [self.reference], study.datasets)
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
        shown = dict.fromkeys(name for group in self.groups for name in group.variants)
        self.variants = [name for name in shown if name in listed]
        self.datasets = list(dict.fromkeys(name for group in self.groups for name in group.datasets))

    def group(
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
        return self.group(name, table, entry.variants, datasets, entry.seeds)

    def _further_groups(self) -> Iterator[Group]:
        """The families beside the ablations, which ask a question of the study's methods on any of its datasets."""
        study = self.study

        def group(name: str, entry: Further, derived: Callable[[list[str]], list[str]]) -> Iterator[Group]:
            chosen = [name for name in entry.datasets or study.datasets if name in study.datasets]
            datasets = list(dict.fromkeys(derived(chosen)))
            if len(datasets) > 1:
                variants, seeds = entry.variants or study.main, entry.seeds or study.seeds
                yield self.group(name, f"{study.results}/{name}.csv", variants, datasets, seeds)

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
                yield self.group("tuned", table, variants, datasets, seeds)

    def _tried(self) -> Group:
        tuning = self.study.tuning
        variants = [trial.variant for points in self.trials.values() for trial in points]
        datasets = [name for name in self.study.datasets if name in tuning.tried_on] if variants else []
        seeds = {variant: [self.study.seeds[0] if tuning.seed is None else tuning.seed] for variant in variants}
        return Group("tuning", "", seeds, datasets)

    def run_folder(self, dataset: str, variant: str, seed: int) -> str:
        """Where a run's files lie."""
        return f"{self.study.results}/runs/{dataset}/{variant}/seed{seed}"

    def folders(self, group: Group, below: str = "runs") -> list[str]:
        """Folders of the runs of ``group``, or of further scores that are laid out as they are."""
        root = f"{self.study.results}/{below}"
        return [f"{root}/{dataset}/{variant}/seed{seed}" for dataset, variant, seed in group.runs()]

    def tested_on(self, family: str) -> list[str]:
        """The datasets on whose test cases each run of the family transfer is scored, or each joint one; or none."""
        return list(self.further[family].apart().datasets) if family in self.further else []

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

    def trainings(self, group: Group) -> set[tuple[str, str, int]]:
        """Dataset, variant and seed of each run that ``group`` needs.

        Also of those that widths are learned from, and of the trials that choose its rates.
        """
        own = set(group.runs())
        if any(self.study.is_tuned(name) for name in group.variants):
            own |= set(self.tried.runs())
        return own | {(dataset, self.learned[name], seed) for dataset, name, seed in own if name in self.learned}
