import json
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir)))

from pipeline.config import load_study
from pipeline.runtime import portable
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.gpus import visible_gpus
from pipeline.runtime.code import module_files

try:
    STUDY = load_study(config)
except PipelineError as error:
    raise WorkflowError(str(error)) from None

R = STUDY.results

# How jobs share this machine; pipeline.runtime.start and pipeline.runtime.lease read it.
os.environ.update(
    PIPELINE_WARM_START=str(int(STUDY.jobs.warm_start)), PIPELINE_RUNS_PER_GPU=str(STUDY.jobs.runs_per_gpu)
)
if STUDY.jobs.portable:
    os.environ.update(portable.ENVIRONMENT)


# A dry run shows what each family adds; only the command line says so early that it is one.
if any(re.fullmatch(r"--dry-?run|-[a-z]*n[a-z]*", argument) for argument in sys.argv):
    print(f"Runs of this study\n{STUDY.plan()}", file=sys.stderr)


wildcard_constraints:
    dataset="|".join(STUDY.datasets),
    variant="|".join(sorted(STUDY.variants, key=len, reverse=True)),
    seed=r"\d+",
    family="|".join(STUDY.ablations) or "none",


def gpus():
    """GPUs for this invocation: as configured, else as many as this machine has."""
    if STUDY.jobs.gpus is not None:
        return STUDY.jobs.gpus
    return visible_gpus()


# Without a limit of the user's own, no more jobs compute on each GPU at a time than the configuration says: one.
if gpus() and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", gpus() * STUDY.jobs.runs_per_gpu)


def code(module, *more):
    """The source files that determine what a step computes."""
    return [Path(workflow.basedir) / path for path in module_files(module, *more)]


def compact(value):
    """A slice of the configuration for a command line and for the rerun trigger on parameters."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def variant_settings(variant):
    """What determines the model of a variant; neither its label nor how it is trained."""
    return STUDY.variants[variant].model_dump(mode="json", exclude={"label", "training"})


def variant_code(variant):
    """The module that defines a variant's kind."""
    return type(STUDY.variants[variant]).__module__


def training_settings(variant):
    """What determines how a variant is trained; not what only decides how a run is saved."""
    return STUDY.training_of(variant).model_dump(mode="json", exclude={"save_every"})


def run_folder(dataset, variant, seed):
    return f"{R}/runs/{dataset}/{variant}/seed{seed}"


def grid(variants, datasets=None, seeds=None):
    """Folders of the runs of ``variants`` on all datasets and seeds, or on those given."""
    return [
        run_folder(dataset, variant, seed)
        for dataset in datasets or STUDY.datasets
        for variant in variants
        for seed in seeds or STUDY.seeds
    ]


def family(name):
    """Run folders of an ablation family."""
    ablation = STUDY.ablations[name]
    return grid(ablation.variants, ablation.datasets, ablation.seeds)


def files(folders, name):
    return [f"{folder}/{name}" for folder in folders]


def scores(folders):
    """Per-case scores and summaries of runs."""
    return files(folders, "per_case.csv") + files(folders, "summary.json")


def labels(variants):
    return {variant: STUDY.label(variant) for variant in variants}


def first_runs(dataset):
    """The run of each main variant with the first seed; the variant that others are compared with comes first."""
    first = STUDY.evaluation.comparisons_reference
    order = [first] * (first in STUDY.main) + [variant for variant in STUDY.main if variant != first]
    return {variant: run_folder(dataset, variant, STUDY.seeds[0]) for variant in order}


def data_points():
    """Method and share of the training cases of each variant of the data family."""
    result = {}
    variants = STUDY.ablations["data"].variants
    for variant in variants:
        same = [
            other
            for other in variants
            if variant_settings(other) == variant_settings(variant) and STUDY.training_of(other).train_fraction == 1
        ]
        method = STUDY.label(same[0]) if same else STUDY.label(variant)
        result[variant] = {"method": method, "fraction": STUDY.training_of(variant).train_fraction}
    return result


def note():
    """What every table and figure says when its numbers cannot be compared with the paper's; else nothing."""
    parts = []
    if STUDY.archives.phantoms:
        parts.append("phantom images")
    elif not STUDY.archives.official:
        parts.append(STUDY.archives.description)
    if STUDY.backbone.source == "phantom":
        parts.append("a tiny backbone pretrained on coloured shapes, not CLIPSeg's weights")
    elif STUDY.backbone.source == "folder":
        parts.append(f"the backbone of {STUDY.backbone.folder}")
    return f"Not comparable with the paper: {'; '.join(parts)}." if parts else ""


# For the description at the head of the report, which sees nothing but the configuration.
config["note"] = note()


def comparable():
    return "false" if note() else "true"


def archive_options():
    """Where fetch takes the archives from."""
    archives = STUDY.archives
    folder = f"{R}/phantoms/archives" if archives.phantoms else archives.folder
    return options(folder=folder, base_url=archives.base_url)


def annotation_options():
    """Where fetch takes the split lists from."""
    archives = STUDY.archives
    folder = f"{R}/phantoms/annotations" if archives.phantoms else archives.annotations_folder
    return options(folder=folder, base_url=archives.annotations_url)


