rule table_main:
    input:
        scores(grid(STUDY.main)),
        files(grid(STUDY.main), "manifest.json"),
        dsc=f"{R}/dsc.csv",
        comparison=f"{R}/tables/comparison.csv",
        reported="workflow/resources/reported.csv",
        code=code("pipeline.reporting.tables.scores"),
    output:
        csv=f"{R}/tables/main.csv",
        markdown=f"{R}/tables/main.md",
        latex=f"{R}/tables/main.tex",
    log:
        f"{R}/logs/table_main.log",
    conda:
        "../../envs/environment.yaml"
    params:
        runs=compact(grid(STUDY.main)),
        stem=lambda wildcards, output: stem(output.csv),
        shared=figure_options(STUDY.main),
        datasets=compact(STUDY.datasets),
    shell:
        "python -m pipeline.reporting.tables.scores main --dsc {input.dsc} --comparison {input.comparison}"
        " --reported {input.reported} --datasets {params.datasets:q} --runs {params.runs:q} {params.shared}"
        " --output {params.stem} > {log} 2>&1"


rule table_efficiency:
    input:
        scores(grid(STUDY.main)),
        files(grid(STUDY.main), "manifest.json"),
        dsc=f"{R}/dsc.csv",
        cost=f"{R}/cost.csv",
        reported="workflow/resources/reported.csv",
        code=code("pipeline.reporting.tables.scores"),
    output:
        csv=f"{R}/tables/efficiency.csv",
        markdown=f"{R}/tables/efficiency.md",
        latex=f"{R}/tables/efficiency.tex",
    log:
        f"{R}/logs/table_efficiency.log",
    conda:
        "../../envs/environment.yaml"
    params:
        runs=compact(grid(STUDY.main)),
        stem=lambda wildcards, output: stem(output.csv),
        shared=figure_options(STUDY.main),
        datasets=compact(STUDY.datasets),
    shell:
        "python -m pipeline.reporting.tables.scores efficiency --dsc {input.dsc} --cost {input.cost}"
        " --reported {input.reported} --datasets {params.datasets:q} --runs {params.runs:q} {params.shared}"
        " --output {params.stem} > {log} 2>&1"


rule table_ablation:
    input:
        lambda wildcards: scores(family(wildcards.family)) + files(family(wildcards.family), "manifest.json"),
        dsc=f"{R}/ablations/{{family}}.csv",
        cost=f"{R}/cost.csv",
        code=code("pipeline.reporting.tables.scores"),
    output:
        csv=f"{R}/tables/ablation_{{family}}.csv",
        markdown=f"{R}/tables/ablation_{{family}}.md",
        latex=f"{R}/tables/ablation_{{family}}.tex",
    log:
        f"{R}/logs/table_ablation_{{family}}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        runs=lambda wildcards: compact(family(wildcards.family)),
        stem=lambda wildcards, output: stem(output.csv),
        shared=lambda wildcards: figure_options(STUDY.ablations[wildcards.family].variants),
        reference=lambda wildcards: STUDY.ablations[wildcards.family].reference,
        title=lambda wildcards: STUDY.ablations[wildcards.family].title,
        datasets=lambda wildcards: compact(STUDY.ablations[wildcards.family].datasets or STUDY.datasets),
    shell:
        "python -m pipeline.reporting.tables.scores ablation --dsc {input.dsc} --cost {input.cost}"
        " --reference {params.reference} --title {params.title:q} --datasets {params.datasets:q}"
        " --runs {params.runs:q} {params.shared}"
        " --output {params.stem} > {log} 2>&1"


rule pareto:
    input:
        dsc=f"{R}/dsc.csv",
        cost=f"{R}/cost.csv",
        reported="workflow/resources/reported.csv",
        code=code("pipeline.reporting.figures.pareto"),
    output:
        pdf=f"{R}/pareto.pdf",
        png=report(
            f"{R}/pareto.png",
            caption="../report/pareto.rst",
            category=FIGURES,
            labels={"figure": "DSC against trained parameters"},
        ),
    log:
        f"{R}/logs/pareto.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shared=figure_options(STUDY.main),
    shell:
        "python -m pipeline.reporting.figures.pareto --dsc {input.dsc} --cost {input.cost} --reported {input.reported}"
        " {params.shared} --output {output.pdf} > {log} 2>&1"


