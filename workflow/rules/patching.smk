"""Activation patching: sites by layer and position, neurons of a layer, and the choice of the studied neuron."""


rule patch_sites:
    input:
        prompts="results/{study}/prompts/tokens.h5",
        model=model_files,
    output:
        "results/{study}/patching/{site}.h5",
    log:
        "results/{study}/logs/patch_sites/{site}.log",
    benchmark:
        "results/{study}/benchmarks/patch_sites/{site}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
    params:
        folder=model_folder,
        attributes=attributes,
    script:
        "../scripts/patch_sites.py"


rule patch_neurons:
    input:
        prompts="results/{study}/prompts/tokens.h5",
        model=model_files,
    output:
        "results/{study}/patching/neurons/layer_{layer}.h5",
    log:
        "results/{study}/logs/patch_neurons/layer_{layer}.log",
    benchmark:
        "results/{study}/benchmarks/patch_neurons/layer_{layer}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
    params:
        folder=model_folder,
        attributes=attributes,
    script:
        "../scripts/patch_neurons.py"


checkpoint select_neuron:
    input:
        neuron_tables,
    output:
        "results/{study}/neuron.json",
    log:
        "results/{study}/logs/select_neuron.log",
    benchmark:
        "results/{study}/benchmarks/select_neuron.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    script:
        "../scripts/select_neuron.py"
