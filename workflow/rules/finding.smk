"""The finding in sentences."""

TARGETS["finding"] = lambda study: [f"{study.results}/finding.txt"]


rule tell_finding:
    input:
        unpack(chosen_neuron),
        unpack(what_findings_tell),
        predictions="results/{study}/prompts/predictions.h5",
        map="results/{study}/patching/neurons/map.h5",
        heads="results/{study}/drivers/heads_z.h5",
        ablated="results/{study}/ablation/prompts.h5",
        association=of_neuron("results/{study}/activations/{association}.h5"),
        library=behind("tell_finding"),
    output:
        "results/{study}/finding.txt",
    log:
        "results/{study}/logs/tell_finding.log",
    benchmark:
        "results/{study}/benchmarks/tell_finding.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        neuron=lambda wildcards: study_of(wildcards).neuron,
    script:
        "../scripts/tell_finding.py"
