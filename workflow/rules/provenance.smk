"""The record of a build: its sources, code, versions, machine and times."""


# Takes all that the study builds, so that it runs last, and again when anything of that was made again. The benchmark
# files, written by Snakemake itself, are those of the jobs behind these inputs.
rule record_provenance:
    input:
        figures=lambda wildcards: targets(wildcards.study),
        neuron=lambda wildcards: neuron_targets(wildcards.study),
        associations=lambda wildcards: association_targets(wildcards.study),
        layers=lambda wildcards: whole_model_targets(wildcards.study),
        origin=sources,
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
        "../../envs/an_neuron.yaml"
    resources:
        gpu=1,
        device=DEVICE,
        mem_mb=each_attempt(2000),
        runtime=model_minutes("record_provenance"),
    params:
        study=lambda wildcards: study_of(wildcards),
        shared={key: config[key] for key in ("device", "formats", "shards")},
        benchmarks="results/{study}/benchmarks",
    script:
        "../scripts/record_provenance.py"
