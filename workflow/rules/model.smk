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
    localrule: True
    conda:
        ENVIRONMENT
    resources:
        network=1,
    params:
        source=hub_source,
    script:
        "../scripts/fetch_model.py"
