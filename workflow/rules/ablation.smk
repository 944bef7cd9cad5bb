"""What the model predicts without its studied neuron, and, with `snakemake NAME_circuit`, loses over the corpus."""

TARGETS["ablated_prompts"] = lambda study: [
    f"{study.results}/ablation/prompts.{ext}" for ext in ("h5", "csv")
]

CIRCUIT_TARGETS["ablation"] = lambda study: [
    f"{study.results}/ablation/{name}" for name in ("losses.h5", "summary.csv")
]


rule ablate_prompts:
    input:
        unpack(chosen_neuron),
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("ablate_prompts"),
    output:
        h5="results/{study}/ablation/prompts.h5",
        csv="results/{study}/ablation/prompts.csv",
    log:
        "results/{study}/logs/ablate_prompts.log",
    benchmark:
        "results/{study}/benchmarks/ablate_prompts.tsv"
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
        processing=processing,
        study=part("further_prompts", "top_k"),
        neuron=lambda wildcards: study_of(wildcards).neuron,
        attributes=of_study("attributes"),
    script:
        "../scripts/ablate_prompts.py"


rule ablate_neurons:
    input:
        associations="results/{study}/associations.json",
        tokens="results/{study}/corpus/tokens.h5",
        parts=parts_of_tokens,
        gathered="results/{study}/activations/associations.h5",
        shards=SHARDS,
        model=of_study("model_files"),
        library=behind("ablate_neurons"),
    output:
        "results/{study}/ablation/losses.h5",
    log:
        "results/{study}/logs/ablate_neurons.log",
    benchmark:
        "results/{study}/benchmarks/ablate_neurons.tsv"
    conda:
        ENVIRONMENT
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("corpus"),
        runtime=model_minutes(ablated_corpus),
    params:
        folder=of_study("model_folder"),
        foil=of_study("foil"),
        attributes=of_study("attributes"),
    script:
        "../scripts/ablate_neurons.py"


rule summarize_ablation:
    input:
        "results/{study}/ablation/losses.h5",
        library=behind("summarize_ablation"),
    output:
        "results/{study}/ablation/summary.csv",
    log:
        "results/{study}/logs/summarize_ablation.log",
    benchmark:
        "results/{study}/benchmarks/summarize_ablation.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    script:
        "../scripts/summarize_ablation.py"
