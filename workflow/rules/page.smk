"""The finding as one page, the circuit as another, and plotly.js, which the pages of all studies load."""

PLOTLY = "results/assets/plotly.min.js"
SHOWN = {
    "finding": "finding.txt",
    "tokens": "prompts/tokens.h5",
    "predictions": "prompts/predictions.h5",
    **{site: f"patching/{site}.h5" for site in SITES.values()},
    **{site: f"patching/heads/{site}.h5" for site in HEAD_SITES},
    **{f"driving_{site}": f"drivers/{site}.h5" for site in SITES.values()},
    "driving_z": "drivers/heads_z.h5",
    "map": "patching/neurons/map.h5",
    "attribution": "patching/neurons/attribution.h5",
    "associations": "associations.json",
}
"""What the page of every study shows, by the names by which its sections ask for it."""
SHOWN_OF_CIRCUIT = {
    "circuit": "circuit/circuit.h5",
    "graph": "circuit/circuit.json",
    "driving_neurons": "drivers/neurons.h5",
    "dose_response": "circuit/dose_response.h5",
    "curves": "circuit/curves.h5",
    "areas": "circuit/areas.csv",
    "ablation": "ablation/summary.csv",
}
"""The same of the page of the circuit."""
TARGETS["page"] = lambda study: [f"{study.results}/index.html", PLOTLY]
CIRCUIT_TARGETS["circuit_page"] = lambda study: [f"{study.results}/circuit.html"]


rule write_plotly:
    input:
        library=behind("write_plotly"),
    output:
        PLOTLY,
    log:
        "results/logs/write_plotly.log",
    benchmark:
        "results/benchmarks/write_plotly.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    script:
        "../scripts/write_plotly.py"


rule write_page:
    input:
        unpack(chosen_neuron),
        unpack(what_findings_tell),
        unpack(what_pages_show),
        **{name: f"results/{{study}}/{file}" for name, file in SHOWN.items()},
        sweep=lambda wildcards: neuron_sweeps(study_of(wildcards)),
        weights=of_neuron("results/{study}/congruence/neuron_{layer}.{index}.h5"),
        recorded=association_tables,
        plotly=PLOTLY,
        templates=templates_of("page"),
        library=behind("write_page"),
    output:
        "results/{study}/index.html",
    log:
        "results/{study}/logs/write_page.log",
    benchmark:
        "results/{study}/benchmarks/write_page.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        neuron=lambda wildcards: study_of(wildcards).neuron,
        formats=FORMATS,
    script:
        "../scripts/write_page.py"


# A page of its own, so that the finding's page is the same whether the circuit is built or not.
rule write_circuit_page:
    input:
        **{name: f"results/{{study}}/{file}" for name, file in SHOWN_OF_CIRCUIT.items()},
        plotly=PLOTLY,
        templates=templates_of("page"),
        library=behind("write_circuit_page"),
    output:
        "results/{study}/circuit.html",
    log:
        "results/{study}/logs/write_circuit_page.log",
    benchmark:
        "results/{study}/benchmarks/write_circuit_page.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        formats=FORMATS,
    script:
        "../scripts/write_circuit_page.py"
