"""Activation patching: sites by layer and position, heads, neurons, and what is made of the neurons' sweeps."""


rule patch_sites:
    input:
        prompts="results/{study}/prompts/tokens.h5",
        model=model_files,
        library=behind("patch_sites"),
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
        mem_mb=model_mb("patching"),
        runtime=model_minutes("patch_sites"),
    params:
        folder=model_folder,
        attributes=attributes,
    script:
        "../scripts/patch_sites.py"


rule patch_neurons:
    input:
        prompts="results/{study}/prompts/tokens.h5",
        model=model_files,
        library=behind("patch_neurons"),
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
        mem_mb=model_mb("patching"),
        runtime=model_minutes("patch_neurons"),
    params:
        folder=model_folder,
        attributes=attributes,
    script:
        "../scripts/patch_neurons.py"


rule patch_heads:
    input:
        prompts="results/{study}/prompts/tokens.h5",
        model=model_files,
        library=behind("patch_heads"),
    output:
        "results/{study}/patching/heads/{head_site}.h5",
    log:
        "results/{study}/logs/patch_heads/{head_site}.log",
    benchmark:
        "results/{study}/benchmarks/patch_heads/{head_site}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("patching"),
        runtime=model_minutes("patch_heads"),
    params:
        folder=model_folder,
        attributes=attributes,
    script:
        "../scripts/patch_heads.py"


rule map_neurons:
    input:
        sweeps=neuron_tables,
        model=model_files,
        library=behind("map_neurons"),
    output:
        h5="results/{study}/patching/neurons/map.h5",
        csv="results/{study}/patching/neurons/top.csv",
    log:
        "results/{study}/logs/map_neurons.log",
    benchmark:
        "results/{study}/benchmarks/map_neurons.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("processing"),
        runtime=model_minutes("map_neurons"),
    params:
        folder=model_folder,
        processing=processing,
        attributes=attributes,
    script:
        "../scripts/map_neurons.py"


rule attribute_neurons:
    input:
        sweeps=neuron_tables,
        prompts="results/{study}/prompts/tokens.h5",
        model=model_files,
        library=behind("attribute_neurons"),
    output:
        "results/{study}/patching/neurons/attribution.h5",
    log:
        "results/{study}/logs/attribute_neurons.log",
    benchmark:
        "results/{study}/benchmarks/attribute_neurons.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("patching"),
        runtime=model_minutes("attribute_neurons"),
    params:
        folder=model_folder,
        attributes=attributes,
    script:
        "../scripts/attribute_neurons.py"


checkpoint select_neuron:
    input:
        sweeps=neuron_tables,
        library=behind("select_neuron"),
    output:
        "results/{study}/neuron.json",
    log:
        "results/{study}/logs/select_neuron.log",
    benchmark:
        "results/{study}/benchmarks/select_neuron.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(1000),
        runtime=each_attempt(10),
    script:
        "../scripts/select_neuron.py"
