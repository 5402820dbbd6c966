from snakemake.cli import parse_args
from snakemake.utils import min_version

# 9.10 to 9.16 run more jobs at a time than --cores allows (issue 3913 of Snakemake).
min_version("9.17.3")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/released.smk"
include: "workflow/rules/cost.smk"
include: "workflow/rules/render.smk"


# Not called for a dry run. Jobs of this machine end with this process; a cluster's jobs do not.
onstart:
    written = (file for job in workflow.dag.needrun_jobs() for file in (*job.output, *job.log))
    try:
        check_writable(R, {os.path.dirname(file) for file in written})
        if not workflow.touch:
            if workflow.local_exec:
                start.belong_to_this_process()
            check_before_jobs(PLAN)
            # After the check: the server imports libraries in the environment of its first caller, which has to be a job.
            if workflow.local_exec and STUDY.jobs.warm_start:
                warm.start_server()
    except PipelineError as error:
        raise WorkflowError(str(error)) from None


# With quiet rules Snakemake itself shows no log of a failed job.
onerror:
    for failed, line in failures(Path(R), STARTED):
        logger.error(f"{failed}: {line}")
    logger.error("how far the study is: python -m pipeline status")


rule all:
    default_target: True
    input:
        PLAN.targets(),


# For a target that nothing makes, Snakemake's own error fails while it puts its message together.
if workflow.is_main_process and Path(sys.argv[0]).parent.name in ("bin", "snakemake"):
    for target in parse_args(sys.argv[1:])[1].targets:
        path = os.path.relpath(target)
        if not (
            workflow.is_rule(target) or os.path.exists(path) or any(rule.is_producer(path) for rule in workflow.rules)
        ):
            raise WorkflowError(
                f"{target}: neither a rule nor a file of this study, whose results are in {R}/; correct it, or name"
                " another study by --configfile, which stands behind the target"
            )
