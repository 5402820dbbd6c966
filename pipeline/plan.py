"""The plan of a study: its runs, and one entry for each table and figure that is made from them.

    python -m pipeline.plan config.yaml [overlay.yaml ...]     counts the runs, new and shared, by family

The rules in workflow/rules are loops over what stands here, and pipeline.verify renders the same entries again. To add
a figure or table: one entry in :meth:`Plan._figures` or :meth:`Plan._tables`, one module, one caption.
"""

import argparse
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from pipeline.config import Ablation, Study, read_study
from pipeline.data.sources import dataset_facts
from pipeline.runtime.errors import run_command

REPORTED = "workflow/resources/reported.csv"
FIGURES, TABLES = "pipeline.reporting.figures", "pipeline.reporting.tables"
# The report sorts its categories by name.
PAPER, TABLE, FIGURE, ABLATION, DATA = "1 Paper", "2 Tables", "3 Figures", "4 Ablations", "5 Data"

Locate = Callable[[str], str]


@dataclass(frozen=True)
class Entry:
    """Where Snakemake's report shows a result. One label: of a second one with two values it makes a broken switch."""

    category: str
    labels: Mapping[str, str]
    caption: str
    subcategory: str | None = None


@dataclass(frozen=True)
class Step:
    """A file or set of files that one command makes from scores, facts and other steps' files.

    Attributes:
        name: of its rule and its log.
        module: run with ``python -m``; ``subcommand`` is its first argument, if it has any.
        inputs: files by the option that names them.
        reads: files that the module finds by itself, below the results folder.
        options: other options; None leaves one out, what is neither text nor number is given as JSON.
        outputs: the files by kind.
        output: value of ``--output``.
        entry: where the report shows it, if it does.
        on_request: whether ``snakemake all`` leaves it out.
    """

    name: str
    module: str
    inputs: Mapping[str, str]
    reads: Sequence[str]
    options: Mapping[str, Any]
    outputs: Mapping[str, str]
    output: str
    entry: Entry | None = None
    on_request: bool = False
    subcommand: str | None = None

    def arguments(self, locate: Locate = str) -> list[str]:
        """The command line after ``python -m MODULE``; ``locate`` may move inputs and the output elsewhere."""
        values = {name: locate(path) for name, path in self.inputs.items()}
        values |= {name: _text(value) for name, value in self.options.items() if value is not None}
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
    """Runs that are compared: a grid of variants, datasets and seeds, and the table that lists its runs."""

    name: str
    table: str
    variants: Sequence[str]
    datasets: Sequence[str]
    seeds: Sequence[int]

    def runs(self) -> set[tuple[str, str, int]]:
        """Dataset, variant and seed of each run."""
        return set(product(self.datasets, self.variants, self.seeds))


