"""The circuit around the studied neuron, and what it takes: with `snakemake NAME_circuit`."""

CIRCUIT_TARGETS["circuit"] = lambda study: [
    f"{study.results}/{name}"
    for name in (
        "drivers/neurons.h5",
        "circuit/dose_response.h5",
        "circuit/circuit.h5",
        "circuit/circuit.json",
        "circuit/curves.h5",
        "circuit/curves.csv",
        "circuit/areas.csv",
        "circuit/methods.h5",
        "circuit/methods.csv",
    )
]


# Which neurons below drive the studied one: attribution ranks them, and the first ones are patched.
rule patch_driving_neurons:
    input:
        unpack(chosen_neuron),
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("patch_driving_neurons"),
    output:
        "results/{study}/drivers/neurons.h5",
    log:
        "results/{study}/logs/patch_driving_neurons.log",
    benchmark:
        "results/{study}/benchmarks/patch_driving_neurons.tsv"
    conda:
        ENVIRONMENT
    threads: long_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("patching"),
        runtime=model_minutes(),
    params:
        folder=of_study("model_folder"),
        neuron=lambda wildcards: study_of(wildcards).neuron,
        attributes=of_study("attributes"),
    script:
        "../scripts/patch_driving_neurons.py"


rule measure_dose_response:
    input:
        unpack(chosen_neuron),
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("measure_dose_response"),
    output:
        "results/{study}/circuit/dose_response.h5",
    log:
        "results/{study}/logs/measure_dose_response.log",
    benchmark:
        "results/{study}/benchmarks/measure_dose_response.tsv"
    conda:
        ENVIRONMENT
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("patching"),
        runtime=model_minutes(),
    params:
        folder=of_study("model_folder"),
        neuron=lambda wildcards: study_of(wildcards).neuron,
        attributes=of_study("attributes"),
    script:
        "../scripts/measure_dose_response.py"


rule trace_circuit:
    input:
        unpack(chosen_neuron),
        map="results/{study}/patching/neurons/map.h5",
        heads="results/{study}/patching/heads/z.h5",
        driving_neurons="results/{study}/drivers/neurons.h5",
        driving_heads="results/{study}/drivers/heads_z.h5",
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("trace_circuit"),
    output:
        h5="results/{study}/circuit/circuit.h5",
        json="results/{study}/circuit/circuit.json",
    log:
        "results/{study}/logs/trace_circuit.log",
    benchmark:
        "results/{study}/benchmarks/trace_circuit.tsv"
    conda:
        ENVIRONMENT
    threads: long_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("patching"),
        runtime=model_minutes(),
    params:
        folder=of_study("model_folder"),
        neuron=lambda wildcards: study_of(wildcards).neuron,
        attributes=of_study("attributes"),
    script:
        "../scripts/trace_circuit.py"


# What the best neurons and heads do together, by their number.
rule measure_curves:
    input:
        neurons="results/{study}/patching/neurons/attribution.h5",
        heads="results/{study}/patching/heads/z.h5",
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("measure_curves"),
    output:
        h5="results/{study}/circuit/curves.h5",
        csv="results/{study}/circuit/curves.csv",
        areas="results/{study}/circuit/areas.csv",
    log:
        "results/{study}/logs/measure_curves.log",
    benchmark:
        "results/{study}/benchmarks/measure_curves.tsv"
    conda:
        ENVIRONMENT
    threads: long_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("patching"),
        runtime=model_minutes(),
    params:
        folder=of_study("model_folder"),
        held_out=of_study("held_out"),
        attributes=of_study("attributes"),
    script:
        "../scripts/measure_curves.py"


# Ways to estimate patches from gradients, each held against the exact effects.
rule compare_methods:
    input:
        neurons="results/{study}/patching/neurons/attribution.h5",
        z="results/{study}/patching/heads/z.h5",
        v="results/{study}/patching/heads/v.h5",
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("compare_methods"),
    output:
        h5="results/{study}/circuit/methods.h5",
        csv="results/{study}/circuit/methods.csv",
    log:
        "results/{study}/logs/compare_methods.log",
    benchmark:
        "results/{study}/benchmarks/compare_methods.tsv"
    conda:
        ENVIRONMENT
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("patching"),
        runtime=model_minutes(sweep("patch_heads")),
    params:
        folder=of_study("model_folder"),
        attributes=of_study("attributes"),
    script:
        "../scripts/compare_methods.py"
