rule evaluate:
    input:
        tensors=multiext(f"{R}/tensors/{{dataset}}/", "images.npy", "targets.npy", "cases.csv"),
        backbone=multiext(f"{R}/backbone/", "config.json", "model.safetensors", "vocab.json", "merges.txt"),
        weights=f"{R}/runs/{{dataset}}/{{variant}}/seed{{seed}}/weights.safetensors",
        code=lambda wildcards: code("pipeline.evaluation.score_run", variant_code(wildcards.variant)),
    output:
        multiext(f"{R}/runs/{{dataset}}/{{variant}}/seed{{seed}}/", "per_case.csv", "summary.json"),
    log:
        f"{R}/logs/evaluate/{{dataset}}/{{variant}}/seed{{seed}}.log",
    conda:
        "../../envs/environment.yaml"
    threads: STUDY.jobs.threads
    resources:
        mem_mb=STUDY.jobs.memory_mb,
        runtime=30,
        gpu=min(1, gpus()),
    params:
        tensors=lambda wildcards, input: folder(input.tensors),
        backbone=lambda wildcards, input: folder(input.backbone),
        prompt_type=lambda wildcards: STUDY.training_of(wildcards.variant).prompt_type,
        threshold=STUDY.evaluation.threshold,
        batch_size=STUDY.evaluation.batch_size,
        threads=STUDY.jobs.threads,
        folder=lambda wildcards, output: folder(output),
    shell:
        "python -m pipeline.runtime.start pipeline.evaluation.score_run --tensors {params.tensors}"
        " --backbone {params.backbone}"
        " --weights {input.weights} --prompt-type {params.prompt_type} --seed {wildcards.seed}"
        " --threshold {params.threshold} --batch-size {params.batch_size} --threads {params.threads}"
        " --output {params.folder} > {log} 2>&1"


rule collect:
    input:
        scores(grid(STUDY.main)),
        code=code("pipeline.evaluation.collect"),
    output:
        f"{R}/dsc.csv",
    log:
        f"{R}/logs/collect.log",
    conda:
        "../../envs/environment.yaml"
    params:
        runs=compact(grid(STUDY.main)),
    shell:
        "python -m pipeline.evaluation.collect --runs {params.runs:q} --output {output} > {log} 2>&1"


rule collect_ablation:
    input:
        lambda wildcards: scores(family(wildcards.family)),
        code=code("pipeline.evaluation.collect"),
    output:
        f"{R}/ablations/{{family}}.csv",
    log:
        f"{R}/logs/collect_{{family}}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        runs=lambda wildcards: compact(family(wildcards.family)),
    shell:
        "python -m pipeline.evaluation.collect --runs {params.runs:q} --output {output} > {log} 2>&1"


rule gallery:
    input:
        lambda wildcards: [
            f"{run}/{name}"
            for run in first_runs(wildcards.dataset).values()
            for name in ("per_case.csv", "weights.safetensors")
        ],
        tensors=multiext(f"{R}/tensors/{{dataset}}/", "images.npy", "targets.npy", "cases.csv"),
        backbone=multiext(f"{R}/backbone/", "config.json", "model.safetensors", "vocab.json", "merges.txt"),
        images=f"{R}/datasets/{{dataset}}/images",
        code=code("pipeline.evaluation.gallery", *{variant_code(variant) for variant in STUDY.main}),
    output:
        f"{R}/gallery/{{dataset}}.npz",
    log:
        f"{R}/logs/gallery_{{dataset}}.log",
    conda:
        "../../envs/environment.yaml"
    threads: STUDY.jobs.threads
    resources:
        mem_mb=STUDY.jobs.memory_mb,
        runtime=30,
        gpu=min(1, gpus()),
    params:
        tensors=lambda wildcards, input: folder(input.tensors),
        backbone=lambda wildcards, input: folder(input.backbone),
        runs=lambda wildcards: compact(first_runs(wildcards.dataset)),
        threshold=STUDY.evaluation.threshold,
        threads=STUDY.jobs.threads,
    shell:
        "python -m pipeline.runtime.start pipeline.evaluation.gallery --tensors {params.tensors}"
        " --images {input.images}"
        " --backbone {params.backbone} --runs {params.runs:q} --threshold {params.threshold} --threads {params.threads}"
        " --output {output} > {log} 2>&1"


