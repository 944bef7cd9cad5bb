"""The list of figures: for each the rule and script that draw it, the table that it draws, its file's name, its part of the
report, and for which wildcards a study builds it. Its caption is named like the rule.
"""

import re

DISCOVERY = "Discovering the neuron"
ONE_NEURON = "Finding 1: one neuron"
DRIVERS = "What drives the neuron"
OVER_A_BOOK = "Finding 2: the neuron over a book"
OTHER_TOKENS = "Finding 3: neurons of other tokens"


def once(study):
    return [{}]


def each_site(study):
    return [{"short": short} for short in SITES]


def each_head_site(study):
    return [{"head_site": site} for site in HEAD_SITES]


def with_prompt_set(study):
    return [{}] if study.prompt_set else []


def studied(study):
    return [{"association": study.studied_association(*neuron_of(study))}]


def each_association(study):
    return [{"association": name} for name in associations_of(study)]


def of_every_value(study):
    """Return one set of wildcards where the corpus pass keeps every value, and none where a summary."""
    return [{}] if study.corpus.keep == "all" else []


def site_sweep(wildcards):
    return f"results/{wildcards.study}/patching/{SITES[wildcards.short]}.h5"


def driving_site(wildcards):
    return f"results/{wildcards.study}/drivers/{SITES[wildcards.short]}.h5"


ASSOCIATION = "results/{study}/activations/{association}.h5"
CHOICE = "results/{study}/activations/choice.h5"
FIGURES = [
    (
        "plot_logit_lens",
        "results/{study}/logit_lens.h5",
        "logit_lens_fig",
        DISCOVERY,
        once,
    ),
    ("plot_patched_site", site_sweep, "patched_{short}_fig", DISCOVERY, each_site),
    (
        "plot_patched_heads",
        "results/{study}/patching/heads/{head_site}.h5",
        "patched_heads_{head_site}_fig",
        DISCOVERY,
        each_head_site,
    ),
    (
        "plot_neuron_map",
        "results/{study}/patching/neurons/map.h5",
        "neuron_map_fig",
        ONE_NEURON,
        once,
    ),
    (
        "plot_prompt_set",
        "results/{study}/patching/prompt_set.h5",
        "prompt_set_fig",
        ONE_NEURON,
        with_prompt_set,
    ),
    (
        "plot_attribution",
        "results/{study}/patching/neurons/attribution.h5",
        "attribution_fig",
        ONE_NEURON,
        once,
    ),
    ("plot_driving_site", driving_site, "driving_{short}_fig", DRIVERS, each_site),
    (
        "plot_driving_heads",
        "results/{study}/drivers/heads_z.h5",
        "driving_heads_fig",
        DRIVERS,
        once,
    ),
    (
        "plot_top_prediction",
        ASSOCIATION,
        "{association}_top_prediction_fig",
        OVER_A_BOOK,
        each_association,
    ),
    (
        "plot_precision_recall",
        ASSOCIATION,
        "{association}_precision_recall_fig",
        OVER_A_BOOK,
        each_association,
    ),
    (
        "plot_choice_scatter",
        CHOICE,
        "choice_scatter_fig",
        OVER_A_BOOK,
        of_every_value,
    ),
    (
        "plot_choice_proportion",
        CHOICE,
        "choice_proportion_fig",
        OVER_A_BOOK,
        of_every_value,
    ),
    (
        "plot_neuron_dot_vocab",
        of_neuron("results/{study}/congruence/neuron_{layer}.{index}.h5"),
        "{association}_neuron_dot_vocab_fig",
        OVER_A_BOOK,
        studied,
    ),
    (
        "plot_most_similar_neurons",
        "results/{study}/congruence/top_neurons.h5",
        "most_similar_neurons_fig",
        OTHER_TOKENS,
        once,
    ),
]


def named_by_wildcards(rule, figure):
    """Return the place of a rule's log: its name, and below it the wildcards of its figure."""
    return os.path.join(rule, *re.findall(r"{\w+}", figure))


def figure_files(figure, rule, category, results="results/{study}"):
    """Return a figure's files; PNG and HTML stand in the report, each with the rule's caption."""
    caption = f"../report/{rule.removeprefix('plot_')}.rst"
    return [
        (
            path
            if ext == "svg"
            else report(
                path,
                caption=caption,
                category=category,
                labels={"figure": figure, "format": ext},
            )
        )
        for ext in FORMATS
        for path in [f"{results}/figures/{ext}/{figure}.{ext}"]
    ]


def figure_targets(figure, wildcards_of):
    """Return the function of a study that names a figure's files."""
    return lambda study: [
        f"{study.results}/figures/{ext}/{figure.format(**wildcards)}.{ext}"
        for wildcards in wildcards_of(study)
        for ext in FORMATS
    ]


def every_point(wildcards):
    """Return the tables of an association's points: all of them, or what a summary kept."""
    study = study_of(wildcards)
    folder = f"{study.results}/activations"
    if study.corpus.keep == "summary":
        return {"summary": f"{folder}/{wildcards.association}.h5"}
    shards = [shard.format(study=study.name) for shard in SHARDS]
    return {"gathered": f"{folder}/associations.h5", "shards": shards}