def options(**values):
    """Command-line options for those values that are given."""
    return " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in values.items() if value is not None
    )


def figure_options(variants):
    """What every table and figure takes: variants in their order, their names, and the note."""
    return options(variants=compact(list(variants)), labels=compact(labels(variants)), note=note())


def schedule_variants():
    """The variants whose widths are drawn: those of the depth family, else the telescopic ones of the main table."""
    chosen = STUDY.ablations["depth"].variants if "depth" in STUDY.ablations else STUDY.main
    return [variant for variant in chosen if STUDY.variants[variant].kind == "telescopic"]


def figures():
    """File names of all figures, without their endings."""
    names = ["pareto", "comparison", "qualitative", "failures", "training_curves", "width_schedule", "cost"]
    names += ["data_overview", "transfer"] + ["alpha_by_depth"] * bool(alpha_runs())
    names += ["data_efficiency"] * ("data" in STUDY.ablations)
    return names + [f"ablation_{name}" for name in STUDY.ablations]


def tables():
    """File names of all tables that have a LaTeX form, without their endings."""
    return ["main", "efficiency", "comparison", "transfer", *(f"ablation_{name}" for name in STUDY.ablations)]


def pages():
    """What Snakemake's report shows as text: its place below the results folder, without its ending."""
    return ["paper", *(f"tables/{name}" for name in [*tables(), "regression", "data_audit"])]


def pages_on_request():
    """The same of what `snakemake all` leaves out."""
    return ["tables/evaluation_choices", "tables/prompt_sensitivity"]


# The report sorts its categories by name.
PAPER, TABLES, FIGURES, ABLATIONS, DATA = "1 Paper", "2 Tables", "3 Figures", "4 Ablations", "5 Data"


def page_category(wildcards):
    """The category of a page in the report."""
    name = wildcards.page.removeprefix("tables/")
    if name.startswith("ablation_"):
        return ABLATIONS
    return {"paper": PAPER, "regression": PAPER, "data_audit": DATA}.get(name, TABLES)


def page_subcategory(wildcards):
    """The family that an ablation's table belongs to."""
    name = wildcards.page.removeprefix("tables/ablation_")
    return STUDY.ablations[name].title if name in STUDY.ablations and name != wildcards.page else None


def page_labels(wildcards):
    """What a page is called in the report.

    One label, here and for figures: of a second one with two values the report makes a switch, which breaks where not
    all results have both.
    """
    names = {
        "paper": {"page": "Paper and study, figure by figure"},
        "regression": {"page": "Reported against measured DSC"},
        "main": {"table": "DSC by method and dataset"},
        "efficiency": {"table": "Cost and DSC"},
        "comparison": {"table": "Paired differences"},
        "transfer": {"table": "Transfer between datasets"},
        "evaluation_choices": {"table": "DSC by choices of the evaluation"},
        "prompt_sensitivity": {"table": "DSC by prompt type"},
        "data_audit": {"result": "Table: audit"},
    }
    return names.get(wildcards.page.removeprefix("tables/"), {"result": "Table: DSC by variant"})


def page_caption(wildcards):
    """The file that describes a page, by its name or, in an ablation, for all families."""
    name = wildcards.page.removeprefix("tables/")
    name = "ablation" if name.startswith("ablation_") else name
    return Path(workflow.basedir) / f"workflow/report/page_{name}.rst"


def page_images(wildcards):
    """The figures that a page shows."""
    return [f"{R}/{name}.png" for name in figures()] if wildcards.page == "paper" else []


def everything():
    """All that `snakemake all` makes."""
    return [
        *(f"{R}/{name}.{ending}" for name in figures() for ending in ("pdf", "png")),
        *(f"{R}/tables/{name}.{ending}" for name in tables() for ending in ("csv", "md", "tex")),
        f"{R}/tables/data_audit.md",
        f"{R}/paper.md",
        *(f"{R}/pages/{name}.html" for name in pages()),
        f"{R}/regression.passed",
    ]


def more_scores(name, folders):
    """Further per-case scores of runs, in a folder of that name that is laid out as the runs are."""
    return files([f"{R}/{name}/{folder.removeprefix(f'{R}/runs/')}" for folder in folders], "per_case.csv")


def scores_folder(paths):
    """The folder that holds further scores, laid out as the runs are."""
    return folder(paths).parents[2]


def transfer_runs():
    """Runs that are scored on every dataset: those of the variant that others are compared with."""
    return grid([STUDY.evaluation.comparisons_reference])


def folder(paths):
    """The folder of a file, or of the first of several."""
    return Path(paths if isinstance(paths, str) else paths[0]).parent


def stem(path):
    """A path without its ending."""
    return Path(path).with_suffix("")


def alpha_runs():
    """Runs of the variant that others are compared with, if its residual scales are learned."""
    variant = STUDY.evaluation.comparisons_reference
    learned = variant in STUDY.main and getattr(STUDY.variants[variant], "alpha_learned", False)
    return grid([variant]) if learned else []