rule training_curves:
    input:
        files(grid(STUDY.main), "history.csv"),
        code=code("pipeline.reporting.figures.training_curves"),
    output:
        pdf=f"{R}/training_curves.pdf",
        png=report(
            f"{R}/training_curves.png",
            caption="../report/training_curves.rst",
            category=FIGURES,
            labels={"figure": "Training curves"},
        ),
    log:
        f"{R}/logs/training_curves.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shared=figure_options(STUDY.main),
        runs=compact(grid(STUDY.main)),
    shell:
        "python -m pipeline.reporting.figures.training_curves --runs {params.runs:q} {params.shared}"
        " --output {output.pdf} > {log} 2>&1"


rule width_schedule:
    input:
        code=code("pipeline.reporting.figures.width_schedule"),
    output:
        pdf=f"{R}/width_schedule.pdf",
        png=report(
            f"{R}/width_schedule.png",
            caption="../report/width_schedule.rst",
            category=FIGURES,
            labels={"figure": "Widths by layer"},
        ),
    log:
        f"{R}/logs/width_schedule.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shared=figure_options(schedule_variants()),
        settings=compact({variant: variant_settings(variant) for variant in schedule_variants()}),
    shell:
        "python -m pipeline.reporting.figures.width_schedule --settings {params.settings:q} {params.shared}"
        " --output {output.pdf} > {log} 2>&1"


rule qualitative:
    input:
        galleries=expand(f"{R}/gallery/{{dataset}}.npz", dataset=STUDY.datasets),
        code=code("pipeline.reporting.figures.qualitative"),
    output:
        pdf=f"{R}/qualitative.pdf",
        png=report(
            f"{R}/qualitative.png",
            caption="../report/qualitative.rst",
            category=FIGURES,
            labels={"figure": "Best, median and worst cases"},
        ),
    log:
        f"{R}/logs/qualitative.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shared=figure_options(STUDY.main),
        galleries=compact([f"{R}/gallery/{dataset}.npz" for dataset in STUDY.datasets]),
    shell:
        "python -m pipeline.reporting.figures.qualitative --galleries {params.galleries:q} {params.shared}"
        " --output {output.pdf} > {log} 2>&1"


rule failures:
    input:
        galleries=expand(f"{R}/gallery/{{dataset}}.npz", dataset=STUDY.datasets),
        code=code("pipeline.reporting.figures.failures"),
    output:
        pdf=f"{R}/failures.pdf",
        png=report(
            f"{R}/failures.png", caption="../report/failures.rst", category=FIGURES, labels={"figure": "Failures"}
        ),
    log:
        f"{R}/logs/failures.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shared=figure_options(STUDY.main),
        galleries=compact([f"{R}/gallery/{dataset}.npz" for dataset in STUDY.datasets]),
    shell:
        "python -m pipeline.reporting.figures.failures --galleries {params.galleries:q} {params.shared}"
        " --output {output.pdf} > {log} 2>&1"


rule ablation:
    input:
        lambda wildcards: scores(family(wildcards.family)),
        code=code("pipeline.reporting.figures.ablation"),
    output:
        pdf=f"{R}/ablation_{{family}}.pdf",
        png=report(
            f"{R}/ablation_{{family}}.png",
            caption="../report/ablation.rst",
            category=ABLATIONS,
            subcategory=lambda wildcards: STUDY.ablations[wildcards.family].title,
            labels={"result": "Figure: DSC by variant"},
        ),
    log:
        f"{R}/logs/ablation_{{family}}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shared=lambda wildcards: figure_options(STUDY.ablations[wildcards.family].variants),
        runs=lambda wildcards: compact(family(wildcards.family)),
        reference=lambda wildcards: STUDY.ablations[wildcards.family].reference,
        title=lambda wildcards: STUDY.ablations[wildcards.family].title,
        bootstrap=STUDY.evaluation.bootstrap_samples,
    shell:
        "python -m pipeline.reporting.figures.ablation --runs {params.runs:q} --reference {params.reference}"
        " --bootstrap {params.bootstrap} --title {params.title:q} {params.shared} --output {output.pdf} > {log} 2>&1"


