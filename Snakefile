"""We Found An Neuron, as a workflow: which MLP neuron of a language model is behind a token?

snakemake --cores 1 --resources gpu=1    builds the published study of GPT-2 Large
snakemake --cores 2 orchard              builds the embedded study, without network or GPU
snakemake --cores 2 STUDY                builds a study of config.yaml
snakemake --cores 2 STUDY_circuit        builds it with its circuit and what its neuron does over the corpus
snakemake --cores 2 compare              lists the studies that are built, and compares their neurons
"""

from snakemake.utils import min_version, validate

min_version("9.9")


include: "workflow/rules/mistakes.smk"


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/choices.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/prompts.smk"
include: "workflow/rules/patching.smk"
include: "workflow/rules/congruence.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/associations.smk"
include: "workflow/rules/circuit.smk"
include: "workflow/rules/ablation.smk"
include: "workflow/rules/figure_list.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/published.smk"
include: "workflow/rules/finding.smk"
include: "workflow/rules/page.smk"
include: "workflow/rules/provenance.smk"
include: "workflow/rules/comparison.smk"


wildcard_constraints:
    study="|".join(STUDIES),
    site="|".join(SITES.values()),
    short="|".join(SITES),
    head_site="|".join(HEAD_SITES),
    layers="[0-9]+-[0-9]+",
    layer="[0-9]+",
    part="[0-9]+-of-[0-9]+",
    checksums=f"{SUMS}|{SUMS_OF_CIRCUIT}",
    index="[0-9]+",
    association=r"token_\w+_neuron_[0-9]+\.[0-9]+",


rule all:
    default_target: True
    input:
        **targets(DEFAULT_STUDY),
        provenance=provenance_of(DEFAULT_STUDY),
        checksums=sums_of(DEFAULT_STUDY),


for name in STUDIES:

    rule:
        name:
            name
        input:
            **targets(name),
            provenance=provenance_of(name),
            checksums=sums_of(name),

    rule:
        name:
            f"{name}_circuit"
        input:
            **targets(name),
            **targets(name, CIRCUIT_TARGETS),
            provenance=provenance_of(name),
            checksums=sums_of(name, circuit=True),


rule compare:
    input:
        sealed("results/comparison.csv"),
        "results/index.html",
        [f"results/figures/{ext}/comparison_fig.{ext}" for ext in FORMATS],


# Never runs: a target that is neither a rule nor a file ends here, with a sentence.
rule unknown_study:
    input:
        no_such_study,
    output:
        f"{{unknown,{no_file_of_studies()}}}",


onstart:
    check_folders()
    check_browser()
