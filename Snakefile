"""We Found An Neuron, as a workflow: which MLP neuron of a language model is behind a token?

snakemake --cores 1 --resources gpu=1    builds the published study of GPT-2 Large
snakemake --cores 2 orchard              builds the embedded study, without network or GPU
snakemake --cores 2 STUDY                builds a study of config.yaml
"""

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version, validate

min_version("9.9")


configfile: "config.yaml"


include: "workflow/rules/common.smk"


STUDIES = config["studies"]
DEFAULT_STUDY = config.get("default_study", next(iter(STUDIES)))


wildcard_constraints:
    study="|".join(STUDIES),
    site="resid_pre|attn_out|mlp_out",
    layer="[0-9]+",
    index="[0-9]+",
    association=r"token_\w+_neuron_[0-9]+\.[0-9]+",
    short="|".join(SITES),
    head_site="|".join(HEAD_SITES),


# On a cluster these run where Snakemake does. The first two need the network, which nodes seldom have. The others take
# seconds: choices that much waits for, lists, and all figures but the one that sorts what was kept of a whole corpus.
localrules:
    fetch_model,
    download_book,
    check_study,
    tokenize_prompts,
    select_neuron,
    select_associations,
    gather_activations,
    list_examples,
    list_associations,
    compare_published,
    plot_attribution,
    plot_logit_lens,
    plot_most_similar_neurons,
    plot_neuron_dot_vocab,
    plot_neuron_map,
    plot_patched_heads,
    plot_patched_neurons,
    plot_patched_site,
    plot_precision_recall,
    plot_top_prediction,


rule all:
    input:
        lambda wildcards: targets(DEFAULT_STUDY),
        lambda wildcards: neuron_targets(DEFAULT_STUDY),
        lambda wildcards: association_targets(DEFAULT_STUDY),
        lambda wildcards: whole_model_targets(DEFAULT_STUDY),
        f"results/{DEFAULT_STUDY}/provenance.json",


for name in STUDIES:

    rule:
        name:
            name
        input:
            lambda wildcards, study=name: targets(study),
            lambda wildcards, study=name: neuron_targets(study),
            lambda wildcards, study=name: association_targets(study),
            lambda wildcards, study=name: whole_model_targets(study),
            f"results/{name}/provenance.json",


# Never runs: a target that is neither a rule nor a file ends here, with a sentence.
rule unknown_study:
    input:
        no_such_study,
    output:
        "{unknown,[A-Za-z_]+}",


include: "workflow/rules/model.smk"
include: "workflow/rules/prompts.smk"
include: "workflow/rules/patching.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/associations.smk"
include: "workflow/rules/congruence.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/published.smk"
include: "workflow/rules/provenance.smk"


onstart:
    check_browser()
