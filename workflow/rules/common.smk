"""What the rules share: the checked configuration, a study's part of it, and what a study's targets are."""

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import yaml
from an_neuron.study import needs as needs
from an_neuron.study.checks import check_config
from an_neuron.errors import UserError
from an_neuron.jobs.modules import modules_behind, put_on_python_path
from an_neuron.model.folder import read_shape, weight_files
from an_neuron.corpus.associations import association_names
from an_neuron.corpus.sources import book_name

put_on_python_path()

SCHEMA = Path(workflow.basedir) / "workflow" / "schemas" / "config.schema.yaml"
SMALL_MODEL = 200_000_000  # bytes of weights up to which one thread a job is enough
HEAD_SITES = ("z", "q", "k", "v", "pattern")
SITES = {"resid": "resid_pre", "attn": "attn_out", "mlp": "mlp_out"}


def check_configuration():
    """Say all mistakes of the configuration before anything runs."""
    try:
        check_config(config, yaml.safe_load(SCHEMA.read_text()))
    except UserError as error:
        raise WorkflowError(str(error)) from None


def no_such_study(wildcards):
    """Say which studies there are; asked for where a target is no rule, and no file that a rule makes."""
    known = ", ".join(STUDIES)
    raise WorkflowError(
        f"there is no study {wildcards.unknown!r}; known studies: {known}."
    )


def check_browser():
    """Say before the first job, not after hours, that static figures cannot be made."""
    from an_neuron.figures.export import browser_missing

    missing = browser_missing() if {"png", "svg"} & set(FORMATS) else None
    if missing:
        raise WorkflowError(missing)


if workflow.is_main_process:
    check_configuration()

validate(config, str(SCHEMA))  # fills in the defaults that the schema names

FORMATS = config["formats"]
DEVICE = config["device"]


def study_of(wildcards):
    return config["studies"][wildcards.study]


def part(*keys):
    """Return a params function: the keys of a study that a rule depends on, and no others."""

    def chosen(wildcards):
        study = study_of(wildcards)
        return {key: study[key] for key in keys if key in study}

    return chosen


def behind(rule):
    """Return a rule's script, and the library's modules that it stands on, by names relative to the working directory.

    As inputs they are compared by content, so that a changed module reruns the rules that use it, and no others.
    """
    script = Path(workflow.basedir) / "workflow" / "scripts" / f"{rule}.py"
    return [os.path.relpath(script), *map(str, modules_behind(script))]


def processing(wildcards):
    return study_of(wildcards)["model"]["processing"]


def attributes(wildcards):
    """Return what every file says of its origin."""
    model = study_of(wildcards)["model"]
    name = model.get("hub") or model["folder"]
    revision = model.get("revision", "local folder")
    return {
        "study": wildcards.study,
        "model": name,
        "revision": revision,
        "dtype": "float32",
    }


def slug(model):
    name = re.sub(r"[^\w.-]+", "--", model["hub"])
    return f"{name}@{model['revision'][:8]}"


def hub_source(name):
    """Return hub name and revision of a fetched model's folder."""
    models = (study["model"] for study in config["studies"].values())
    found = next(model for model in models if "hub" in model and slug(model) == name)
    return {"hub": found["hub"], "revision": found["revision"]}


def book_file(wildcards):
    corpus = study_of(wildcards)["corpus"]
    if "file" in corpus:
        return corpus["file"]
    return f"downloads/books/{book_name(corpus['url'], corpus.get('sha256'))}"


def book_source(name):
    """Return the URL of a downloaded book, and its checksum where a study gives one."""
    sources = (study["corpus"] for study in config["studies"].values())
    return next(
        {key: corpus.get(key) for key in ("url", "sha256")}
        for corpus in sources
        if "url" in corpus and book_name(corpus["url"], corpus.get("sha256")) == name
    )


def model_folder(wildcards):
    model = study_of(wildcards)["model"]
    return model["folder"] if "folder" in model else f"downloads/models/{slug(model)}"


def sources(wildcards):
    """Return what a study is made of: the model's files, the book, and published values."""
    published = filter(None, [study_of(wildcards).get("published")])
    return [*model_files(wildcards), book_file(wildcards), *published]


def model_files(wildcards):
    """Return the files that stand for the model: a local one's own, or the list that ends a fetch."""
    folder = Path(model_folder(wildcards))
    if "hub" in study_of(wildcards)["model"]:
        return [str(folder / "fetched.json")]
    names = ["config.json", "tokenizer.json", "tokenizer_config.json"]
    small = [folder / name for name in names if (folder / name).exists()]
    return [str(path) for path in small + weight_files(folder)]


