rule cost:
    input:
        code=code("pipeline.cost.count", *sorted({variant_code(variant) for variant in STUDY.variants})),
    output:
        table=f"{R}/cost.csv",
        detail=f"{R}/cost_detail.csv",
    log:
        f"{R}/logs/cost.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=6000,
        runtime=30,
    params:
        variants=compact({variant: variant_settings(variant) for variant in STUDY.variants}),
        backbone=compact(STUDY.backbone.model_dump(mode="json")),
        image_size=STUDY.image_size,
    shell:
        "python -m pipeline.runtime.start pipeline.cost.count --variants {params.variants:q}"
        " --backbone-settings {params.backbone:q}"
        " --image-size {params.image_size} --output {output.table} --detail {output.detail} > {log} 2>&1"
