rule evaluate:
    input:
        tensors=f"{R}/tensors/{{dataset}}",
        backbone=f"{R}/backbone",
        weights=f"{R}/runs/{RUN}/weights.safetensors",
    output:
        per_case=f"{R}/runs/{RUN}/per_case.csv",
        per_prompt=f"{R}/runs/{RUN}/per_prompt.csv",
        calibration=f"{R}/runs/{RUN}/calibration.csv",
        thresholds=f"{R}/runs/{RUN}/thresholds.csv",
    log:
        f"{R}/logs/evaluate/{RUN}.log",
    conda:
        ENVIRONMENT
    threads: STUDY.jobs.threads
    resources:
        mem_mb=memory(STUDY.jobs.memory_mb),
        runtime=60,
        gpu=gpu,
    params:
        code=code("pipeline.evaluation.score_run"),
        prompts=lambda wildcards: options(prompt_type=STUDY.training_of(wildcards.variant).prompt_type),
        more=lambda wildcards, output: options(
            **{name: output.get(name) for name in ("per_prompt", "calibration", "thresholds")},
            state=f"{R}/state/{RUN}".format(**wildcards),
        ),
        threshold=STUDY.evaluation.threshold,
        batch_size=STUDY.evaluation.batch_size,
        threads=STUDY.jobs.threads,
    shell:
        "python -m pipeline.runtime.start --gpus {resources.gpu} pipeline.evaluation.score_run {params.prompts} {params.more}"
        " --tensors {input.tensors:q} --backbone {input.backbone:q} --weights {input.weights:q} --threshold {params.threshold}"
        " --batch-size {params.batch_size} --threads {params.threads} --output {output.per_case:q} > {log:q} 2>&1"


use rule evaluate as evaluate_transfer with:
    input:
        tensors=lambda wildcards: [
            f"{R}/tensors/{name}" for name in PLAN.tested_on("joint" if wildcards.dataset == JOINT else "transfer")
        ],
        backbone=f"{R}/backbone",
        weights=f"{R}/runs/{RUN}/weights.safetensors",
    output:
        per_case=f"{R}/transfer/{RUN}/per_case.csv",
    log:
        f"{R}/logs/transfer/{RUN}.log",
    params:
        more="--by test_dataset",


use rule evaluate as evaluate_mirrored with:
    output:
        per_case=f"{R}/mirrored/{RUN}/per_case.csv",
    log:
        f"{R}/logs/mirrored/{RUN}.log",
    params:
        more="--mirror",


# Under all types, also runs that have a type of their own.
use rule evaluate as evaluate_under_every_prompt with:
    output:
        per_case=f"{R}/every_prompt/{RUN}/per_case.csv",
        per_prompt=f"{R}/every_prompt/{RUN}/per_prompt.csv",
    log:
        f"{R}/logs/every_prompt/{RUN}.log",
    params:
        prompts="",


rule gallery:
    input:
        lambda wildcards: files(
            [PLAN.run_folder(wildcards.dataset, variant, STUDY.seeds[0]) for variant in PLAN.gallery_variants()],
            "per_prompt.csv",
            "weights.safetensors",
        ),
        tensors=f"{R}/tensors/{{dataset}}",
        backbone=f"{R}/backbone",
        images=f"{R}/datasets/{{dataset}}/images",
    output:
        f"{R}/gallery/{{dataset}}.npz",
    log:
        f"{R}/logs/gallery_{{dataset}}.log",
    conda:
        ENVIRONMENT
    threads: STUDY.jobs.threads
    resources:
        mem_mb=memory(STUDY.jobs.memory_mb),
        runtime=30,
        gpu=gpu,
    params:
        code=code("pipeline.evaluation.gallery", STUDY.main),
        options=options(results=R, variants=compact(PLAN.gallery_variants()), seed=STUDY.seeds[0]),
        threshold=STUDY.evaluation.threshold,
        threads=STUDY.jobs.threads,
    shell:
        "python -m pipeline.runtime.start --gpus {resources.gpu} pipeline.evaluation.gallery {params.options}"
        " --dataset {wildcards.dataset} --backbone {input.backbone:q} --threshold {params.threshold} --threads {params.threads}"
        " --output {output:q} > {log:q} 2>&1"


# Fails if a row that should reproduce does not; a rule of its own, since Snakemake deletes what a failed job wrote.
rule regression:
    input:
        f"{R}/regression.json",
    output:
        touch(f"{R}/regression.passed"),
    log:
        f"{R}/logs/regression.log",
    conda:
        ENVIRONMENT
    params:
        code=digest("pipeline.evaluation.reproduction"),
    shell:
        "python -m pipeline.runtime.start pipeline.evaluation.reproduction check {input:q}"
        " > {log:q} 2>&1 || (cat {log:q} >&2; exit 1)"
