"""The same token in several models: the neurons of all studies that are built, side by side. It builds no study."""

PUBLISHED_NEURON = os.path.relpath(
    WORKFLOW.parent / "resources" / "published" / "an_neuron.csv"
)
COMPARISON = "Several models"


rule compare_studies:
    input:
        studies=files_of_built_studies,
        published=PUBLISHED_NEURON,
        templates=templates_of("page"),
        library=behind("compare_studies"),
    output:
        **dict(zip(("csv", "seal"), sealed("results/comparison.csv"))),
        html=report(
            "results/index.html",
            caption="../report/compare_studies.rst",
            category=COMPARISON,
            labels={"table": "studies compared"},
        ),
    log:
        "results/logs/compare_studies.log",
    benchmark:
        "results/benchmarks/compare_studies.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    params:
        studies=list(STUDIES),
        built=studies_behind,
        formats=FORMATS,
    script:
        "../scripts/compare_studies.py"


rule plot_comparison:
    input:
        "results/comparison.csv",
        library=behind("plot_comparison"),
    output:
        figure_files("comparison_fig", "plot_comparison", COMPARISON, "results"),
    log:
        "results/logs/plot_comparison.log",
    benchmark:
        "results/benchmarks/plot_comparison.tsv"
    localrule: True
    conda:
        ENVIRONMENT
    script:
        "../scripts/plot_comparison.py"