if "depth" in STUDY.ablations:

    rule ablation_depth:
        input:
            scores(family("depth")),
            code=code("pipeline.reporting.figures.ablation_depth"),
        output:
            pdf=f"{R}/ablation_depth.pdf",
            png=report(
                f"{R}/ablation_depth.png",
                caption="../report/ablation_depth.rst",
                category=ABLATIONS,
                subcategory=STUDY.ablations["depth"].title,
                labels={"result": "Figure: DSC by width schedule"},
            ),
        log:
            f"{R}/logs/ablation_depth.log",
        conda:
            "../../envs/environment.yaml"
        params:
            shared=figure_options(STUDY.ablations["depth"].variants),
            runs=compact(family("depth")),
            reference=STUDY.ablations["depth"].reference,
            bootstrap=STUDY.evaluation.bootstrap_samples,
            settings=compact({variant: variant_settings(variant) for variant in STUDY.ablations["depth"].variants}),
        shell:
            "python -m pipeline.reporting.figures.ablation_depth --runs {params.runs:q} --reference {params.reference}"
            " --bootstrap {params.bootstrap} --settings {params.settings:q} {params.shared} --output {output.pdf} > {log} 2>&1"

    ruleorder: ablation_depth > ablation


rule comparison_figure:
    input:
        comparison=f"{R}/tables/comparison.csv",
        code=code("pipeline.reporting.figures.forest"),
    output:
        pdf=f"{R}/comparison.pdf",
        png=report(
            f"{R}/comparison.png",
            caption="../report/comparison.rst",
            category=FIGURES,
            labels={"figure": "Paired differences"},
        ),
    log:
        f"{R}/logs/comparison.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shared=figure_options(STUDY.main),
    shell:
        "python -m pipeline.reporting.figures.forest --comparison {input.comparison} {params.shared}"
        " --output {output.pdf} > {log} 2>&1"


rule table_transfer:
    input:
        files(transfer_runs(), "manifest.json"),
        scores=more_scores("transfer", transfer_runs()),
        code=code("pipeline.reporting.tables.transfer"),
    output:
        csv=f"{R}/tables/transfer.csv",
        markdown=f"{R}/tables/transfer.md",
        latex=f"{R}/tables/transfer.tex",
    log:
        f"{R}/logs/table_transfer.log",
    conda:
        "../../envs/environment.yaml"
    params:
        runs=compact(transfer_runs()),
        scores=lambda wildcards, input: scores_folder(input.scores),
        stem=lambda wildcards, output: stem(output.csv),
        shared=options(labels=compact(labels([STUDY.evaluation.comparisons_reference])), note=note()),
    shell:
        "python -m pipeline.reporting.tables.transfer --runs {params.runs:q} --scores {params.scores}"
        " {params.shared} --output {params.stem} > {log} 2>&1"


rule transfer_figure:
    input:
        transfer=f"{R}/tables/transfer.csv",
        code=code("pipeline.reporting.figures.transfer_heatmap"),
    output:
        pdf=f"{R}/transfer.pdf",
        png=report(
            f"{R}/transfer.png",
            caption="../report/transfer.rst",
            category=FIGURES,
            labels={"figure": "Transfer between datasets"},
        ),
    log:
        f"{R}/logs/transfer_figure.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shared=figure_options([STUDY.evaluation.comparisons_reference]),
    shell:
        "python -m pipeline.reporting.figures.transfer_heatmap --transfer {input.transfer} {params.shared}"
        " --output {output.pdf} > {log} 2>&1"