rule comparison:
    input:
        scores(grid(STUDY.main)),
        files(grid(STUDY.main), "manifest.json"),
        code=code("pipeline.reporting.tables.comparison"),
    output:
        csv=f"{R}/tables/comparison.csv",
        markdown=f"{R}/tables/comparison.md",
        latex=f"{R}/tables/comparison.tex",
    log:
        f"{R}/logs/comparison.log",
    conda:
        "../../envs/environment.yaml"
    params:
        runs=compact(grid(STUDY.main)),
        reference=STUDY.evaluation.comparisons_reference,
        bootstrap=STUDY.evaluation.bootstrap_samples,
        labels=compact(labels(STUDY.main)),
        note=note(),
    shell:
        "python -m pipeline.reporting.tables.comparison --runs {params.runs:q} --reference {params.reference}"
        " --labels {params.labels:q} --bootstrap {params.bootstrap} --note {params.note:q}"
        " --output-csv {output.csv} --output-md {output.markdown} --output-tex {output.latex} > {log} 2>&1"


rule regression_table:
    input:
        scores(grid(STUDY.main)),
        files(grid(STUDY.main), "manifest.json"),
        dsc=f"{R}/dsc.csv",
        reported="workflow/resources/reported.csv",
        code=code("pipeline.reporting.tables.regression"),
    output:
        json=f"{R}/regression.json",
        table=f"{R}/tables/regression.md",
    log:
        f"{R}/logs/regression_table.log",
    conda:
        "../../envs/environment.yaml"
    params:
        runs=compact(grid(STUDY.main)),
        datasets=compact(STUDY.datasets),
        must=compact(STUDY.regression.must_reproduce),
        tolerance=STUDY.regression.tolerance,
        bootstrap=STUDY.evaluation.bootstrap_samples,
        comparable=comparable(),
        note=note(),
    shell:
        "python -m pipeline.reporting.tables.regression --dsc {input.dsc} --reported {input.reported}"
        " --runs {params.runs:q} --datasets {params.datasets:q} --must-reproduce {params.must:q}"
        " --tolerance {params.tolerance} --bootstrap {params.bootstrap}"
        " --comparable {params.comparable} --note {params.note:q}"
        " --write-only --output {output.json} --table {output.table} > {log} 2>&1"


# Fails if a row that should reproduce does not; a rule of its own, since Snakemake deletes what a failed job wrote.
rule regression:
    input:
        verdicts=f"{R}/regression.json",
        code=code("pipeline.evaluation.verdict"),
    output:
        touch(f"{R}/regression.passed"),
    log:
        f"{R}/logs/regression.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m pipeline.evaluation.verdict {input.verdicts} > {log} 2>&1 || (cat {log} >&2; exit 1)"


rule transfer_run:
    input:
        expand(f"{R}/tensors/{{name}}/{{file}}", name=STUDY.datasets, file=["images.npy", "targets.npy", "cases.csv"]),
        backbone=multiext(f"{R}/backbone/", "config.json", "model.safetensors", "vocab.json", "merges.txt"),
        weights=f"{R}/runs/{{dataset}}/{{variant}}/seed{{seed}}/weights.safetensors",
        code=lambda wildcards: code("pipeline.evaluation.score_transfer", variant_code(wildcards.variant)),
    output:
        f"{R}/transfer/{{dataset}}/{{variant}}/seed{{seed}}/per_case.csv",
    log:
        f"{R}/logs/transfer/{{dataset}}/{{variant}}/seed{{seed}}.log",
    conda:
        "../../envs/environment.yaml"
    threads: STUDY.jobs.threads
    resources:
        mem_mb=STUDY.jobs.memory_mb,
        runtime=60,
        gpu=min(1, gpus()),
    params:
        backbone=lambda wildcards, input: folder(input.backbone),
        tensors=compact({dataset: f"{R}/tensors/{dataset}" for dataset in STUDY.datasets}),
        prompt_type=lambda wildcards: STUDY.training_of(wildcards.variant).prompt_type,
        threshold=STUDY.evaluation.threshold,
        batch_size=STUDY.evaluation.batch_size,
        threads=STUDY.jobs.threads,
    shell:
        "python -m pipeline.runtime.start pipeline.evaluation.score_transfer --tensors {params.tensors:q}"
        " --backbone {params.backbone} --weights {input.weights}"
        " --prompt-type {params.prompt_type} --seed {wildcards.seed} --threshold {params.threshold}"
        " --batch-size {params.batch_size} --threads {params.threads} --output {output} > {log} 2>&1"


