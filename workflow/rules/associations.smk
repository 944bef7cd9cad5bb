"""The studied associations of a token and a neuron: chosen, recorded over the corpus in one pass, and described."""


scattergather:
    corpus=config["shards"],


SHARDS = gather.corpus("results/{{study}}/activations/shards/{scatteritem}.h5")


ASSOCIATION_FILES = (
    "activations/{}.h5",
    "activations/{}_predictions.csv",
    "examples/{}.csv",
    "examples/{}.html",
)
TARGETS["shards"] = lambda study: [
    *(shard.format(study=study.name) for shard in SHARDS),
    f"{study.results}/activations/associations.h5",
]
TARGETS["neurons"] = lambda study: (
    [f"{study.results}/activations/neurons.h5"] if study.watches_neurons else []
)
TARGETS["choice"] = lambda study: [f"{study.results}/activations/choice.h5"]
TARGETS["candidates"] = lambda study: (
    [f"{study.results}/activations/candidates.{ext}" for ext in ("h5", "csv")]
    if study.top
    else []
)
TARGETS["associations"] = lambda study: [
    *sealed(f"{study.results}/associations.json"),
    *(f"{study.results}/associations.{ext}" for ext in ("csv", "html")),
    *(
        f"{study.results}/{file.format(name)}"
        for name in associations_of(study)
        for file in ASSOCIATION_FILES
    ),
]


# A look at some rows of the corpus, so that no association is recorded over all of it that it cannot show.
rule check_candidates:
    input:
        top_neurons="results/{study}/congruence/top_neurons.h5",
        top_tokens="results/{study}/congruence/top_tokens.h5",
        tokens="results/{study}/corpus/tokens.h5",
        parts=parts_of_tokens,
        model=of_study("model_files"),
        library=behind("check_candidates"),
    output:
        h5="results/{study}/activations/candidates.h5",
        csv="results/{study}/activations/candidates.csv",
    log:
        "results/{study}/logs/check_candidates.log",
    benchmark:
        "results/{study}/benchmarks/check_candidates.tsv"
    conda:
        ENVIRONMENT
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("corpus"),
        runtime=model_minutes(sampled_corpus),
    params:
        folder=of_study("model_folder"),
        number=of_study("top"),
        attributes=of_study("attributes"),
    script:
        "../scripts/check_candidates.py"


checkpoint select_associations:
    input:
        unpack(what_associations_need),
        model=of_study("model_files"),
        library=behind("select_associations"),
    output:
        sealed("results/{study}/associations.json"),
    log:
        "results/{study}/logs/select_associations.log",
    benchmark:
        "results/{study}/benchmarks/select_associations.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        folder=of_study("model_folder"),
        study=of_study("choice"),
    script:
        "../scripts/select_associations.py"


rule cache_activations:
    input:
        associations="results/{study}/associations.json",
        tokens="results/{study}/corpus/tokens.h5",
        parts=parts_of_tokens,
        model=of_study("model_files"),
        library=behind("cache_activations"),
    output:
        "results/{study}/activations/shards/{scatteritem}.h5",
    log:
        "results/{study}/logs/cache_activations/{scatteritem}.log",
    benchmark:
        "results/{study}/benchmarks/cache_activations/{scatteritem}.tsv"
    priority: 50
    conda:
        ENVIRONMENT
    threads: long_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=estimated(pass_mb),
        runtime=model_minutes(one_shard),
    params:
        folder=of_study("model_folder"),
        options=of_study("corpus_options"),
        neurons=of_study("watched_neurons"),
        foil=of_study("foil"),
        attributes=of_study("attributes"),
    script:
        "../scripts/cache_activations.py"


rule gather_activations:
    input:
        shards=SHARDS,
        tokens="results/{study}/corpus/tokens.h5",
        parts=parts_of_tokens,
        model=of_study("model_files"),
        library=behind("gather_activations"),
    output:
        "results/{study}/activations/associations.h5",
    log:
        "results/{study}/logs/gather_activations.log",
    benchmark:
        "results/{study}/benchmarks/gather_activations.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        folder=of_study("model_folder"),
        attributes=of_study("attributes"),
    script:
        "../scripts/gather_activations.py"


# Only of a pass that watches every neuron of some layers.
rule gather_neurons:
    input:
        shards=SHARDS,
        library=behind("gather_neurons"),
    output:
        "results/{study}/activations/neurons.h5",
    log:
        "results/{study}/logs/gather_neurons.log",
    benchmark:
        "results/{study}/benchmarks/gather_neurons.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=estimated(watched_mb),
    params:
        attributes=of_study("attributes"),
    script:
        "../scripts/gather_neurons.py"


rule describe_association:
    input:
        gathered="results/{study}/activations/associations.h5",
        shards=SHARDS,
        tokens="results/{study}/corpus/tokens.h5",
        parts=parts_of_tokens,
        model=of_study("model_files"),
        library=behind("describe_association"),
    output:
        table="results/{study}/activations/{association}.h5",
        predictions="results/{study}/activations/{association}_predictions.csv",
    log:
        "results/{study}/logs/describe_association/{association}.log",
    benchmark:
        "results/{study}/benchmarks/describe_association/{association}.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=table_mb(1500),
    params:
        folder=of_study("model_folder"),
        attributes=of_study("attributes"),
    script:
        "../scripts/describe_association.py"


rule describe_choice:
    input:
        gathered="results/{study}/activations/associations.h5",
        shards=SHARDS,
        tokens="results/{study}/corpus/tokens.h5",
        parts=parts_of_tokens,
        library=behind("describe_choice"),
    output:
        "results/{study}/activations/choice.h5",
    log:
        "results/{study}/logs/describe_choice.log",
    benchmark:
        "results/{study}/benchmarks/describe_choice.tsv"
    conda:
        ENVIRONMENT
    resources:
        mem_mb=table_mb(1500),
    params:
        attributes=of_study("attributes"),
    script:
        "../scripts/describe_choice.py"


rule list_associations:
    input:
        unpack(candidates_of),
        associations="results/{study}/associations.json",
        tables=association_tables,
        library=behind("list_associations"),
    output:
        csv="results/{study}/associations.csv",
        html=report(
            "results/{study}/associations.html",
            caption="../report/associations.rst",
            category="Finding 2: the neuron over a book",
            labels={"figure": "all associations", "format": "table"},
        ),
    log:
        "results/{study}/logs/list_associations.log",
    benchmark:
        "results/{study}/benchmarks/list_associations.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    script:
        "../scripts/list_associations.py"


rule list_examples:
    input:
        "results/{study}/activations/{association}.h5",
        library=behind("list_examples"),
    output:
        csv="results/{study}/examples/{association}.csv",
        html=report(
            "results/{study}/examples/{association}.html",
            caption="../report/examples.rst",
            category="Finding 2: the neuron over a book",
            labels={"figure": "{association}_examples", "format": "table"},
        ),
    log:
        "results/{study}/logs/list_examples/{association}.log",
    benchmark:
        "results/{study}/benchmarks/list_examples/{association}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    script:
        "../scripts/list_examples.py"
