import functools
import os
import shlex
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir)))

from pipeline.check import check_before_jobs, check_widths
from pipeline.config import load_study
from pipeline.data.archives import own_archives
from pipeline.data.conventions import CONVENTIONS
from pipeline.data.released import released_checkpoint
from pipeline.data.sources import JOINT, dataset_facts, origin
from pipeline.fetching.credentials import hide_credentials
from pipeline.plan import Plan, compact, files
from pipeline.runtime import portable, start, warm
from pipeline.runtime.code import digest
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.folders import check_writable
from pipeline.runtime.gpus import visible_gpus
from pipeline.status import failures

STARTED = time.time()

try:
    PLAN = Plan(load_study(config))
    check_widths(PLAN)
except PipelineError as error:
    raise WorkflowError(str(error)) from None

STUDY = PLAN.study
R = STUDY.results
RUN = "{dataset}/{variant}/seed{seed}"
ENVIRONMENT = "../../envs/environment.yaml"

# For the description at the head of the report, which sees nothing but the configuration.
config["note"] = PLAN.note()

# Snakemake's own message names neither the lock nor the whole command.
locks = Path(".snakemake", "locks").absolute()
if workflow.is_main_process and locks.is_dir() and any(locks.iterdir()):
    logger.warning(
        f"{locks}: locked by another Snakemake or by one that was killed; if none is running: snakemake --unlock"
    )

# How jobs share a GPU (pipeline.runtime.lease reads it), and how a training scores its run: no parameters of their rules, so that
# a change of them trains nothing.
os.environ.update(
    PIPELINE_RUNS_PER_GPU=str(STUDY.jobs.runs_per_gpu),
    PIPELINE_SCORING=compact(STUDY.evaluation.model_dump(include={"threshold", "batch_size"})),
)
if STUDY.jobs.portable:
    os.environ.update(portable.ENVIRONMENT)


wildcard_constraints:
    dataset="|".join(PLAN.datasets),
    variant="|".join(sorted(STUDY.variants, key=len, reverse=True)),
    seed=r"\d+",
    key="|".join(PLAN.released) or "none",


@functools.cache
def gpus():
    """GPUs for this invocation: as configured, else as many as this machine has."""
    return visible_gpus() if STUDY.jobs.gpus is None else STUDY.jobs.gpus


def gpu(wildcards):
    """GPUs for one job: one, or none where there are none."""
    if workflow.non_local_exec and STUDY.jobs.gpus is None:
        raise WorkflowError("jobs.gpus: say how many GPUs jobs may have at a time on this cluster, or 0 for none")
    return min(1, gpus())


def alone(wildcards):
    """Threads of a measurement: all, so that nothing runs beside it, where jobs of a study run here on the CPU."""
    here = not (workflow.non_local_exec or gpus() or STUDY.backbone.source == "phantom")
    return workflow.cores if here else STUDY.jobs.threads


def memory(mib):
    """Resource function: that much host memory, and more at each further attempt."""
    return lambda wildcards, attempt: mib * attempt


# Without a limit of the user's own, no more jobs compute on each GPU at a time than the configuration says: one.
if gpus() and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", gpus() * STUDY.jobs.runs_per_gpu)


def code(module, variants=None):
    """Parameter function: the hash of the code behind ``module`` and the kinds of its variants.

    The variant is the job's own, or ``variants`` are those that it reads.
    """

    def of_job(wildcards):
        names = [wildcards.variant] if variants is None else variants
        return digest(module, *sorted({STUDY.variants[name].module for name in names}))

    return of_job


def entry(dataset):
    """What determines how ``dataset`` is read; not its names, sources and licence."""
    names = {"title", "version", "homepage", "licence", "citation"}
    return dataset_facts(dataset).model_dump_json(exclude=names, exclude_defaults=True)


def published(wildcards):
    """The entry of the checkpoint that a job is about."""
    return released_checkpoint(wildcards.key)


def of_method(module, wildcards):
    """The hash of the code behind ``module`` and the kind of the checkpoint's method."""
    return digest(module, STUDY.variants[published(wildcards).method].module)


def options(**values):
    """Command-line options for those values that are given, quoted for the shell."""
    given = {name.replace("_", "-"): str(value) for name, value in values.items() if value is not None}
    return " ".join(f"--{name} {shlex.quote(value)}" for name, value in given.items())


def source(files, folder, url):
    """Where fetch takes files from: the phantoms, a folder of the user's, a mirror, or (no option) the official place."""
    try:
        bare = hide_credentials(url, files)
    except PipelineError as error:
        raise WorkflowError(str(error)) from None
    return options(folder=f"{R}/phantoms/{files}" if STUDY.archives.phantoms else folder, base_url=bare)


# A report of a part of the study shows what there is; Snakemake's own stops at the first file that was not made.
REPORTING = any(word.split("=")[0] == "--report" for word in sys.argv)


def shown(step, path):
    """``path``, marked for the report if it is what the report shows of ``step``."""
    if step.entry is None or path.endswith(".pdf") or (REPORTING and not Path(path).exists()):
        return path
    caption = Path(workflow.basedir, f"workflow/report/{step.entry.caption}.rst")
    place = {"category": step.entry.category, "subcategory": step.entry.subcategory}
    return report(path, caption=caption, labels=dict(step.entry.labels), **place)
