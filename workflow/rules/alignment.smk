"""Alignment: what a neuron writes, and which neurons write each token."""


rule align_neuron:
    input:
        model=model_files,
        library=behind("align_neuron"),
    output:
        "results/{study}/alignment/neuron_{layer}_{index}.h5",
    log:
        "results/{study}/logs/align_neuron/{layer}_{index}.log",
    benchmark:
        "results/{study}/benchmarks/align_neuron/{layer}_{index}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("processing"),
        runtime=model_minutes("align_neuron"),
    params:
        folder=model_folder,
        processing=processing,
        attributes=attributes,
    script:
        "../scripts/align_neuron.py"


rule align_tokens:
    input:
        model=model_files,
        library=behind("align_tokens"),
    output:
        neurons="results/{study}/alignment/top_neurons.h5",
        tokens="results/{study}/alignment/top_tokens.h5",
    log:
        "results/{study}/logs/align_tokens.log",
    benchmark:
        "results/{study}/benchmarks/align_tokens.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("processing"),
        runtime=model_minutes("align_tokens"),
    params:
        folder=model_folder,
        processing=processing,
        attributes=attributes,
    script:
        "../scripts/align_tokens.py"