@dataclass
class Plan:
    """Everything that a study computes."""

    study: Study
    steps: dict[str, Step] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        study, root = self.study, self.study.results
        self.reference = study.evaluation.comparisons_reference
        self.main = Group("main table", f"{root}/dsc.csv", study.main, study.datasets, study.seeds)
        # Transfer and learned scales are shown for one variant, whether or not it is in the main table.
        self.alone = Group("reference", f"{root}/reference.csv", [self.reference], study.datasets, study.seeds)
        self.families = {name: self._family(name, entry) for name, entry in study.ablations.items()}
        for step in (*self._collected(), *self._tables(), *self._figures()):
            self.steps[step.name] = step
        for step in self._pages():
            self.steps[step.name] = step

    def _family(self, name: str, entry: Ablation) -> Group:
        table = f"{self.study.results}/ablations/{name}.csv"
        return Group(
            name, table, entry.variants, entry.datasets or self.study.datasets, entry.seeds or self.study.seeds
        )

    # ---------------------------------------------------------------- names and settings

    def run_folder(self, dataset: str, variant: str, seed: int) -> str:
        """Where a run's files lie."""
        return f"{self.study.results}/runs/{dataset}/{variant}/seed{seed}"

    def folders(self, group: Group, below: str = "runs") -> list[str]:
        """Folders of the runs of ``group``, or of further scores that are laid out as they are."""
        root = f"{self.study.results}/{below}"
        grid = product(group.datasets, group.variants, group.seeds)
        return [f"{root}/{dataset}/{variant}/seed{seed}" for dataset, variant, seed in grid]

    def labels(self, variants: Iterable[str], datasets: Iterable[str] = ()) -> dict[str, str]:
        """Display names of variants and datasets."""
        names = {variant: self.study.label(variant) for variant in variants}
        return names | {dataset: dataset_facts(dataset).title for dataset in datasets}

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

    def note(self) -> str:
        """What every table and figure says when its numbers cannot be compared with the paper's; else nothing."""
        archives, backbone = self.study.archives, self.study.backbone
        parts = []
        if archives.phantoms:
            parts.append("phantom images")
        elif not archives.official:
            parts.append(archives.description)
        if backbone.source == "phantom":
            parts.append("a tiny backbone pretrained on coloured shapes, not CLIPSeg's weights")
        elif backbone.source == "folder":
            parts.append(f"the backbone of {backbone.folder}")
        return f"Not comparable with the paper: {'; '.join(parts)}." if parts else ""

    def gallery_variants(self) -> list[str]:
        """The main table's variants; the one that others are compared with comes first."""
        first = [self.reference] if self.reference in self.study.main else []
        return [*first, *(variant for variant in self.study.main if variant not in first)]

    def _learned_scales(self) -> bool:
        settings = self.study.variants[self.reference].settings
        return self.reference in self.study.main and getattr(settings, "alpha_learned", False)

    def _schedules(self) -> dict[str, dict[str, Any]]:
        """Settings of the variants whose widths are drawn: the depth family's telescopic ones, or the main table's."""
        family = self.families.get("depth", self.main)
        kinds = {variant: self.settings(variant) for variant in family.variants}
        return {variant: settings for variant, settings in kinds.items() if settings["kind"] == "telescopic"}

    def _data_points(self) -> dict[str, dict[str, Any]]:
        """Method and share of the training cases of each variant of the data family."""
        study, variants = self.study, self.families["data"].variants
        fractions = {variant: study.training_of(variant).train_fraction for variant in variants}
        whole = [variant for variant in variants if fractions[variant] == 1]

        def method(variant: str) -> str:
            same = (other for other in whole if self.settings(other) == self.settings(variant))
            return study.label(next(same, variant))

        return {variant: {"method": method(variant), "fraction": fractions[variant]} for variant in variants}

    # ---------------------------------------------------------------- entries

    def _step(self, name: str, module: str, outputs: Mapping[str, str], output: str, **more: Any) -> Step:
        inputs, reads, options = more.pop("inputs", {}), more.pop("reads", ()), more.pop("options", {})
        return Step(name, module, inputs, reads, options, outputs, output, **more)

    def _collected(self) -> Iterable[Step]:
        """The tables of runs: dsc.csv and those of the families."""
        for group in (self.main, self.alone, *self.families.values()):
            name = "collect" if group is self.main else f"collect_{group.name}"
            seeds = {variant: list(group.seeds) for variant in group.variants}
            options = {"results": self.study.results, "datasets": list(group.datasets), "seeds": seeds}
            reads = files(self.folders(group), "per_case.csv")
            yield self._step(
                name, "pipeline.evaluation.collect", {"csv": group.table}, group.table, reads=reads, options=options
            )

    def _of_runs(self, group: Group, *names: str, below: str = "runs") -> dict[str, Any]:
        """Inputs, files and options of a step that reads the runs of ``group``."""
        reads = files(self.folders(group), *(names or ("per_case.csv", "manifest.json")))
        if below != "runs":
            reads = files(self.folders(group), "manifest.json") + files(self.folders(group, below), "per_case.csv")
        options = {"results": self.study.results}
        if below != "runs":
            options["scores"] = f"{self.study.results}/{below}"
        return {"inputs": {"runs": group.table}, "reads": reads, "options": options}

    def _shown(self, group: Group, *, rows: bool = True) -> dict[str, Any]:
        """Options that say which rows and names a table or figure shows, and its note."""
        labels = self.labels(group.variants, group.datasets)
        return ({"variants": list(group.variants)} if rows else {}) | {"labels": labels, "note": self.note()}

    def _tables(self) -> Iterable[Step]:
        root, study, main = self.study.results, self.study, self.main
        dsc, cost, comparison = {"dsc": f"{root}/dsc.csv"}, {"cost": f"{root}/cost.csv"}, f"{root}/tables/comparison.csv"
        reported, datasets = {"reported": REPORTED}, {"datasets": list(study.datasets)}
        samples = {"bootstrap": study.evaluation.bootstrap_samples}

        def table(name: str, source: dict[str, Any], inputs: dict, options: dict, **more: Any) -> Step:
            module, endings = more.pop("module", name), more.pop("endings", ("csv", "md", "tex"))
            return self._step(
                f"table_{name}",
                f"{TABLES}.{module}",
                {ending: f"{root}/tables/{name}.{ending}" for ending in endings},
                f"{root}/tables/{name}",
                inputs=source["inputs"] | inputs,
                reads=source["reads"],
                options=source["options"] | options,
                **more,
            )

        runs = self._of_runs(main)
        yield table("comparison", runs, {}, {"reference": self.reference} | samples | self._shown(main, rows=False))
        yield table("main", runs, dsc | {"comparison": comparison} | reported, datasets | self._shown(main))
        yield table("efficiency", runs, dsc | cost | reported, datasets | self._shown(main))
        for family in self.families.values():
            entry = study.ablations[family.name]
            options = {"reference": entry.reference, "title": entry.title, "datasets": list(family.datasets)}
            inputs = {"dsc": family.table} | cost
            shown = options | self._shown(family)
            yield table(f"ablation_{family.name}", self._of_runs(family), inputs, shown, module="family")
        transfer = self._of_runs(self.alone, below="transfer")
        yield table("transfer", transfer, {}, self._shown(self.alone, rows=False))
        for name in ("evaluation_choices", "prompt_sensitivity"):
            options = {"side": study.image_size} if name == "evaluation_choices" else {}
            further = self._of_runs(main, below=name)
            yield table(name, further, {}, options | self._shown(main, rows=False), on_request=True)
        yield self._step(
            "reproduction",
            "pipeline.evaluation.reproduction",
            {"json": f"{root}/regression.json"},
            f"{root}/regression.json",
            inputs=runs["inputs"] | dsc | reported,
            reads=runs["reads"],
            options=runs["options"]
            | datasets
            | {"must_reproduce": study.regression.must_reproduce, "tolerance": study.regression.tolerance}
            | samples
            | {"comparable": not self.note(), "note": self.note()},
            subcommand="judge",
        )
        regression = {"regression": f"{root}/regression.json"}
        yield table("regression", runs, regression, self._shown(main, rows=False), endings=("md",))
        audited = product(study.datasets, ("integrity.json", "provenance.json", "cases.csv"))
        facts = [f"{root}/datasets/{dataset}/{name}" for dataset, name in audited]
        options = {"results": root} | datasets | {"labels": self.labels((), study.datasets), "note": self.note()}
        source = {"inputs": {}, "reads": facts, "options": {}}
        yield table("data_audit", source, {}, options, endings=("csv", "md"))
        yield self._step(
            "paper",
            "pipeline.reporting.paper",
            {"md": f"{root}/paper.md"},
            f"{root}/paper.md",
            inputs=regression
            | dsc
            | cost
            | reported
            | {"comparison": comparison}
            | ({"components": f"{root}/tables/ablation_components.csv"} if "components" in self.families else {}),
            options={"figures": [step.name.removeprefix("figure_") for step in self._figures() if not step.on_request]}
            | {"tables": self._page_names()}
            | self._shown(main),
        )

    def _figures(self) -> Iterable[Step]:
        root, study, main = self.study.results, self.study, self.main
        dsc, cost, reported = {"dsc": f"{root}/dsc.csv"}, {"cost": f"{root}/cost.csv"}, {"reported": REPORTED}

        def figure(name: str, module: str, label: str, source: dict[str, Any], **more: Any) -> Step:
            group, options = more.pop("group", main), more.pop("options", {})
            entry = Entry(
                more.pop("category", FIGURE),
                {more.pop("word", "figure"): label},
                more.pop("caption", name),
                more.pop("subcategory", None),
            )
            return self._step(
                f"figure_{name}",
                f"{FIGURES}.{module}",
                {ending: f"{root}/{name}.{ending}" for ending in ("pdf", "png")},
                f"{root}/{name}",
                inputs=source.get("inputs", {}),
                reads=source.get("reads", []),
                options=source.get("options", {}) | options | self._shown(group, rows=more.pop("rows", True)),
                entry=entry,
                **more,
            )

        yield figure("pareto", "pareto", "DSC against trained parameters", {"inputs": dsc | cost | reported})
        source = {"inputs": {"comparison": f"{root}/tables/comparison.csv"}}
        yield figure("comparison", "forest", "Paired differences", source)
        galleries = {
            "reads": [f"{root}/gallery/{dataset}.npz" for dataset in study.datasets],
            "options": {"results": root, "datasets": list(study.datasets)},
        }
        yield figure("qualitative", "qualitative", "Best, median and worst cases", galleries)
        yield figure("failures", "failures", "Failures", galleries)
        yield figure("training_curves", "training_curves", "Training curves", self._of_runs(main, "history.csv"))
        schedules = self._schedules()
        drawn = Group("schedules", "", list(schedules), (), ())
        options = {"settings": schedules, "backbone": self.backbone()}
        yield figure("width_schedule", "width_schedule", "Widths by layer", {}, group=drawn, options=options)
        measured = self._of_runs(main, "manifest.json")
        yield figure("cost", "cost_by_variant", "Cost", measured | {"inputs": measured["inputs"] | cost})
        facts = [f"{root}/datasets/{dataset}/integrity.json" for dataset in study.datasets]
        source = {"reads": facts, "options": {"results": root, "datasets": list(study.datasets)}}
        group = Group("data", "", (), study.datasets, ())
        data = {"category": DATA, "word": "result", "rows": False}
        yield figure("data_overview", "data_overview", "Figure: overview", source, group=group, **data)
        source = {"inputs": {"transfer": f"{root}/tables/transfer.csv"}}
        yield figure("transfer", "transfer_heatmap", "Transfer between datasets", source, group=self.alone)
        if self._learned_scales():
            source = self._of_runs(self.alone, "weights.safetensors")
            yield figure("alpha_by_depth", "alpha_by_depth", "Learned residual scales", source, group=self.alone)
        source = {"inputs": {"table": f"{root}/tables/prompt_sensitivity.csv"}}
        yield figure("prompt_sensitivity", "prompt_types", "DSC by prompt type", source, on_request=True)
        for family in self.families.values():
            entry = study.ablations[family.name]
            options = {"reference": entry.reference, "bootstrap": study.evaluation.bootstrap_samples}
            depth = family.name == "depth"
            options |= {"title": "" if depth else entry.title}
            if depth:
                options["settings"] = {variant: self.settings(variant) for variant in family.variants}
                options["backbone"] = self.backbone()
            yield figure(
                f"ablation_{family.name}",
                "ablation_depth" if depth else "ablation",
                "Figure: DSC by width schedule" if depth else "Figure: DSC by variant",
                self._of_runs(family, "per_case.csv"),
                group=family,
                options=options,
                caption="ablation_depth" if depth else "ablation",
                **self._in_family(entry),
            )
        if "data" in self.families:
            yield figure(
                "data_efficiency",
                "data_efficiency",
                "Figure: DSC by share of the cases",
                self._of_runs(self.families["data"], "per_case.csv"),
                group=self.families["data"],
                options={"points": self._data_points()},
                rows=False,
                **self._in_family(study.ablations["data"]),
            )

    @staticmethod
    def _in_family(entry: Ablation) -> dict[str, str]:
        return {"category": ABLATION, "subcategory": entry.title, "word": "result"}

    def _page_names(self, on_request: bool = False) -> list[str]:
        """Names of the tables that the report shows as pages, in its order."""
        main = ["main", "efficiency", "comparison", "transfer", *(f"ablation_{name}" for name in self.families)]
        return ["evaluation_choices", "prompt_sensitivity"] if on_request else [*main, "regression", "data_audit"]

    def _pages(self) -> Iterable[Step]:
        """A browser shows Markdown as it is typed: what the report has of tables and texts are pages made of it."""
        root = self.study.results
        entries = {
            "main": Entry(TABLE, {"table": "DSC by method and dataset"}, "page_main"),
            "efficiency": Entry(TABLE, {"table": "Cost and DSC"}, "page_efficiency"),
            "comparison": Entry(TABLE, {"table": "Paired differences"}, "page_comparison"),
            "transfer": Entry(TABLE, {"table": "Transfer between datasets"}, "page_transfer"),
            "evaluation_choices": Entry(
                TABLE, {"table": "DSC by choices of the evaluation"}, "page_evaluation_choices"
            ),
            "prompt_sensitivity": Entry(TABLE, {"table": "DSC by prompt type"}, "page_prompt_sensitivity"),
            "regression": Entry(PAPER, {"page": "Reported against measured DSC"}, "page_regression"),
            "data_audit": Entry(DATA, {"result": "Table: audit"}, "page_data_audit"),
        }
        for name, entry in self.study.ablations.items():
            label = {"result": "Table: DSC by variant"}
            entries[f"ablation_{name}"] = Entry(ABLATION, label, "page_ablation", entry.title)
        pages = {f"tables/{name}": (entries[name], False) for name in self._page_names()}
        pages |= {f"tables/{name}": (entries[name], True) for name in self._page_names(on_request=True)}
        pages["paper"] = (Entry(PAPER, {"page": "Paper and study, figure by figure"}, "page_paper"), False)
        figures = [step for step in self._figures() if not step.on_request]
        for name, (entry, on_request) in pages.items():
            html = f"{root}/pages/{name}.html"
            yield self._step(
                f"page_{name.removeprefix('tables/')}",
                "pipeline.reporting.page",
                {"html": html},
                html,
                inputs={"markdown": f"{root}/{name}.md"},
                reads=[step.outputs["png"] for step in figures] if name == "paper" else [],
                entry=entry,
                on_request=on_request,
            )

    # ---------------------------------------------------------------- the whole

    def targets(self) -> list[str]:
        """All that ``snakemake all`` makes."""
        wanted = [step for step in self.steps.values() if not step.on_request]
        return [path for step in wanted for path in step.outputs.values()] + [
            f"{self.study.results}/regression.passed"
        ]

    def summary(self) -> str:
        """Runs of the main table and of each family: all, shared with those above, and new."""
        lines, planned = [f"{'':20} {'runs':>6} {'shared':>7} {'new':>6}"], set()
        for group in (self.main, *self.families.values()):
            runs = group.runs()
            lines.append(f"{group.name:20} {len(runs):6} {len(runs & planned):7} {len(runs - planned):6}")
            planned |= runs
        return "\n".join([*lines, f"{'total':20} {'':6} {'':7} {len(planned):6}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="config.yaml, then overlays")
    print(Plan(read_study(*parser.parse_args().files)).summary())


if __name__ == "__main__":
    run_command(main)
