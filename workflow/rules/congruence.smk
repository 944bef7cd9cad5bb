"""Congruence: what a neuron writes, and which neurons write each token."""

TARGETS["top_congruence"] = lambda study: [
    f"{study.results}/congruence/top_{what}.h5" for what in ("neurons", "tokens")
]
TARGETS["ranked_congruence"] = lambda study: [
    f"{study.results}/congruence/{name}.h5" for name in ("answer", "exclusive")
]
TARGETS["congruence"] = lambda study: [
    "{}/congruence/neuron_{}.{}.h5".format(study.results, *neuron_of(study))
]


rule measure_congruence:
    input:
        model=of_study("model_files"),
        library=behind("measure_congruence"),
    output:
        "results/{study}/congruence/neuron_{layer}.{index}.h5",
    log:
        "results/{study}/logs/measure_congruence/{layer}.{index}.log",
    benchmark:
        "results/{study}/benchmarks/measure_congruence/{layer}.{index}.tsv"
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
        "../scripts/measure_congruence.py"


rule rank_congruence:
    input:
        model=of_study("model_files"),
        library=behind("rank_congruence"),
    output:
        neurons="results/{study}/congruence/top_neurons.h5",
        tokens="results/{study}/congruence/top_tokens.h5",
    log:
        "results/{study}/logs/rank_congruence.log",
    benchmark:
        "results/{study}/benchmarks/rank_congruence.tsv"
    conda:
        ENVIRONMENT
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("processing"),
        runtime=model_minutes(
            lambda study, wildcards: cost.congruence_operations(study.known_shape())
        ),
    params:
        folder=of_study("model_folder"),
        processing=processing,
        attributes=of_study("attributes"),
    script:
        "../scripts/rank_congruence.py"


rule measure_answer_congruence:
    input:
        model=of_study("model_files"),
        library=behind("measure_answer_congruence"),
    output:
        "results/{study}/congruence/answer.h5",
    log:
        "results/{study}/logs/measure_answer_congruence.log",
    benchmark:
        "results/{study}/benchmarks/measure_answer_congruence.tsv"
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
        answer=of_study("answer"),
        attributes=of_study("attributes"),
    script:
        "../scripts/measure_answer_congruence.py"


rule rank_exclusive:
    input:
        neurons="results/{study}/congruence/top_neurons.h5",
        tokens="results/{study}/congruence/top_tokens.h5",
        library=behind("rank_exclusive"),
    output:
        "results/{study}/congruence/exclusive.h5",
    log:
        "results/{study}/logs/rank_exclusive.log",
    benchmark:
        "results/{study}/benchmarks/rank_exclusive.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        attributes=of_study("attributes"),
    script:
        "../scripts/rank_exclusive.py"