# On request.
rule table_evaluation_choices:
    input:
        scores(grid(STUDY.main)),
        files(grid(STUDY.main), "manifest.json"),
        scores=more_scores("evaluation_choices", grid(STUDY.main)),
        code=code("pipeline.reporting.tables.evaluation_choices"),
    output:
        csv=f"{R}/tables/evaluation_choices.csv",
        markdown=f"{R}/tables/evaluation_choices.md",
        latex=f"{R}/tables/evaluation_choices.tex",
    log:
        f"{R}/logs/table_evaluation_choices.log",
    conda:
        "../../envs/environment.yaml"
    params:
        runs=compact(grid(STUDY.main)),
        scores=lambda wildcards, input: scores_folder(input.scores),
        stem=lambda wildcards, output: stem(output.csv),
        shared=options(labels=compact(labels(STUDY.main)), note=note()),
        side=STUDY.image_size,
    shell:
        "python -m pipeline.reporting.tables.evaluation_choices --runs {params.runs:q} --scores {params.scores} --side {params.side}"
        " {params.shared} --output {params.stem} > {log} 2>&1"


# On request.
rule table_prompt_sensitivity:
    input:
        files(grid(STUDY.main), "manifest.json"),
        scores=more_scores("prompt_sensitivity", grid(STUDY.main)),
        code=code("pipeline.reporting.tables.prompt_sensitivity"),
    output:
        csv=f"{R}/tables/prompt_sensitivity.csv",
        markdown=f"{R}/tables/prompt_sensitivity.md",
        latex=f"{R}/tables/prompt_sensitivity.tex",
    log:
        f"{R}/logs/table_prompt_sensitivity.log",
    conda:
        "../../envs/environment.yaml"
    params:
        runs=compact(grid(STUDY.main)),
        scores=lambda wildcards, input: scores_folder(input.scores),
        stem=lambda wildcards, output: stem(output.csv),
        shared=options(labels=compact(labels(STUDY.main)), note=note()),
    shell:
        "python -m pipeline.reporting.tables.prompt_sensitivity --runs {params.runs:q} --scores {params.scores}"
        " {params.shared} --output {params.stem} > {log} 2>&1"


# On request.
rule prompt_sensitivity:
    input:
        table=f"{R}/tables/prompt_sensitivity.csv",
        code=code("pipeline.reporting.figures.prompt_types"),
    output:
        pdf=f"{R}/prompt_sensitivity.pdf",
        png=report(
            f"{R}/prompt_sensitivity.png",
            caption="../report/prompt_sensitivity.rst",
            category=FIGURES,
            labels={"figure": "DSC by prompt type"},
        ),
    log:
        f"{R}/logs/prompt_sensitivity.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shared=figure_options(STUDY.main),
    shell:
        "python -m pipeline.reporting.figures.prompt_types --table {input.table} {params.shared}"
        " --output {output.pdf} > {log} 2>&1"


rule cost_figure:
    input:
        files(grid(STUDY.main), "manifest.json"),
        cost=f"{R}/cost.csv",
        code=code("pipeline.reporting.figures.cost_by_variant"),
    output:
        pdf=f"{R}/cost.pdf",
        png=report(
            f"{R}/cost.png",
            caption="../report/cost.rst",
            category=FIGURES,
            labels={"figure": "Cost"},
        ),
    log:
        f"{R}/logs/cost_figure.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shared=figure_options(STUDY.main),
        runs=compact(grid(STUDY.main)),
    shell:
        "python -m pipeline.reporting.figures.cost_by_variant --cost {input.cost} --runs {params.runs:q} {params.shared}"
        " --output {output.pdf} > {log} 2>&1"


