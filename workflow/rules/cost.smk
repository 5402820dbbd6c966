rule cost:
    output:
        f"{R}/cost.csv",
    log:
        f"{R}/logs/cost.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(6000),
        runtime=30,
    params:
        code=code("pipeline.cost.count", PLAN.variants),
        options=lambda wildcards: options(
            variants=compact({name: STUDY.variants[name].settings.changes() for name in PLAN.variants}),
            backbone=PLAN.backbone(),
            image_size=STUDY.image_size,
        ),
    shell:
        "python -m pipeline.runtime.start pipeline.cost.count {params.options} --output {output:q} > {log:q} 2>&1"


rule speed:
    output:
        f"{R}/speed.csv",
    log:
        f"{R}/logs/speed.log",
    conda:
        ENVIRONMENT
    threads: alone
    resources:
        mem_mb=memory(STUDY.jobs.memory_mb),
        runtime=60,
        gpu=gpu,
    params:
        code=code("pipeline.cost.speed", PLAN.main.variants),
        options=lambda wildcards: options(
            variants=compact({name: STUDY.variants[name].settings.changes() for name in PLAN.main.variants}),
            backbone=PLAN.backbone(),
            image_size=STUDY.image_size,
            precision=STUDY.training.precision,
            threads=STUDY.jobs.threads,
        ),
    shell:
        "python -m pipeline.runtime.start --gpus {resources.gpu} pipeline.cost.speed {params.options} --output {output:q} > {log:q} 2>&1"
