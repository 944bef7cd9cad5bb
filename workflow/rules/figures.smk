"""Figures: one table each, in every format of the configuration; none runs a model."""


rule plot_logit_lens:
    input:
        "results/{study}/logit_lens.h5",
        library=behind("plot_logit_lens"),
    output:
        figure_outputs("logit_lens_fig", "logit_lens", "Discovering the neuron"),
    log:
        "results/{study}/logs/plot_logit_lens.log",
    benchmark:
        "results/{study}/benchmarks/plot_logit_lens.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(1500),
        runtime=each_attempt(10),
    script:
        "../scripts/plot_logit_lens.py"


rule plot_patched_site:
    input:
        lambda wildcards: f"results/{wildcards.study}/patching/{SITES[wildcards.short]}.h5",
        library=behind("plot_patched_site"),
    output:
        figure_outputs("patched_{short}_fig", "patched_site", "Discovering the neuron"),
    log:
        "results/{study}/logs/plot_patched_site/{short}.log",
    benchmark:
        "results/{study}/benchmarks/plot_patched_site/{short}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(1500),
        runtime=each_attempt(10),
    script:
        "../scripts/plot_patched_site.py"


rule plot_patched_neurons:
    input:
        of_neuron("results/{study}/patching/neurons/layer_{layer}.h5"),
        library=behind("plot_patched_neurons"),
    output:
        figure_outputs("patched_neuron_fig", "patched_neurons", "Finding 1: one neuron"),
    log:
        "results/{study}/logs/plot_patched_neurons.log",
    benchmark:
        "results/{study}/benchmarks/plot_patched_neurons.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(1500),
        runtime=each_attempt(10),
    script:
        "../scripts/plot_patched_neurons.py"


rule plot_logit_activation:
    input:
        unpack(activation_figure_input),
        library=behind("plot_logit_activation"),
    output:
        figure_outputs(
            "{association}_logit_activation_fig",
            "logit_activation",
            "Finding 2: the neuron over a book",
        ),
    log:
        "results/{study}/logs/plot_logit_activation/{association}.log",
    benchmark:
        "results/{study}/benchmarks/plot_logit_activation/{association}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=table_mb(2500),
        runtime=each_attempt(15),
    script:
        "../scripts/plot_logit_activation.py"


rule plot_top_prediction:
    input:
        "results/{study}/activations/{association}.h5",
        library=behind("plot_top_prediction"),
    output:
        figure_outputs(
            "{association}_top_prediction_fig",
            "top_prediction",
            "Finding 2: the neuron over a book",
        ),
    log:
        "results/{study}/logs/plot_top_prediction/{association}.log",
    benchmark:
        "results/{study}/benchmarks/plot_top_prediction/{association}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(1500),
        runtime=each_attempt(10),
    script:
        "../scripts/plot_top_prediction.py"


rule plot_precision_recall:
    input:
        "results/{study}/activations/{association}.h5",
        library=behind("plot_precision_recall"),
    output:
        figure_outputs(
            "{association}_precision_recall_fig",
            "precision_recall",
            "Finding 2: the neuron over a book",
        ),
    log:
        "results/{study}/logs/plot_precision_recall/{association}.log",
    benchmark:
        "results/{study}/benchmarks/plot_precision_recall/{association}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(1500),
        runtime=each_attempt(10),
    script:
        "../scripts/plot_precision_recall.py"


rule plot_neuron_dot_vocab:
    input:
        of_neuron("results/{study}/congruence/neuron_{layer}.{index}.h5"),
        library=behind("plot_neuron_dot_vocab"),
    output:
        figure_outputs(
            "{association}_neuron_dot_vocab_fig",
            "neuron_dot_vocab",
            "Finding 2: the neuron over a book",
        ),
    log:
        "results/{study}/logs/plot_neuron_dot_vocab/{association}.log",
    benchmark:
        "results/{study}/benchmarks/plot_neuron_dot_vocab/{association}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(2500),
        runtime=each_attempt(10),
    script:
        "../scripts/plot_neuron_dot_vocab.py"


rule plot_most_similar_neurons:
    input:
        "results/{study}/congruence/top_neurons.h5",
        library=behind("plot_most_similar_neurons"),
    output:
        figure_outputs(
            "most_similar_neurons_fig",
            "most_similar_neurons",
            "Finding 3: neurons of other tokens",
        ),
    log:
        "results/{study}/logs/plot_most_similar_neurons.log",
    benchmark:
        "results/{study}/benchmarks/plot_most_similar_neurons.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(2500),
        runtime=each_attempt(10),
    script:
        "../scripts/plot_most_similar_neurons.py"


rule plot_patched_heads:
    input:
        "results/{study}/patching/heads/{head_site}.h5",
        library=behind("plot_patched_heads"),
    output:
        figure_outputs(
            "patched_heads_{head_site}_fig", "patched_heads", "Discovering the neuron"
        ),
    log:
        "results/{study}/logs/plot_patched_heads/{head_site}.log",
    benchmark:
        "results/{study}/benchmarks/plot_patched_heads/{head_site}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(1500),
        runtime=each_attempt(10),
    script:
        "../scripts/plot_patched_heads.py"


rule plot_neuron_map:
    input:
        "results/{study}/patching/neurons/map.h5",
        library=behind("plot_neuron_map"),
    output:
        figure_outputs("neuron_map_fig", "neuron_map", "Finding 1: one neuron"),
    log:
        "results/{study}/logs/plot_neuron_map.log",
    benchmark:
        "results/{study}/benchmarks/plot_neuron_map.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(2500),
        runtime=each_attempt(10),
    script:
        "../scripts/plot_neuron_map.py"


rule plot_attribution:
    input:
        "results/{study}/patching/neurons/attribution.h5",
        library=behind("plot_attribution"),
    output:
        figure_outputs("attribution_fig", "attribution", "Finding 1: one neuron"),
    log:
        "results/{study}/logs/plot_attribution.log",
    benchmark:
        "results/{study}/benchmarks/plot_attribution.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(2500),
        runtime=each_attempt(10),
    script:
        "../scripts/plot_attribution.py"
