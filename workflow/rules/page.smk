"""The finding as one page, and plotly.js, which the pages of all studies load."""

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
TARGETS["page"] = lambda study: [f"{study.results}/index.html", PLOTLY]


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
