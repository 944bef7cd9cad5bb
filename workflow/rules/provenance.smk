"""The record of a build: its sources, code, versions, machine and times."""


# Takes all that the study builds, so that it runs last, and again when anything of that was built again. The benchmark
# files, written by Snakemake itself, are those of the jobs behind these inputs.
rule record_provenance:
    input:
        **targets(),
        origin=of_study("sources"),
        library=behind("record_provenance"),
    output:
        json="results/{study}/provenance.json",
        html=report(
            "results/{study}/provenance.html",
            caption="../report/provenance.rst",
            category="Numbers",
            labels={"table": "provenance"},
        ),
    log:
        "results/{study}/logs/record_provenance.log",
    benchmark:
        "results/{study}/benchmarks/record_provenance.tsv"
    conda:
        ENVIRONMENT
    resources:
        gpu=1,
        device=DEVICE,
        runtime=model_minutes(),
    params:
        study=part(),
        shared={key: config[key] for key in ("device", "formats", "sweeps", "shards")},
        benchmarks="results/{study}/benchmarks",
    script:
        "../scripts/record_provenance.py"


# The last job of all: it reads every result that the target builds, and what was recorded of them.
rule sum_results:
    input:
        results=summed,
        library=behind("sum_results"),
    output:
        "results/{study}/{checksums}.sha256",
    log:
        "results/{study}/logs/sum_results/{checksums}.log",
    benchmark:
        "results/{study}/benchmarks/sum_results/{checksums}.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    script:
        "../scripts/sum_results.py"