def model_threads(wildcards):
    """Return as many threads as help: one for a small model, whose jobs rather run side by side; else a GPU's share."""
    model = study_of(wildcards)["model"]
    files = weight_files(Path(model["folder"])) if "folder" in model else []
    if files and sum(path.stat().st_size for path in files) < SMALL_MODEL:
        return 1
    gpus = workflow.global_resources.get("gpu")  # of --resources
    return max(1, (workflow.cores or 64) // (getattr(gpus, "value", gpus) or 1))


def shape(wildcards):
    """Return a model's sizes; a model of the hub is fetched first."""
    model = study_of(wildcards)["model"]
    if "hub" in model:
        checkpoints.fetch_model.get(model=slug(model))
    return read_shape(Path(model_folder(wildcards)))


def known_shape(wildcards):
    """Return a model's sizes for estimates, which fetch nothing: those of another, while it is not here."""
    try:
        return read_shape(Path(model_folder(wildcards)))
    except UserError:
        return needs.UNKNOWN


def corpus_tokens(wildcards):
    """Return about how many tokens a corpus has, for estimates."""
    folder = f"results/{wildcards.study}/corpus"
    files = [f"{folder}/tokens.h5", f"{folder}/text.txt", book_file(wildcards)]
    return needs.corpus_tokens(*map(Path, files))


def table_tokens(wildcards):
    """Return how many tokens' values are looked at together, for estimates."""
    kept = study_of(wildcards)["corpus"]["keep"] == "all"
    return corpus_tokens(wildcards) if kept else 0


def operations(wildcards, name):
    """Return about how many operations a named rule's job makes besides loading its model."""
    study, model = study_of(wildcards), known_shape(wildcards)
    if name == "cache_activations":
        tokens = corpus_tokens(wildcards)
        return needs.corpus_operations(model, study["corpus"], tokens, config["shards"])
    if name == "rank_congruence":
        return needs.congruence_operations(model)
    if name in ("patch_sites", "patch_heads", "patch_neurons"):
        layer = int(wildcards.get("layer", 0))
        return needs.sweep_operations(name, model, study["prompts"], layer)
    return 0


# Functions for `resources`. On one machine they hold back nothing, unless --resources says how much there is. They are
# asked again at every attempt, and when a job's inputs are there.
def each_attempt(amount):
    """Return a constant amount, and so much more at each further attempt."""
    return lambda wildcards, attempt: attempt * amount


def model_mb(kind):
    """Return the memory of a job that loads the model: for `patching`, a `corpus` pass, or `processing` weights."""
    return lambda wildcards, attempt: attempt * needs.model_mb(
        kind, known_shape(wildcards)
    )


def model_minutes(name):
    """Return the time of a named rule's job, which loads the model."""
    return lambda wildcards, attempt: attempt * needs.model_minutes(
        known_shape(wildcards), operations(wildcards, name), DEVICE == "cpu"
    )


def text_mb(wildcards, attempt):
    return attempt * needs.text_mb(corpus_tokens(wildcards))


def text_minutes(wildcards, attempt):
    return attempt * needs.text_minutes(corpus_tokens(wildcards))


def table_mb(beside):
    """Return the memory of a job that looks at an association's values of a whole corpus, if they are kept."""
    return lambda wildcards, attempt: attempt * needs.table_mb(
        beside, table_tokens(wildcards)
    )


def neuron_tables(wildcards):
    """Return the sweeps of a study's layers: of all the model's, where the study does not list them."""
    layers = study_of(wildcards).get("layers") or range(shape(wildcards).n_layers)
    return expand(
        "results/{study}/patching/neurons/layer_{layer}.h5",
        study=wildcards.study,
        layer=layers,
    )


def neuron_of(wildcards):
    """Return layer and index of the studied neuron; `auto` asks for the sweep first."""
    neuron = study_of(wildcards)["neuron"]
    if neuron == "auto":
        chosen = checkpoints.select_neuron.get(study=wildcards.study).output[0]
        neuron = json.loads(Path(chosen).read_text())
    return neuron["layer"], neuron["index"]


def studied_association(wildcards):
    """Return the name, in files, of the answer and the studied neuron."""
    return association_names([(study_of(wildcards)["answer"], *neuron_of(wildcards))])[
        0
    ]


def of_neuron(pattern):
    """Return an input function that fills in a study's association, layer and index."""

    def fill(wildcards):
        layer, index = neuron_of(wildcards)
        association = studied_association(wildcards)
        return pattern.format(
            study=wildcards.study, association=association, layer=layer, index=index
        )

    return fill


def what_associations_need(wildcards):
    """Return the files from which a study's associations are chosen."""
    study, folder = study_of(wildcards), f"results/{wildcards.study}"
    files = {}
    if study["neuron"] == "auto":
        files["neuron"] = f"{folder}/neuron.json"
    if study["top"]:
        files["top_neurons"] = f"{folder}/congruence/top_neurons.h5"
        files["top_tokens"] = f"{folder}/congruence/top_tokens.h5"
    return files


def associations_of(wildcards):
    """Return the names of a study's associations; those that the model decides are chosen first."""
    study = study_of(wildcards)
    if study["neuron"] == "auto" or study["top"]:
        chosen = checkpoints.select_associations.get(study=wildcards.study).output[0]
        return [
            association["name"] for association in json.loads(Path(chosen).read_text())
        ]
    studied = {"token": study["answer"], **study["neuron"]}
    associations = [
        (association["token"], association["layer"], association["index"])
        for association in [studied, *study["associations"]]
    ]
    return association_names(dict.fromkeys(associations))


def association_tables(wildcards):
    return expand(
        "results/{study}/activations/{association}.h5",
        study=wildcards.study,
        association=associations_of(wildcards),
    )


def corpus_pass(wildcards):
    """Return how the corpus is read, and what is kept of it."""
    study = study_of(wildcards)
    kept = {key: study["corpus"][key] for key in ("precision", "keep", "dtype")}
    return {"readout": study["readout"], **kept}


def activation_figure_input(wildcards):
    """Return the table of an association's points: all of them, or what a summary kept."""
    folder = f"results/{wildcards.study}/activations"
    if study_of(wildcards)["corpus"]["keep"] == "summary":
        return {"summary": f"{folder}/{wildcards.association}.h5"}
    shards = [shard.format(study=wildcards.study) for shard in SHARDS]
    return {"gathered": f"{folder}/associations.h5", "shards": shards}


FIGURES = [
    "logit_lens_fig",
    *(f"patched_{short}_fig" for short in SITES),
    *(f"patched_heads_{site}_fig" for site in ("z", "v", "pattern")),
    "most_similar_neurons_fig",
]
WHOLE_MODEL_FIGURES = ["neuron_map_fig", "attribution_fig"]
NEURON_FIGURES = [
    "patched_neuron_fig",
    "{association}_neuron_dot_vocab_fig",
]
ASSOCIATION_FIGURES = [
    "{association}_logit_activation_fig",
    "{association}_top_prediction_fig",
    "{association}_precision_recall_fig",
]


def figure_files(figures):
    pattern = "results/{study}/figures/EXT/FIGURE.EXT"
    return [
        pattern.replace("EXT", ext).replace("FIGURE", figure)
        for figure in figures
        for ext in FORMATS
    ]


def targets(study):
    """Return what a study builds whatever its neuron: figures, predictions, sweeps."""
    patterns = figure_files(FIGURES)
    patterns += [
        "results/{study}/checked.txt",
        "results/{study}/prompts/predictions.csv",
    ]
    return [pattern.format(study=study) for pattern in patterns]


def neuron_targets(study):
    """Return what a study builds of its neuron, once that is known: figures and the comparison."""
    wildcards = SimpleNamespace(study=study)
    patterns = figure_files(NEURON_FIGURES)
    if "published" in study_of(wildcards):
        patterns.append("results/{study}/published.csv")
    return [of_neuron(pattern)(wildcards) for pattern in patterns]


def association_targets(study):
    """Return what a study builds of each of its associations, once they are known: figures, contexts, a row each."""
    wildcards = SimpleNamespace(study=study)
    patterns = figure_files(ASSOCIATION_FIGURES) + [
        "results/{study}/examples/{association}.html"
    ]
    files = expand(patterns, study=study, association=associations_of(wildcards))
    shards = [shard.format(study=study) for shard in SHARDS]  # a lost one is made again
    return [*files, *shards, f"results/{study}/associations.csv"]


def whole_model_targets(study):
    """Return what a study builds of all swept neurons, once the model's layers are known: sweeps and figures."""
    sweeps = neuron_tables(SimpleNamespace(study=study))
    patterns = figure_files(WHOLE_MODEL_FIGURES)
    return sweeps + [pattern.format(study=study) for pattern in patterns]


def figure_outputs(figure, caption, category):
    """Return a figure's files; PNG and HTML stand in the report, each with its caption."""
    return [
        (
            path
            if ext == "svg"
            else report(
                path,
                caption=f"../report/{caption}.rst",
                category=category,
                labels={"figure": figure, "format": ext},
            )
        )
        for ext in FORMATS
        for path in [f"results/{{study}}/figures/{ext}/{figure}.{ext}"]
    ]
