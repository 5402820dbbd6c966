if STUDY.archives.phantoms:

    rule phantoms:
        input:
            code=code("pipeline.demo.phantoms"),
        output:
            archives=directory(f"{R}/phantoms/archives"),
            annotations=directory(f"{R}/phantoms/annotations"),
        log:
            f"{R}/logs/phantoms.log",
        conda:
            "../../envs/environment.yaml"
        params:
            folder=subpath(output.archives, parent=True),
            train=STUDY.archives.phantoms.train,
            val=STUDY.archives.phantoms.val,
            test=STUDY.archives.phantoms.test,
            seed=STUDY.archives.phantoms.seed,
        shell:
            "python -m pipeline.demo.phantoms --train {params.train} --val {params.val} --test {params.test}"
            " --seed {params.seed} --output {params.folder} > {log} 2>&1"


rule fetch_archives:
    input:
        code=code("pipeline.fetching.datasets"),
        phantoms=f"{R}/phantoms/archives" if STUDY.archives.phantoms else [],
    output:
        directory(f"{R}/archives/{{dataset}}"),
    log:
        f"{R}/logs/fetch_archives_{{dataset}}.log",
    retries: 2
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        lock=f"{R}/archives/{{dataset}}.lock.json",
        source=archive_options(),
        official=str(STUDY.archives.official).lower(),
    shell:
        "python -m pipeline.fetching.datasets --dataset {wildcards.dataset} {params.source} --official {params.official}"
        " --lock {params.lock} --output {output} > {log} 2>&1"


rule fetch_annotations:
    input:
        code=code("pipeline.fetching.datasets"),
        phantoms=f"{R}/phantoms/annotations" if STUDY.archives.phantoms else [],
    output:
        annotations=multiext(f"{R}/annotations/{{dataset}}/", "train.json", "val.json", "test.json"),
    log:
        f"{R}/logs/fetch_annotations_{{dataset}}.log",
    retries: 2
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        annotations=lambda wildcards, output: folder(output.annotations),
        source=annotation_options(),
        official=str(not STUDY.archives.phantoms).lower(),
    shell:
        "python -m pipeline.fetching.datasets --dataset {wildcards.dataset} --annotations {params.source}"
        " --official {params.official} --output {params.annotations} > {log} 2>&1"


rule standardise:
    input:
        annotations=multiext(f"{R}/annotations/{{dataset}}/", "train.json", "val.json", "test.json"),
        archives=f"{R}/archives/{{dataset}}",
        code=code("pipeline.data.standardise"),
    output:
        images=directory(f"{R}/datasets/{{dataset}}/images"),
        masks=directory(f"{R}/datasets/{{dataset}}/masks"),
        cases=f"{R}/datasets/{{dataset}}/cases.csv",
        provenance=f"{R}/datasets/{{dataset}}/provenance.json",
    log:
        f"{R}/logs/standardise_{{dataset}}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 2
    resources:
        mem_mb=1500,
        runtime=30,
    params:
        annotations=lambda wildcards, input: folder(input.annotations),
        dataset=lambda wildcards, output: folder(output.cases),
        split=STUDY.split,
        allow_missing=lambda wildcards: STUDY.archives.allow_missing.get(wildcards.dataset, 0),
    shell:
        "python -m pipeline.data.standardise --dataset {wildcards.dataset} --archives {input.archives}"
        " --annotations {params.annotations} --split {params.split}"
        " --allow-missing {params.allow_missing} --threads {threads}"
        " --output {params.dataset} > {log} 2>&1"


rule verify:
    input:
        images=f"{R}/datasets/{{dataset}}/images",
        masks=f"{R}/datasets/{{dataset}}/masks",
        cases=f"{R}/datasets/{{dataset}}/cases.csv",
        annotations=multiext(f"{R}/annotations/{{dataset}}/", "train.json", "val.json", "test.json"),
        code=code("pipeline.data.integrity"),
    output:
        f"{R}/datasets/{{dataset}}/integrity.json",
    log:
        f"{R}/logs/verify_{{dataset}}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 2
    resources:
        mem_mb=1500,
        runtime=30,
    params:
        annotations=lambda wildcards, input: folder(input.annotations),
        dataset=lambda wildcards, input: folder(input.cases),
        verify_boxes=str(bool(STUDY.archives.official or STUDY.archives.phantoms)).lower(),
    shell:
        "python -m pipeline.data.integrity --dataset {wildcards.dataset} --folder {params.dataset}"
        " --annotations {params.annotations} --verify-boxes {params.verify_boxes}"
        " --output {output} > {log} 2>&1"


rule tensors:
    input:
        images=f"{R}/datasets/{{dataset}}/images",
        masks=f"{R}/datasets/{{dataset}}/masks",
        cases=f"{R}/datasets/{{dataset}}/cases.csv",
        integrity=f"{R}/datasets/{{dataset}}/integrity.json",
        code=code("pipeline.data.tensors"),
    output:
        tensors=multiext(f"{R}/tensors/{{dataset}}/", "images.npy", "masks.npy", "targets.npy", "cases.csv"),
    log:
        f"{R}/logs/tensors_{{dataset}}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 2
    resources:
        mem_mb=1500,
        runtime=30,
    params:
        tensors=lambda wildcards, output: folder(output.tensors),
        dataset=lambda wildcards, input: folder(input.cases),
        size=STUDY.image_size,
    shell:
        "python -m pipeline.data.tensors --folder {params.dataset} --size {params.size}"
        " --threads {threads} --output {params.tensors} > {log} 2>&1"


rule audit:
    input:
        facts=expand(
            f"{R}/datasets/{{dataset}}/{{name}}",
            dataset=STUDY.datasets,
            name=["integrity.json", "provenance.json", "cases.csv"],
        ),
        code=code("pipeline.data.audit"),
    output:
        csv=f"{R}/tables/data_audit.csv",
        markdown=f"{R}/tables/data_audit.md",
    log:
        f"{R}/logs/audit.log",
    conda:
        "../../envs/environment.yaml"
    params:
        folder=lambda wildcards, input: folder(input.facts).parent,
        datasets=compact(STUDY.datasets),
        note=note(),
    shell:
        "python -m pipeline.data.audit --datasets {params.datasets:q} --folder {params.folder} --note {params.note:q}"
        " --output-markdown {output.markdown} --output-csv {output.csv} > {log} 2>&1"
