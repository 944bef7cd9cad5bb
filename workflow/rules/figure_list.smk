"""The list of figures: for each the rule and script that draw it, the table that it draws, its file's name, its part of the
report, and for which wildcards a study builds it. Its caption is named like the rule. Figures of a kind are `SETS`.
"""

import re

DISCOVERY = "Discovering the neuron"
ONE_NEURON = "Finding 1: one neuron"
DRIVERS = "What drives the neuron"
OVER_A_BOOK = "Finding 2: the neuron over a book"
OTHER_TOKENS = "Finding 3: neurons of other tokens"


def once(study):
    return [{}]


def with_prompt_set(study):
    return [{}] if study.prompt_set else []


def studied(study):
    return [{"association": study.studied_association(*neuron_of(study))}]


def of_watched_neurons(study):
    """Return the studied association where the corpus pass watches every neuron of some layers."""
    return studied(study) if study.watches_neurons else []


def each_association(study):
    return [{"association": name} for name in associations_of(study)]


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
    (
        "plot_answer_dot_neurons",
        [
            "results/{study}/congruence/answer.h5",
            of_neuron("results/{study}/congruence/neuron_{layer}.{index}.h5"),
        ],
        "answer_dot_neurons_fig",
        OVER_A_BOOK,
        once,
    ),
    (
        "plot_exclusive_congruence",
        "results/{study}/congruence/exclusive.h5",
        "exclusive_congruence_fig",
        OTHER_TOKENS,
        once,
    ),
    (
        "plot_top_predictions_together",
        association_tables,
        "top_predictions_together_fig",
        OTHER_TOKENS,
        once,
    ),
    (
        "plot_neuron_statistics",
        ["results/{study}/activations/neurons.h5", ASSOCIATION],
        "{association}_neuron_statistics_fig",
        OVER_A_BOOK,
        of_watched_neurons,
    ),
]
CIRCUIT_FIGURES = [
    (
        "plot_ablation",
        "results/{study}/ablation/losses.h5",
        "ablation_fig",
        OVER_A_BOOK,
        once,
    ),
    (
        "plot_methods",
        "results/{study}/circuit/methods.h5",
        "methods_fig",
        ONE_NEURON,
        once,
    ),
]
"""Those that only `snakemake NAME_circuit` builds, in the same form."""


SETS = [
    (
        "plot_patched_sites",
        [
            (
                f"results/{{study}}/patching/{site}.h5",
                f"patched_{short}_fig",
                "patched_site",
            )
            for short, site in SITES.items()
        ],
        DISCOVERY,
        once,
    ),
    (
        "plot_patched_heads",
        [
            (
                f"results/{{study}}/patching/heads/{site}.h5",
                f"patched_heads_{site}_fig",
                "patched_heads",
            )
            for site in HEAD_SITES
        ],
        DISCOVERY,
        once,
    ),
    (
        "plot_drivers",
        [
            *(
                (
                    f"results/{{study}}/drivers/{site}.h5",
                    f"driving_{short}_fig",
                    "driving_site",
                )
                for short, site in SITES.items()
            ),
            (
                "results/{study}/drivers/heads_z.h5",
                "driving_heads_fig",
                "driving_heads",
            ),
        ],
        DRIVERS,
        once,
    ),
    (
        "plot_predictor",
        [
            (ASSOCIATION, "{association}_top_prediction_fig", "top_prediction"),
            (ASSOCIATION, "{association}_precision_recall_fig", "precision_recall"),
        ],
        OVER_A_BOOK,
        each_association,
    ),
    (
        "plot_choice",
        [
            (CHOICE, "choice_scatter_fig", "choice_scatter"),
            (CHOICE, "choice_proportion_fig", "choice_proportion"),
        ],
        OVER_A_BOOK,
        once,
    ),
]
"""Figures of a kind, which one job draws in one browser: for each its table, its file's name and its caption."""
CIRCUIT_SETS = [
    (
        "plot_circuit",
        [
            ("results/{study}/circuit/circuit.h5", "circuit_fig", "circuit"),
            ("results/{study}/circuit/curves.h5", "recovery_curves_fig", "curves"),
            (
                "results/{study}/circuit/curves.h5",
                "faithfulness_curves_fig",
                "faithfulness",
            ),
            (
                "results/{study}/circuit/dose_response.h5",
                "dose_response_fig",
                "dose_response",
            ),
            (
                "results/{study}/drivers/neurons.h5",
                "driving_neurons_fig",
                "driving_neurons",
            ),
        ],
        DRIVERS,
        once,
    ),
]
"""Those that only `snakemake NAME_circuit` builds, in the same form."""


def named_by_wildcards(rule, figure):
    """Return the place of a rule's log: its name, and below it the wildcards of its figure."""
    return os.path.join(rule, *re.findall(r"{\w+}", figure))


def figure_files(figure, rule, category, results="results/{study}"):
    """Return a figure's files; PNG and HTML stand in the report, each with the caption of the rule or of that name."""
    caption = f"../report/{rule.removeprefix('plot_')}.rst"
    return [
        (
            path
            if ext in ("svg", "pdf")
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


def all_targets(figures, wildcards_of):
    """Return the function of a study that names the files of several figures."""
    functions = [figure_targets(figure, wildcards_of) for figure in figures]
    return lambda study: [path for targets in functions for path in targets(study)]


def every_point(wildcards):
    """Return the tables of an association's points: all of them, or what a summary kept."""
    study = study_of(wildcards)
    folder = f"{study.results}/activations"
    if study.corpus.keep == "summary":
        return {"summary": f"{folder}/{wildcards.association}.h5"}
    return recorded_values(study)
