# Published checkpoints, without any training. Where images or backbone are made up, a run of the study's own takes their
# place, exported in the authors' layout.
if PLAN.own_checkpoints:

    rule export_checkpoint:
        input:
            lambda wildcards: files(
                [PLAN.run_folder(published(wildcards).dataset, published(wildcards).method, STUDY.seeds[0])],
                "weights.safetensors",
            ),
            backbone=f"{R}/backbone",
        output:
            f"{R}/exported/{{key}}.ckpt",
        log:
            f"{R}/logs/export_{{key}}.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=memory(4000),
        params:
            code=lambda wildcards: of_method("pipeline.models.checkpoints", wildcards),
            run=subpath(input[0], parent=True),
        shell:
            "python -m pipeline.runtime.start pipeline.models.checkpoints export --run {params.run:q}"
            " --backbone {input.backbone:q} --output {output:q} > {log:q} 2>&1"


rule fetch_checkpoint:
    input:
        f"{R}/exported/{{key}}.ckpt" if PLAN.own_checkpoints else [],
        backbone=f"{R}/backbone",
    output:
        multiext(f"{R}/released/{{key}}/", "checkpoint", "source.json"),
    log:
        f"{R}/logs/fetch_{{key}}.log",
    retries: 2
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        code=lambda wildcards: of_method("pipeline.fetching.released", wildcards),
        entry=lambda wildcards: published(wildcards).model_dump_json(),
        lock=f"{R}/released/{{key}}.lock.json",
        options=options(
            folder=f"{R}/exported" if PLAN.own_checkpoints else STUDY.archives.released_folder,
            official=str(not PLAN.own_checkpoints).lower(),
        ),
        folder=subpath(output[0], parent=True),
    shell:
        "python -m pipeline.runtime.start pipeline.fetching.released --key {wildcards.key} {params.options}"
        " --backbone {input.backbone:q} --lock {params.lock:q} --output {params.folder:q} > {log:q} 2>&1"


rule evaluate_checkpoint:
    input:
        tensors=lambda wildcards: f"{R}/tensors/{published(wildcards).dataset}",
        backbone=f"{R}/backbone",
        checkpoint=f"{R}/released/{{key}}/checkpoint",
    output:
        expand(f"{R}/released/{{{{key}}}}/{{masks}}/per_prompt.csv", masks=CONVENTIONS),
    log:
        f"{R}/logs/evaluate_{{key}}.log",
    conda:
        ENVIRONMENT
    threads: STUDY.jobs.threads
    resources:
        mem_mb=memory(STUDY.jobs.memory_mb),
        runtime=60,
        gpu=gpu,
    params:
        code=lambda wildcards: of_method("pipeline.evaluation.score_released", wildcards),
        threshold=STUDY.evaluation.threshold,
        batch_size=STUDY.evaluation.batch_size,
        threads=STUDY.jobs.threads,
        folder=lambda wildcards: f"{R}/released/{wildcards.key}",
    shell:
        "python -m pipeline.runtime.start --gpus {resources.gpu} pipeline.evaluation.score_released"
        " --tensors {input.tensors:q} --backbone {input.backbone:q} --checkpoint {input.checkpoint:q}"
        " --threshold {params.threshold} --batch-size {params.batch_size} --threads {params.threads} --output {params.folder:q} > {log:q} 2>&1"
