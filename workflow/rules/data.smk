if STUDY.archives.phantoms:

    rule phantoms:
        output:
            archives=directory(f"{R}/phantoms/archives"),
            annotations=directory(f"{R}/phantoms/annotations"),
        log:
            f"{R}/logs/phantoms.log",
        conda:
            ENVIRONMENT
        params:
            code=digest("pipeline.demo.phantoms"),
            folder=subpath(output.archives, parent=True),
            options=options(**STUDY.archives.phantoms.model_dump()),
        shell:
            "python -m pipeline.runtime.start pipeline.demo.phantoms {params.options}"
            " --output {params.folder:q} > {log:q} 2>&1"


rule fetch_archives:
    input:
        f"{R}/phantoms/archives" if STUDY.archives.phantoms else [],
        lambda wildcards: own_archives(wildcards.dataset, STUDY.archives.folder) if STUDY.archives.folder else [],
    output:
        directory(f"{R}/archives/{{dataset}}"),
    log:
        f"{R}/logs/fetch_archives_{{dataset}}.log",
    retries: 2
    localrule: True
    conda:
        ENVIRONMENT
    params:
        code=digest("pipeline.fetching.datasets"),
        lock=f"{R}/archives/{{dataset}}.lock.json",
        source=source("archives", STUDY.archives.folder, STUDY.archives.base_url),
        official=str(STUDY.archives.official).lower(),
    shell:
        "python -m pipeline.runtime.start pipeline.fetching.datasets --dataset {wildcards.dataset} {params.source}"
        " --official {params.official} --lock {params.lock:q} --output {output:q} > {log:q} 2>&1"


rule fetch_annotations:
    input:
        f"{R}/phantoms/annotations" if STUDY.archives.phantoms else [],
    output:
        directory(f"{R}/annotations/{{dataset}}"),
    log:
        f"{R}/logs/fetch_annotations_{{dataset}}.log",
    retries: 2
    localrule: True
    conda:
        ENVIRONMENT
    params:
        code=digest("pipeline.fetching.datasets"),
        source=source("annotations", STUDY.archives.annotations_folder, STUDY.archives.annotations_url),
        official=str(not STUDY.archives.phantoms).lower(),
    shell:
        "python -m pipeline.runtime.start pipeline.fetching.datasets --dataset {wildcards.dataset}"
        " --annotations {params.source} --official {params.official} --output {output:q} > {log:q} 2>&1"


# Oxford-IIIT Pet has no published lists of this kind.
rule pet_lists:
    input:
        f"{R}/archives/oxford_pet",
    output:
        directory(f"{R}/annotations/oxford_pet"),
    log:
        f"{R}/logs/pet_lists.log",
    conda:
        ENVIRONMENT
    threads: min(2, STUDY.jobs.threads)
    params:
        code=digest("pipeline.data.pet_lists"),
    shell:
        "python -m pipeline.runtime.start pipeline.data.pet_lists --archives {input:q} --threads {threads}"
        " --output {output:q} > {log:q} 2>&1"


ruleorder: pet_lists > fetch_annotations


if MADE := [name for name in map(origin, PLAN.datasets) if name != JOINT and dataset_facts(name).lists]:

    rule own_lists:
        input:
            f"{R}/archives/{{dataset}}",
        output:
            directory(f"{R}/annotations/{{dataset}}"),
        log:
            f"{R}/logs/own_lists_{{dataset}}.log",
        wildcard_constraints:
            dataset="|".join(MADE),
        conda:
            ENVIRONMENT
        threads: min(2, STUDY.jobs.threads)
        params:
            code=digest("pipeline.data.own_lists"),
            entry=lambda wildcards: entry(wildcards.dataset),
        shell:
            "python -m pipeline.runtime.start pipeline.data.own_lists --dataset {wildcards.dataset} --archives {input:q}"
            " --threads {threads} --output {output:q} > {log:q} 2>&1"

    ruleorder: own_lists > fetch_annotations


