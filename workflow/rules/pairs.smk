"""The studied pairs of a token and a neuron: chosen, recorded over the corpus in one pass, and described."""


scattergather:
    corpus=config["shards"],


SHARDS = gather.corpus("results/{{study}}/activations/shards/{scatteritem}.h5")


checkpoint select_pairs:
    input:
        unpack(what_pairs_need),
        model=model_files,
        library=behind("select_pairs"),
    output:
        "results/{study}/pairs.json",
    log:
        "results/{study}/logs/select_pairs.log",
    benchmark:
        "results/{study}/benchmarks/select_pairs.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(1000),
        runtime=each_attempt(10),
    params:
        folder=model_folder,
        study=part("answer", "neuron", "pairs", "top"),
    script:
        "../scripts/select_pairs.py"


rule cache_activations:
    input:
        pairs="results/{study}/pairs.json",
        tokens="results/{study}/corpus/tokens.h5",
        model=model_files,
        library=behind("cache_activations"),
    output:
        "results/{study}/activations/shards/{scatteritem}.h5",
    log:
        "results/{study}/logs/cache_activations/{scatteritem}.log",
    benchmark:
        "results/{study}/benchmarks/cache_activations/{scatteritem}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    threads: model_threads
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=model_mb("corpus"),
        runtime=model_minutes("cache_activations"),
    params:
        folder=model_folder,
        options=corpus_pass,
        attributes=attributes,
    script:
        "../scripts/cache_activations.py"


rule gather_activations:
    input:
        shards=SHARDS,
        tokens="results/{study}/corpus/tokens.h5",
        model=model_files,
        library=behind("gather_activations"),
    output:
        "results/{study}/activations/pairs.h5",
    log:
        "results/{study}/logs/gather_activations.log",
    benchmark:
        "results/{study}/benchmarks/gather_activations.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(1500),
        runtime=each_attempt(15),
    params:
        folder=model_folder,
        attributes=attributes,
    script:
        "../scripts/gather_activations.py"


rule describe_pair:
    input:
        gathered="results/{study}/activations/pairs.h5",
        shards=SHARDS,
        tokens="results/{study}/corpus/tokens.h5",
        model=model_files,
        library=behind("describe_pair"),
    output:
        table="results/{study}/activations/{pair}.h5",
        predictions="results/{study}/activations/{pair}_predictions.csv",
    log:
        "results/{study}/logs/describe_pair/{pair}.log",
    benchmark:
        "results/{study}/benchmarks/describe_pair/{pair}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=table_mb(1500),
        runtime=each_attempt(15),
    params:
        folder=model_folder,
        attributes=attributes,
    script:
        "../scripts/describe_pair.py"


rule list_pairs:
    input:
        pairs="results/{study}/pairs.json",
        tables=pair_tables,
        library=behind("list_pairs"),
    output:
        csv="results/{study}/pairs.csv",
        html=report(
            "results/{study}/pairs.html",
            caption="../report/pairs.rst",
            category="Finding 2: the neuron over a book",
            labels={"figure": "all pairs", "format": "table"},
        ),
    log:
        "results/{study}/logs/list_pairs.log",
    benchmark:
        "results/{study}/benchmarks/list_pairs.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(1000),
        runtime=each_attempt(10),
    script:
        "../scripts/list_pairs.py"


rule list_contexts:
    input:
        "results/{study}/activations/{pair}.h5",
        library=behind("list_contexts"),
    output:
        csv="results/{study}/contexts/{pair}.csv",
        html=report(
            "results/{study}/contexts/{pair}.html",
            caption="../report/contexts.rst",
            category="Finding 2: the neuron over a book",
            labels={"figure": "{pair}_contexts", "format": "table"},
        ),
    log:
        "results/{study}/logs/list_contexts/{pair}.log",
    benchmark:
        "results/{study}/benchmarks/list_contexts/{pair}.tsv"
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        mem_mb=each_attempt(1000),
        runtime=each_attempt(10),
    script:
        "../scripts/list_contexts.py"
