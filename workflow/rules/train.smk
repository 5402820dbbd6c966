if STUDY.backbone.source == "phantom":

    rule pretrain_backbone:
        output:
            directory(f"{R}/backbone"),
        log:
            f"{R}/logs/backbone.log",
        priority: 10
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(2000),
            runtime=10,
        params:
            code=digest("pipeline.demo.pretrain"),
            options=options(**STUDY.backbone.model_dump(exclude={"source"})),
        shell:
            "python -m pipeline.runtime.start pipeline.demo.pretrain {params.options} --threads {threads}"
            " --output {output:q} > {log:q} 2>&1"

else:

    rule fetch_backbone:
        input:
            facts="workflow/resources/backbone_files.csv",
        output:
            directory(f"{R}/backbone"),
        log:
            f"{R}/logs/backbone.log",
        retries: 2
        localrule: True
        conda:
            ENVIRONMENT
        resources:
            mem_mb=memory(4000),
            runtime=60,
        params:
            code=digest("pipeline.fetching.clipseg"),
            options=options(**STUDY.backbone.model_dump(exclude={"source"})),
        shell:
            "python -m pipeline.runtime.start pipeline.fetching.clipseg {params.options} --facts {input.facts:q}"
            " --output {output:q} > {log:q} 2>&1"


if PLAN.learned:

    rule learn_widths:
        input:
            lambda wildcards: f"{PLAN.first_run(**wildcards)}/weights.safetensors",
        output:
            f"{R}/runs/{RUN}/widths.json",
        log:
            f"{R}/logs/learn_widths/{RUN}.log",
        wildcard_constraints:
            variant="|".join(PLAN.learned),
        conda:
            ENVIRONMENT
        params:
            code=digest("pipeline.models.learned"),
            variant=lambda wildcards: compact(PLAN.settings(wildcards.variant)),
        shell:
            "python -m pipeline.runtime.start pipeline.models.learned --weights {input:q} --variant {params.variant:q}"
            " --output {output:q} > {log:q} 2>&1"


rule fetch_pretrained:
    input:
        facts="workflow/resources/pretrained_files.csv",
    output:
        f"{R}/pretrained/{{name}}",
    log:
        f"{R}/logs/fetch_pretrained_{{name}}.log",
    retries: 2
    localrule: True
    conda:
        ENVIRONMENT
    params:
        code=digest("pipeline.fetching.pretrained"),
        source=source("archives", STUDY.archives.folder, STUDY.archives.base_url),
    shell:
        "python -m pipeline.runtime.start pipeline.fetching.pretrained --name {wildcards.name} {params.source}"
        " --facts {input.facts:q} --output {output:q} > {log:q} 2>&1"


# Beside a GPU the loop keeps one core busy: with --cores 8 eight GPUs train.
rule train:
    input:
        tensors=f"{R}/tensors/{{dataset}}",
        backbone=f"{R}/backbone",
        widths=lambda wildcards: (
            files([PLAN.run_folder(**wildcards)], "widths.json") if wildcards.variant in PLAN.learned else []
        ),
        pretrained=lambda wildcards: PLAN.pretrained(wildcards.variant),
        tuning=lambda wildcards: f"{R}/tuning.json" if STUDY.is_tuned(wildcards.variant) else [],
        alike=lambda wildcards: files(PLAN.alike(**wildcards), "manifest.json"),
    output:
        multiext(f"{R}/runs/{RUN}/", "weights.safetensors", "history.csv", "manifest.json"),
    log:
        f"{R}/logs/train/{RUN}.log",
    conda:
        ENVIRONMENT
    threads: lambda wildcards: 1 if gpus() else STUDY.jobs.threads
    resources:
        mem_mb=memory(STUDY.jobs.memory_mb),
        runtime=240,
        gpu=gpu,
    params:
        code=code("pipeline.training.train"),
        state=f"{R}/state/{RUN}",
        variant=lambda wildcards: compact(PLAN.settings(wildcards.variant)),
        training=lambda wildcards: compact(PLAN.training(wildcards.variant)),
        more=lambda wildcards, input: options(
            **{name: input.get(name) or None for name in ("widths", "pretrained", "tuning")},
            **PLAN.tuning_options(**wildcards),
        )
        + " --trial" * PLAN.is_trial(wildcards.variant),
        threads=STUDY.jobs.threads,
        folder=subpath(output[0], parent=True),
    shell:
        "python -m pipeline.runtime.start --gpus {resources.gpu} pipeline.evaluation.train_and_score"
        " --name {wildcards.dataset}/{wildcards.variant}/seed{wildcards.seed}"
        " --tensors {input.tensors:q} --backbone {input.backbone:q} --variant {params.variant:q} {params.more}"
        " --training {params.training:q} --seed {wildcards.seed} --threads {params.threads} --state {params.state:q}"
        ' --scoring "$PIPELINE_SCORING" --output {params.folder:q} > {log:q} 2>&1'
