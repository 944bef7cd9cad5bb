"""Figures: one table each, in every format of the configuration; none runs a model. `figure_list.smk` lists them."""

for drawer, _, figure, _, wildcards_of in FIGURES:
    TARGETS[drawer] = figure_targets(figure, wildcards_of)

for drawer, _, figure, _, wildcards_of in CIRCUIT_FIGURES:
    CIRCUIT_TARGETS[drawer] = figure_targets(figure, wildcards_of)


for drawer, table, figure, category, wildcards_of in FIGURES + CIRCUIT_FIGURES:
    job_name = named_by_wildcards(drawer, figure)

    rule:
        name:
            drawer
        input:
            table,
            library=behind(drawer),
        output:
            figure_files(figure, drawer, category),
        log:
            f"results/{{study}}/logs/{job_name}.log",
        benchmark:
            f"results/{{study}}/benchmarks/{job_name}.tsv"
        localrule: True
        conda:
            ENVIRONMENT
        params:
            script=drawer,
            look=of_study("look"),
        script:
            "../scripts/{params.script}.py"


for drawer, figures, _, wildcards_of in SETS:
    TARGETS[drawer] = all_targets([figure for _, figure, _ in figures], wildcards_of)

for drawer, figures, _, wildcards_of in CIRCUIT_SETS:
    CIRCUIT_TARGETS[drawer] = all_targets(
        [figure for _, figure, _ in figures], wildcards_of
    )


for drawer, figures, category, wildcards_of in SETS + CIRCUIT_SETS:
    job_name = named_by_wildcards(drawer, figures[0][1])

    rule:
        name:
            drawer
        input:
            tables=[table for table, _, _ in figures],
            library=behind(drawer),
        output:
            [
                path
                for _, figure, caption in figures
                for path in figure_files(figure, caption, category)
            ],
        log:
            f"results/{{study}}/logs/{job_name}.log",
        benchmark:
            f"results/{{study}}/benchmarks/{job_name}.tsv"
        localrule: True
        conda:
            ENVIRONMENT
        params:
            script=drawer,
            look=of_study("look"),
        script:
            "../scripts/{params.script}.py"


TARGETS["plot_patched_neurons"] = figure_targets("patched_neuron_fig", once)


rule plot_patched_neurons:
    input:
        sweep=sweep_of_neuron,
        library=behind("plot_patched_neurons"),
    output:
        figure_files("patched_neuron_fig", "plot_patched_neurons", ONE_NEURON),
    log:
        "results/{study}/logs/plot_patched_neurons.log",
    benchmark:
        "results/{study}/benchmarks/plot_patched_neurons.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        layer=lambda wildcards: neuron_of(study_of(wildcards))[0],
        look=of_study("look"),
    script:
        "../scripts/plot_patched_neurons.py"


TARGETS["plot_logit_activation"] = figure_targets(
    "{association}_logit_activation_fig", each_association
)


# Sorts what was kept of a whole corpus, so that on a cluster it is sent like the jobs that run the model.
rule plot_logit_activation:
    input:
        unpack(every_point),
        library=behind("plot_logit_activation"),
    output:
        figure_files(
            "{association}_logit_activation_fig", "plot_logit_activation", OVER_A_BOOK
        ),
    log:
        "results/{study}/logs/plot_logit_activation/{association}.log",
    benchmark:
        "results/{study}/benchmarks/plot_logit_activation/{association}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=table_mb(2500),
    params:
        look=of_study("look"),
    script:
        "../scripts/plot_logit_activation.py"
