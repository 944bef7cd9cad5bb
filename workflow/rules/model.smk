"""The model: fetched from the hub, or a local folder used as it is."""


checkpoint fetch_model:
    input:
        library=behind("fetch_model"),
    output:
        "downloads/models/{model}/fetched.json",
    log:
        "downloads/logs/fetch_model/{model}.log",
    benchmark:
        "downloads/benchmarks/fetch_model/{model}.tsv"
    priority: 100
    conda:
        "../../envs/an_neuron.yaml"
    resources:
        network=1,
        mem_mb=each_attempt(2000),
        runtime=each_attempt(240),
    params:
        source=lambda wildcards: hub_source(wildcards.model),
    script:
        "../scripts/fetch_model.py"