# Datasets of one origin share its archives and lists.
rule standardise:
    input:
        annotations=lambda wildcards: f"{R}/annotations/{origin(wildcards.dataset)}",
        archives=lambda wildcards: f"{R}/archives/{origin(wildcards.dataset)}",
    output:
        images=directory(f"{R}/datasets/{{dataset}}/images"),
        masks=directory(f"{R}/datasets/{{dataset}}/masks"),
        reference=directory(f"{R}/datasets/{{dataset}}/masks_reference"),
        cases=f"{R}/datasets/{{dataset}}/cases.csv",
        provenance=f"{R}/datasets/{{dataset}}/provenance.json",
    log:
        f"{R}/logs/standardise_{{dataset}}.log",
    conda:
        ENVIRONMENT
    threads: min(2, STUDY.jobs.threads)
    resources:
        mem_mb=memory(1500),
        runtime=30,
    params:
        code=digest("pipeline.data.standardise"),
        entry=lambda wildcards: entry(wildcards.dataset),
        folder=subpath(output.cases, parent=True),
        split=lambda wildcards: PLAN.split(wildcards.dataset),
        allow_missing=lambda wildcards: STUDY.archives.allow_missing.get(origin(wildcards.dataset), 0),
    shell:
        "python -m pipeline.runtime.start pipeline.data.standardise --dataset {wildcards.dataset}"
        " --archives {input.archives:q} --annotations {input.annotations:q} --split {params.split} --allow-missing {params.allow_missing}"
        " --threads {threads} --output {params.folder:q} > {log:q} 2>&1"


rule verify:
    input:
        images=f"{R}/datasets/{{dataset}}/images",
        masks=f"{R}/datasets/{{dataset}}/masks",
        reference=f"{R}/datasets/{{dataset}}/masks_reference",
        cases=f"{R}/datasets/{{dataset}}/cases.csv",
        annotations=lambda wildcards: f"{R}/annotations/{origin(wildcards.dataset)}",
    output:
        f"{R}/datasets/{{dataset}}/integrity.json",
    log:
        f"{R}/logs/verify_{{dataset}}.log",
    conda:
        ENVIRONMENT
    threads: min(2, STUDY.jobs.threads)
    resources:
        mem_mb=memory(1500),
        runtime=30,
    params:
        code=digest("pipeline.data.integrity"),
        folder=subpath(input.cases, parent=True),
        verify_boxes=str(bool(STUDY.archives.official or STUDY.archives.phantoms)).lower(),
    shell:
        "python -m pipeline.runtime.start pipeline.data.integrity --dataset {wildcards.dataset}"
        " --folder {params.folder:q} --annotations {input.annotations:q} --verify-boxes {params.verify_boxes} --output {output:q} > {log:q} 2>&1"


rule tensors:
    input:
        images=f"{R}/datasets/{{dataset}}/images",
        masks=f"{R}/datasets/{{dataset}}/masks",
        reference=f"{R}/datasets/{{dataset}}/masks_reference",
        cases=f"{R}/datasets/{{dataset}}/cases.csv",
        integrity=f"{R}/datasets/{{dataset}}/integrity.json",
    output:
        directory(f"{R}/tensors/{{dataset}}"),
    log:
        f"{R}/logs/tensors_{{dataset}}.log",
    conda:
        ENVIRONMENT
    threads: min(2, STUDY.jobs.threads)
    resources:
        mem_mb=memory(1500),
        runtime=30,
    params:
        code=digest("pipeline.data.tensors"),
        folder=subpath(input.cases, parent=True),
        size=STUDY.image_size,
        masks=STUDY.masks,
    shell:
        "python -m pipeline.runtime.start pipeline.data.tensors --folder {params.folder:q} --size {params.size} --masks {params.masks}"
        " --threads {threads} --output {output:q} > {log:q} 2>&1"


rule join_tensors:
    input:
        [f"{R}/tensors/{name}" for name in PLAN.tested_on("joint")],
    output:
        directory(f"{R}/tensors/{JOINT}"),
    log:
        f"{R}/logs/join_tensors.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory(1500),
        runtime=30,
    params:
        code=digest("pipeline.data.joint"),
    shell:
        "python -m pipeline.runtime.start pipeline.data.joint --tensors {input:q} --output {output:q} > {log:q} 2>&1"


ruleorder: join_tensors > tensors
