if STUDY.backbone.source == "phantom":

    rule pretrain_backbone:
        input:
            code=code("pipeline.demo.pretrain"),
        output:
            backbone=multiext(f"{R}/backbone/", "config.json", "model.safetensors", "vocab.json", "merges.txt"),
        log:
            f"{R}/logs/backbone.log",
        benchmark:
            f"{R}/benchmarks/backbone.tsv"
        priority: 10
        conda:
            "../../envs/environment.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            backbone=lambda wildcards, output: folder(output.backbone),
            settings=compact(STUDY.backbone.model_dump(mode="json")),
        shell:
            "python -m pipeline.runtime.start pipeline.demo.pretrain --settings {params.settings:q}"
            " --threads {threads}"
            " --output {params.backbone} > {log} 2>&1"

else:

    rule fetch_backbone:
        input:
            facts="workflow/resources/backbone_files.csv",
            code=code("pipeline.fetching.clipseg"),
        output:
            backbone=multiext(f"{R}/backbone/", "config.json", "model.safetensors", "vocab.json", "merges.txt"),
        log:
            f"{R}/logs/backbone.log",
        retries: 2
        localrule: True
        conda:
            "../../envs/environment.yaml"
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            backbone=lambda wildcards, output: folder(output.backbone),
            settings=compact(STUDY.backbone.model_dump(mode="json")),
        shell:
            "python -m pipeline.runtime.start pipeline.fetching.clipseg --settings {params.settings:q} --facts {input.facts}"
            " --output {params.backbone} > {log} 2>&1"


rule train:
    input:
        tensors=multiext(f"{R}/tensors/{{dataset}}/", "images.npy", "masks.npy", "cases.csv"),
        backbone=multiext(f"{R}/backbone/", "config.json", "model.safetensors", "vocab.json", "merges.txt"),
        code=lambda wildcards: code("pipeline.training.train", variant_code(wildcards.variant)),
    output:
        multiext(
            f"{R}/runs/{{dataset}}/{{variant}}/seed{{seed}}/", "weights.safetensors", "history.csv", "manifest.json"
        ),
    log:
        f"{R}/logs/train/{{dataset}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{R}/benchmarks/train/{{dataset}}/{{variant}}/seed{{seed}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: STUDY.jobs.threads
    resources:
        mem_mb=STUDY.jobs.memory_mb,
        runtime=240,
        gpu=min(1, gpus()),
    params:
        tensors=lambda wildcards, input: folder(input.tensors),
        state=f"{R}/state/{{dataset}}/{{variant}}/seed{{seed}}",
        backbone=lambda wildcards, input: folder(input.backbone),
        variant=lambda wildcards: compact(variant_settings(wildcards.variant)),
        training=lambda wildcards: compact(training_settings(wildcards.variant)),
        threads=STUDY.jobs.threads,
        folder=lambda wildcards, output: folder(output),
    shell:
        "python -m pipeline.runtime.start pipeline.training.train"
        " --name {wildcards.dataset}/{wildcards.variant}/seed{wildcards.seed}"
        " --tensors {params.tensors} --backbone {params.backbone}"
        " --variant {params.variant:q} --training {params.training:q}"
        " --seed {wildcards.seed} --threads {params.threads}"
        " --state {params.state}"
        " --output {params.folder} > {log} 2>&1"