rule alpha_by_depth:
    input:
        files(alpha_runs(), "weights.safetensors"),
        code=code("pipeline.reporting.figures.alpha_by_depth"),
    output:
        pdf=f"{R}/alpha_by_depth.pdf",
        png=report(
            f"{R}/alpha_by_depth.png",
            caption="../report/alpha_by_depth.rst",
            category=FIGURES,
            labels={"figure": "Learned residual scales"},
        ),
    log:
        f"{R}/logs/alpha_by_depth.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shared=figure_options([STUDY.evaluation.comparisons_reference]),
        runs=compact(alpha_runs()),
    shell:
        "python -m pipeline.reporting.figures.alpha_by_depth --runs {params.runs:q} {params.shared}"
        " --output {output.pdf} > {log} 2>&1"


rule data_overview:
    input:
        expand(f"{R}/datasets/{{dataset}}/integrity.json", dataset=STUDY.datasets),
        code=code("pipeline.reporting.figures.data_overview"),
    output:
        pdf=f"{R}/data_overview.pdf",
        png=report(
            f"{R}/data_overview.png",
            caption="../report/data_overview.rst",
            category=DATA,
            labels={"result": "Figure: overview"},
        ),
    log:
        f"{R}/logs/data_overview.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shared=options(note=note()),
        datasets=compact([f"{R}/datasets/{dataset}" for dataset in STUDY.datasets]),
    shell:
        "python -m pipeline.reporting.figures.data_overview --datasets {params.datasets:q} {params.shared}"
        " --output {output.pdf} > {log} 2>&1"


if "data" in STUDY.ablations:

    rule data_efficiency:
        input:
            scores(family("data")),
            code=code("pipeline.reporting.figures.data_efficiency"),
        output:
            pdf=f"{R}/data_efficiency.pdf",
            png=report(
                f"{R}/data_efficiency.png",
                caption="../report/data_efficiency.rst",
                category=ABLATIONS,
                subcategory=STUDY.ablations["data"].title,
                labels={"result": "Figure: DSC by share of the cases"},
            ),
        log:
            f"{R}/logs/data_efficiency.log",
        conda:
            "../../envs/environment.yaml"
        params:
            shared=options(note=note(), points=compact(data_points())),
            runs=compact(family("data")),
        shell:
            "python -m pipeline.reporting.figures.data_efficiency --runs {params.runs:q} {params.shared}"
            " --output {output.pdf} > {log} 2>&1"


rule paper:
    input:
        regression=f"{R}/regression.json",
        dsc=f"{R}/dsc.csv",
        cost=f"{R}/cost.csv",
        comparison=f"{R}/tables/comparison.csv",
        components=f"{R}/tables/ablation_components.csv" if "components" in STUDY.ablations else [],
        reported="workflow/resources/reported.csv",
        code=code("pipeline.reporting.paper"),
    output:
        f"{R}/paper.md",
    log:
        f"{R}/logs/paper.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shared=figure_options(STUDY.main),
        components=lambda wildcards, input: options(components=input.components or None),
        figures=compact(figures()),
        tables=compact([*tables(), "regression", "data_audit"]),
    shell:
        "python -m pipeline.reporting.paper --regression {input.regression} --dsc {input.dsc} --cost {input.cost}"
        " --reported {input.reported} --comparison {input.comparison} {params.components}"
        " --figures {params.figures:q} --tables {params.tables:q} {params.shared} --output {output} > {log} 2>&1"


# A browser shows Markdown as it is typed: what the report has of tables and texts are pages made of it.
rule page:
    input:
        page_images,
        markdown=f"{R}/{{page}}.md",
        caption=page_caption,
        code=code("pipeline.reporting.page"),
    output:
        report(
            f"{R}/pages/{{page}}.html",
            caption="../report/page.rst",
            category=page_category,
            subcategory=page_subcategory,
            labels=page_labels,
        ),
    log:
        f"{R}/logs/pages/{{page}}.log",
    wildcard_constraints:
        page="|".join([*pages(), *pages_on_request()]),
    conda:
        "../../envs/environment.yaml"
    shell:
        "python -m pipeline.reporting.page --markdown {input.markdown} --output {output} > {log} 2>&1"
