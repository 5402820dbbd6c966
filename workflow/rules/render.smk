# Tables, figures and pages: one rule for each entry of the plan.
for step in PLAN.steps.values():

    rule:
        name:
            step.name
        input:
            *step.source.reads,
            **step.source.inputs,
        output:
            **{kind: shown(step, path) for kind, path in step.outputs.items()},
        log:
            f"{R}/logs/{step.name}.log",
        conda:
            ENVIRONMENT
        params:
            code=digest(step.module),
            module=step.module,
            options=lambda wildcards, step=step: step.command(),
        shell:
            "python -m pipeline.runtime.start {params.module} {params.options} > {log:q} 2>&1"
