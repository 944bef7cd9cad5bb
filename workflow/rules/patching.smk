"""Activation patching: sites by layer and position, heads, neurons, and what is made of the neurons' sweeps."""

PATCHING_TABLES = (
    *(f"{site}.h5" for site in SITES.values()),
    *(f"heads/{site}.h5" for site in HEAD_SITES),
    "neurons/map.h5",
    "neurons/top.csv",
    "neurons/attribution.h5",
)
PROMPT_SET_TABLES = ("prompt_set.h5", "prompt_set.csv", "prompt_set_neurons.csv")
TARGETS["patching"] = neuron_sweeps
TARGETS["screened"] = lambda study: (
    [f"{study.results}/patching/neurons/screened.h5"] if study.sweep.screen else []
)
TARGETS["patching_tables"] = lambda study: [
    f"{study.results}/patching/{name}" for name in PATCHING_TABLES
]
TARGETS["drivers"] = lambda study: [
    f"{study.results}/drivers/{name}.h5" for name in (*SITES.values(), "heads_z")
]
TARGETS["prompt_set"] = lambda study: [
    f"{study.results}/patching/{name}"
    for name in (PROMPT_SET_TABLES if study.prompt_set else ())
]
TARGETS["neuron"] = lambda study: (
    [] if study.neuron else sealed(f"{study.results}/neuron.json")
)


rule patch_sites:
    input:
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("patch_sites"),
    output:
        **{site: f"results/{{study}}/patching/{site}.h5" for site in SITES.values()},
    log:
        "results/{study}/logs/patch_sites.log",
    benchmark:
        "results/{study}/benchmarks/patch_sites.tsv"
    conda:
        ENVIRONMENT
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("patching"),
        runtime=model_minutes(sweep("patch_sites")),
    params:
        folder=of_study("model_folder"),
        attributes=of_study("attributes"),
    script:
        "../scripts/patch_sites.py"


rule patch_heads:
    input:
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("patch_heads"),
    output:
        **{site: f"results/{{study}}/patching/heads/{site}.h5" for site in HEAD_SITES},
    log:
        "results/{study}/logs/patch_heads.log",
    benchmark:
        "results/{study}/benchmarks/patch_heads.tsv"
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
        "../scripts/patch_heads.py"


# Which neurons are patched, where a study does not patch all: attribution ranks them, and others are drawn at random.
rule screen_neurons:
    input:
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("screen_neurons"),
    output:
        "results/{study}/patching/neurons/screened.h5",
    log:
        "results/{study}/logs/screen_neurons.log",
    benchmark:
        "results/{study}/benchmarks/screen_neurons.tsv"
    conda:
        ENVIRONMENT
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("patching"),
        runtime=model_minutes(sweep("screen_neurons")),
    params:
        folder=of_study("model_folder"),
        screen=of_study("sweep.screen"),
        sample=of_study("sweep.sample"),
        layers=lambda wildcards: [*(study_of(wildcards).layers or ())],
        neuron=lambda wildcards: study_of(wildcards).neuron,
        attributes=of_study("attributes"),
    script:
        "../scripts/screen_neurons.py"


rule patch_neurons:
    input:
        unpack(screened_neurons),
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("patch_neurons"),
    output:
        "results/{study}/patching/neurons/layers_{layers}.h5",
    log:
        "results/{study}/logs/patch_neurons/layers_{layers}.log",
    benchmark:
        "results/{study}/benchmarks/patch_neurons/layers_{layers}.tsv"
    priority: 50
    conda:
        ENVIRONMENT
    threads: long_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("patching"),
        runtime=model_minutes(sweep("patch_neurons")),
    params:
        folder=of_study("model_folder"),
        precision=lambda wildcards: study_of(wildcards).sweep.precision,
        attributes=of_study("attributes"),
    script:
        "../scripts/patch_neurons.py"


checkpoint select_neuron:
    input:
        sweeps=lambda wildcards: neuron_sweeps(study_of(wildcards)),
        library=behind("select_neuron"),
    output:
        sealed("results/{study}/neuron.json"),
    log:
        "results/{study}/logs/select_neuron.log",
    benchmark:
        "results/{study}/benchmarks/select_neuron.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    script:
        "../scripts/select_neuron.py"


# What drives the studied neuron: its activation is measured, instead of the logits.
rule patch_drivers:
    input:
        unpack(chosen_neuron),
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("patch_drivers"),
    output:
        **{site: f"results/{{study}}/drivers/{site}.h5" for site in SITES.values()},
        z="results/{study}/drivers/heads_z.h5",
    log:
        "results/{study}/logs/patch_drivers.log",
    benchmark:
        "results/{study}/benchmarks/patch_drivers.tsv"
    conda:
        ENVIRONMENT
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("patching"),
        runtime=model_minutes(sweep("patch_sites")),
    params:
        folder=of_study("model_folder"),
        sites=list(SITES.values()),
        head_sites=["z"],
        neuron=lambda wildcards: study_of(wildcards).neuron,
        attributes=of_study("attributes"),
    script:
        "../scripts/patch_drivers.py"


rule map_neurons:
    input:
        sweeps=lambda wildcards: neuron_sweeps(study_of(wildcards)),
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("map_neurons"),
    output:
        h5="results/{study}/patching/neurons/map.h5",
        csv="results/{study}/patching/neurons/top.csv",
    log:
        "results/{study}/logs/map_neurons.log",
    benchmark:
        "results/{study}/benchmarks/map_neurons.tsv"
    conda:
        ENVIRONMENT
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("processing"),
        runtime=model_minutes(),
    params:
        folder=of_study("model_folder"),
        processing=processing,
        attributes=of_study("attributes"),
    script:
        "../scripts/map_neurons.py"


rule attribute_neurons:
    input:
        sweeps=lambda wildcards: neuron_sweeps(study_of(wildcards)),
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("attribute_neurons"),
    output:
        "results/{study}/patching/neurons/attribution.h5",
    log:
        "results/{study}/logs/attribute_neurons.log",
    benchmark:
        "results/{study}/benchmarks/attribute_neurons.tsv"
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
        attributes=of_study("attributes"),
    script:
        "../scripts/attribute_neurons.py"


# The neurons that stand out in the main prompt pairs, in each prompt pair of a set.
rule patch_prompt_set:
    input:
        unpack(chosen_neuron),
        map="results/{study}/patching/neurons/map.h5",
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("patch_prompt_set"),
    output:
        h5="results/{study}/patching/prompt_set.h5",
        pairs="results/{study}/patching/prompt_set.csv",
        neurons="results/{study}/patching/prompt_set_neurons.csv",
    log:
        "results/{study}/logs/patch_prompt_set.log",
    benchmark:
        "results/{study}/benchmarks/patch_prompt_set.tsv"
    priority: 50
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
        prompt_set=lambda wildcards: study_of(wildcards).part("prompt_set")[
            "prompt_set"
        ],
        neuron=lambda wildcards: study_of(wildcards).neuron,
        attributes=of_study("attributes"),
    script:
        "../scripts/patch_prompt_set.py"