# On request: what depends on the size that scores are computed at.
rule evaluate_at_input_size:
    input:
        tensors=multiext(f"{R}/tensors/{{dataset}}/", "images.npy", "masks.npy", "cases.csv"),
        backbone=multiext(f"{R}/backbone/", "config.json", "model.safetensors", "vocab.json", "merges.txt"),
        weights=f"{R}/runs/{{dataset}}/{{variant}}/seed{{seed}}/weights.safetensors",
        code=lambda wildcards: code("pipeline.evaluation.score_run", variant_code(wildcards.variant)),
    output:
        multiext(f"{R}/evaluation_choices/{{dataset}}/{{variant}}/seed{{seed}}/", "per_case.csv", "summary.json"),
    log:
        f"{R}/logs/evaluation_choices/{{dataset}}/{{variant}}/seed{{seed}}.log",
    conda:
        "../../envs/environment.yaml"
    threads: STUDY.jobs.threads
    resources:
        mem_mb=STUDY.jobs.memory_mb,
        runtime=30,
        gpu=min(1, gpus()),
    params:
        tensors=lambda wildcards, input: folder(input.tensors),
        backbone=lambda wildcards, input: folder(input.backbone),
        prompt_type=lambda wildcards: STUDY.training_of(wildcards.variant).prompt_type,
        threshold=STUDY.evaluation.threshold,
        batch_size=STUDY.evaluation.batch_size,
        threads=STUDY.jobs.threads,
        folder=lambda wildcards, output: folder(output),
    shell:
        "python -m pipeline.runtime.start pipeline.evaluation.score_run --at-input-size --tensors {params.tensors}"
        " --backbone {params.backbone}"
        " --weights {input.weights} --prompt-type {params.prompt_type} --seed {wildcards.seed}"
        " --threshold {params.threshold} --batch-size {params.batch_size} --threads {params.threads}"
        " --output {params.folder} > {log} 2>&1"


# On request: all prompt types of a run in one job, as its images are encoded once.
rule prompt_sensitivity_run:
    input:
        tensors=multiext(f"{R}/tensors/{{dataset}}/", "images.npy", "targets.npy", "cases.csv"),
        backbone=multiext(f"{R}/backbone/", "config.json", "model.safetensors", "vocab.json", "merges.txt"),
        weights=f"{R}/runs/{{dataset}}/{{variant}}/seed{{seed}}/weights.safetensors",
        code=lambda wildcards: code("pipeline.evaluation.score_prompts", variant_code(wildcards.variant)),
    output:
        f"{R}/prompt_sensitivity/{{dataset}}/{{variant}}/seed{{seed}}/per_case.csv",
    log:
        f"{R}/logs/prompt_sensitivity/{{dataset}}/{{variant}}/seed{{seed}}.log",
    conda:
        "../../envs/environment.yaml"
    threads: STUDY.jobs.threads
    resources:
        mem_mb=STUDY.jobs.memory_mb,
        runtime=60,
        gpu=min(1, gpus()),
    params:
        tensors=lambda wildcards, input: folder(input.tensors),
        backbone=lambda wildcards, input: folder(input.backbone),
        threshold=STUDY.evaluation.threshold,
        batch_size=STUDY.evaluation.batch_size,
        threads=STUDY.jobs.threads,
    shell:
        "python -m pipeline.runtime.start pipeline.evaluation.score_prompts --tensors {params.tensors}"
        " --backbone {params.backbone} --weights {input.weights} --seed {wildcards.seed}"
        " --threshold {params.threshold} --batch-size {params.batch_size} --threads {params.threads}"
        " --output {output} > {log} 2>&1"
