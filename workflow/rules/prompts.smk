"""Prompts: checked and tokenized, predicted, and read layer by layer through the logit lens."""


# Runs before all else that needs the model's files, so that no model runs for a study that does not fit it.
rule check_study:
    input:
        model=model_files,
        library=behind("check_study"),
    output:
        "results/{study}/checked.txt",
    log:
        "results/{study}/logs/check_study.log",
    benchmark:
        "results/{study}/benchmarks/check_study.tsv"
    priority: 100
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        device=DEVICE,
        mem_mb=each_attempt(1500),
        runtime=each_attempt(10),
    params:
        folder=model_folder,
        study=lambda wildcards: study_of(wildcards),
    script:
        "../scripts/check_study.py"


rule tokenize_prompts:
    input:
        model=model_files,
        library=behind("tokenize_prompts"),
    output:
        "results/{study}/prompts/tokens.h5",
    log:
        "results/{study}/logs/tokenize_prompts.log",
    benchmark:
        "results/{study}/benchmarks/tokenize_prompts.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(1000),
        runtime=each_attempt(10),
    params:
        folder=model_folder,
        study=part("prompts", "further_prompts", "answer", "foil"),
        attributes=attributes,
    script:
        "../scripts/tokenize_prompts.py"


rule predict_prompts:
    input:
        prompts="results/{study}/prompts/tokens.h5",
        model=model_files,
        library=behind("predict_prompts"),
    output:
        h5="results/{study}/prompts/predictions.h5",
        csv="results/{study}/prompts/predictions.csv",
    log:
        "results/{study}/logs/predict_prompts.log",
    benchmark:
        "results/{study}/benchmarks/predict_prompts.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("processing"),
        runtime=model_minutes("predict_prompts"),
    params:
        folder=model_folder,
        processing=processing,
        study=part("top_k"),
        attributes=attributes,
    script:
        "../scripts/predict_prompts.py"


rule read_logit_lens:
    input:
        prompts="results/{study}/prompts/tokens.h5",
        model=model_files,
        library=behind("read_logit_lens"),
    output:
        "results/{study}/logit_lens.h5",
    log:
        "results/{study}/logs/read_logit_lens.log",
    benchmark:
        "results/{study}/benchmarks/read_logit_lens.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("processing"),
        runtime=model_minutes("read_logit_lens"),
    params:
        folder=model_folder,
        processing=processing,
        attributes=attributes,
    script:
        "../scripts/read_logit_lens.py"
