"""Functions for `resources` and `threads`: what a job needs, estimated from the model, the prompts and the corpus.

On one machine they hold back nothing, unless --resources says how much there is. Snakemake asks again at every attempt.
"""

from an_neuron.corpus.sources import fetched_files
from an_neuron.patching.layers import named_layers


def estimated(estimate):
    """Return a resource function: an estimate for a study, and as much again at each further attempt.

    On one machine it holds back nothing, unless --resources says how much there is.
    """
    return lambda wildcards, attempt: attempt * estimate(study_of(wildcards))


def model_mb(kind):
    """Return the memory of a job that loads the model: for `patching`, a `corpus` pass, or `processing` weights."""
    return estimated(lambda study: cost.model_mb(kind, study.known_shape()))


def model_minutes(operations=lambda study, wildcards: 0):
    """Return the time of a job that loads the model and makes so many operations."""
    return lambda wildcards, attempt: attempt * cost.model_minutes(
        study_of(wildcards).known_shape(),
        operations(study_of(wildcards), wildcards),
        DEVICE == "cpu",
    )


def model_threads(wildcards):
    """Return as many threads as help: one for a small model, whose jobs rather run side by side; else a GPU's share."""
    study = study_of(wildcards)
    if study.is_small:
        return 1
    at_once = gpus_at_once() or (2 if study.is_medium else 1)
    return max(1, (workflow.cores or 64) // at_once)


def long_threads(wildcards):
    """Return the threads of a job of minutes: all cores, shared out among the GPUs where there are several."""
    study, gpus = study_of(wildcards), gpus_at_once()
    return 1 if study.is_small else max(1, (workflow.cores or 64) // (gpus or 1))


def gpus_at_once():
    """Return how many GPUs --resources names, if it does."""
    gpus = workflow.global_resources.get("gpu")
    return getattr(gpus, "value", gpus)


def layers_of(wildcards):
    return named_layers(wildcards.layers) if "layers" in wildcards.keys() else ()


def sweep(name):
    """Return how many operations a named sweep makes for a study's prompts."""
    return lambda study, wildcards: cost.sweep_operations(
        name,
        study.known_shape(),
        study.prompts,
        layers_of(wildcards),
        study.screened(layers_of(wildcards)),
    )


def corpus_tokens(study):
    """Return about how many tokens a corpus has, for estimates."""
    text = [f"{study.results}/corpus/text.txt"] if study.corpus.is_book else []
    groups = (token_parts(study), text, known_files(study))
    counted = cost.corpus_tokens(*(list(map(Path, group)) for group in groups))
    wanted = study.corpus.rows
    return min(counted, wanted * (study.corpus.n_ctx or 2048)) if wanted else counted


def known_files(study):
    """Return the files that a corpus is read from, as far as they are known: none of a dataset to be fetched."""
    if study.corpus.dataset is None:
        return study.corpus.paths
    return (
        read_result(fetched_files, study.corpus.paths[0])
        if os.path.exists(study.corpus.paths[0])
        else []
    )


def text_mb(study):
    return cost.text_mb(corpus_tokens(study)) if study.corpus.is_book else cost.PART_MB


def text_minutes(study):
    return cost.text_minutes(corpus_tokens(study) // len(token_parts(study)))


def table_mb(beside):
    """Return the memory of a job that looks at an association's values of a whole corpus, if they are kept."""
    return estimated(
        lambda study: cost.table_mb(
            beside, corpus_tokens(study) if study.corpus.keep == "all" else 0
        )
    )


def watched_mb(study):
    """Return the memory for the statistics of every watched neuron."""
    return cost.watched_mb(study.known_shape(), study.watched_neurons)


def pass_mb(study):
    return cost.model_mb("corpus", study.known_shape()) + watched_mb(study)


def one_shard(study, wildcards):
    """Return how many operations the pass over one shard makes."""
    tokens = corpus_tokens(study)
    return cost.corpus_operations(
        study.known_shape(), study.corpus.n_ctx, tokens, config["shards"]
    )


def sampled_corpus(study, wildcards):
    """Return how many operations the look at some rows of the corpus makes, at most."""
    return cost.sample_operations(study.known_shape(), study.corpus.n_ctx)


def ablated_corpus(study, wildcards):
    """Return how many operations the pass with each association's neuron ablated makes at most."""
    n_neurons = 1 + len(study.associations) + study.top
    return cost.ablation_operations(
        study.known_shape(), study.corpus.n_ctx, corpus_tokens(study), n_neurons
    )
