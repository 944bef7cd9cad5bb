"""The comparison of a study's numbers with published ones."""

TARGETS["published"] = lambda study: (
    [f"{study.results}/published.{ext}" for ext in ("csv", "html")]
    if study.published
    else []
)
CIRCUIT_TARGETS["published_circuit"] = lambda study: (
    [f"{study.results}/circuit/published.csv"] if study.published else []
)


rule compare_published:
    input:
        unpack(what_findings_tell),
        published=of_study("published"),
        predictions="results/{study}/prompts/predictions.h5",
        lens="results/{study}/logit_lens.h5",
        resid_pre="results/{study}/patching/resid_pre.h5",
        attn_out="results/{study}/patching/attn_out.h5",
        mlp_out="results/{study}/patching/mlp_out.h5",
        neurons=sweep_of_neuron,
        neuron=of_neuron("results/{study}/congruence/neuron_{layer}.{index}.h5"),
        top_neurons="results/{study}/congruence/top_neurons.h5",
        activations="results/{study}/activations/associations.h5",
        association=of_neuron("results/{study}/activations/{association}.h5"),
        drivers="results/{study}/drivers/heads_z.h5",
        ablated="results/{study}/ablation/prompts.h5",
        library=behind("compare_published"),
    output:
        csv="results/{study}/published.csv",
        html=report(
            "results/{study}/published.html",
            caption="../report/published.rst",
            category="Numbers",
            labels={"table": "published against measured"},
        ),
    log:
        "results/{study}/logs/compare_published.log",
    benchmark:
        "results/{study}/benchmarks/compare_published.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    script:
        "../scripts/compare_published.py"


rule compare_circuit:
    input:
        published=of_study("published"),
        circuit="results/{study}/circuit/circuit.h5",
        curves="results/{study}/circuit/curves.h5",
        areas="results/{study}/circuit/areas.csv",
        driving_neurons="results/{study}/drivers/neurons.h5",
        library=behind("compare_circuit"),
    output:
        "results/{study}/circuit/published.csv",
    log:
        "results/{study}/logs/compare_circuit.log",
    benchmark:
        "results/{study}/benchmarks/compare_circuit.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    script:
        "../scripts/compare_circuit.py"
