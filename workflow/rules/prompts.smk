"""Prompts: checked and tokenized, predicted, and read layer by layer through the logit lens."""

PROMPT_TABLES = ("tokens.h5", "predictions.h5", "predictions.csv")
TARGETS["prompts"] = lambda study: [
    f"{study.results}/checked.txt",
    *(f"{study.results}/prompts/{name}" for name in PROMPT_TABLES),
    f"{study.results}/logit_lens.h5",
]


# Runs before all else that needs the model's files, so that no model runs for a study that does not fit it.
rule check_study:
    input:
        model=of_study("model_files"),
        library=behind("check_study"),
    output:
        "results/{study}/checked.txt",
    log:
        "results/{study}/logs/check_study.log",
    benchmark:
        "results/{study}/benchmarks/check_study.tsv"
    priority: 100
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        device=DEVICE,
    params:
        folder=of_study("model_folder"),
        study=part(),
    script:
        "../scripts/check_study.py"


rule tokenize_prompts:
    input:
        model=of_study("model_files"),
        library=behind("tokenize_prompts"),
    output:
        "results/{study}/prompts/tokens.h5",
    log:
        "results/{study}/logs/tokenize_prompts.log",
    benchmark:
        "results/{study}/benchmarks/tokenize_prompts.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        folder=of_study("model_folder"),
        study=part("prompts", "answer", "foil"),
        attributes=of_study("attributes"),
    script:
        "../scripts/tokenize_prompts.py"


rule predict_prompts:
    input:
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("predict_prompts"),
    output:
        h5="results/{study}/prompts/predictions.h5",
        csv="results/{study}/prompts/predictions.csv",
    log:
        "results/{study}/logs/predict_prompts.log",
    benchmark:
        "results/{study}/benchmarks/predict_prompts.tsv"
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
        study=part("further_prompts", "top_k"),
        attributes=of_study("attributes"),
    script:
        "../scripts/predict_prompts.py"


rule read_logit_lens:
    input:
        prompts="results/{study}/prompts/tokens.h5",
        model=of_study("model_files"),
        library=behind("read_logit_lens"),
    output:
        "results/{study}/logit_lens.h5",
    log:
        "results/{study}/logs/read_logit_lens.log",
    benchmark:
        "results/{study}/benchmarks/read_logit_lens.tsv"
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
        "../scripts/read_logit_lens.py"
