"""What only the model knows: its layers, the studied neuron, the clearest associations. Checkpoints are asked here."""

from dataclasses import asdict
from functools import partial

from an_neuron.corpus.associations import read_associations, names_of
from an_neuron.patching.layers import divided, named, named_layers
from an_neuron.patching.selection import read_neuron
from an_neuron.study.built import all_built

HEAD_SITES = ("z", "v", "pattern")
SUMS, SUMS_OF_CIRCUIT = "checksums", "checksums_circuit"
SITES = {"resid": "resid_pre", "attn": "attn_out", "mlp": "mlp_out"}


def fetched_model(wildcards):
    """Return the model that belongs into a folder under downloads/models."""
    models = (study.model for study in STUDIES.values())
    return next(model for model in models if model.key == wildcards.model)


def book_source(wildcards):
    """Return the address of a downloaded book, and its checksum where a study gives one."""
    downloaded = (study for study in STUDIES.values() if study.corpus.url)
    return next(
        study.corpus.book_source
        for study in downloaded
        if study.corpus.book_key == wildcards.book
    )


def fetched_dataset(wildcards):
    """Return name, revision, configuration and split of a dataset that is fetched."""
    of_hub = (study for study in STUDIES.values() if study.corpus.dataset)
    return next(
        study.corpus.dataset.source
        for study in of_hub
        if study.corpus.dataset.key == wildcards.dataset
    )


def files_of_corpus(wildcards):
    """Return what a corpus of documents is read from: its files, or the list that ends a dataset's fetch."""
    study = study_of(wildcards)
    if study.corpus.dataset:
        return {"dataset": study.corpus.paths[0]}
    return {"files": study.corpus.paths}


def n_parts(study):
    """Return into how many parts a corpus is divided while it is read: a book, or its first rows, are read by one job."""
    return 1 if study.corpus.is_book or study.corpus.rows else config["shards"]


def token_parts(study):
    """Return the files of a corpus' tokens."""
    n = n_parts(study)
    return [f"{study.results}/corpus/parts/{k}-of-{n}.h5" for k in range(1, n + 1)]


def parts_of_tokens(wildcards):
    """Return the files that tokens.h5 looks into: a lost one is rebuilt for whatever reads the tokens."""
    return token_parts(study_of(wildcards))


def text_of_part(wildcards):
    """Return what a part of a corpus is tokenized from: the extracted text of a book, or files of documents."""
    study = study_of(wildcards)
    if study.corpus.is_book:
        return {"text": f"{study.results}/corpus/text.txt"}
    files = {} if study.corpus.dataset else {"files": study.corpus.paths}
    return {"listed": f"{study.results}/corpus/files.json", **files}


def shape(study):
    """Return a model's sizes; one that is no local folder is fetched first."""
    if study.model.key:
        checkpoints.fetch_model.get(model=study.model.key)
    return study.shape()


def neuron_sweeps(study):
    """Return the sweeps of a study's layers: of all the model's, where the study does not list them."""
    return [sweep_file(study, layers) for layers in parts_of_sweep(study)]


def parts_of_sweep(study):
    """Return the layers of each job of a study's sweep over neurons."""
    layers = study.layers or range(shape(study).n_layers)
    return divided(layers, config["sweeps"])


def sweep_file(study, layers):
    return f"{study.results}/patching/neurons/layers_{named(layers)}.h5"


def screened_neurons(wildcards):
    """Return the file of the neurons that are patched, where a screen chooses among those of these layers."""
    study = study_of(wildcards)
    if study.screened(named_layers(wildcards.layers)) is None:
        return {}
    return {"screened": f"{study.results}/patching/neurons/screened.h5"}


def sweep_of_neuron(wildcards):
    """Return the sweep with the studied neuron's layer, which is swept even where it is not listed."""
    study = study_of(wildcards)
    layer, _ = neuron_of(study)
    layers = next((part for part in parts_of_sweep(study) if layer in part), [layer])
    return sweep_file(study, layers)


def neuron_of(study):
    """Return layer and index of the studied neuron; `auto` asks for the sweeps first."""
    if study.neuron:
        return study.neuron
    chosen = checkpoints.select_neuron.get(study=study.name).output[0]
    return read_result(read_neuron, chosen)


def of_neuron(pattern):
    """Return an input function that fills in the studied association, and the layer and index of its neuron."""

    def fill(wildcards):
        study = study_of(wildcards)
        layer, index = neuron_of(study)
        association = study.studied_association(layer, index)
        return pattern.format(
            study=study.name, association=association, layer=layer, index=index
        )

    return fill


def chosen_neuron(wildcards):
    """Return the file that names the studied neuron, where the sweep decides."""
    study = study_of(wildcards)
    return {} if study.neuron else {"neuron": f"{study.results}/neuron.json"}


def what_findings_tell(wildcards):
    """Return the files that only some studies have, and that say more of the finding."""
    study = study_of(wildcards)
    files = {"choice": f"{study.results}/activations/choice.h5"}
    if study.prompt_set:
        files["prompt_set"] = f"{study.results}/patching/prompt_set.h5"
    return files


def what_pages_show(wildcards):
    """Return the files that only some studies have, and of which a study's page tells besides the finding."""
    study, files = study_of(wildcards), {}
    if study.published:
        files["published"] = f"{study.results}/published.csv"
    if study.corpus.keep == "all":
        files |= recorded_values(study)
    return files


def what_associations_need(wildcards):
    """Return the files from which a study's associations are chosen."""
    return chosen_neuron(wildcards) | candidates_of(wildcards)


def candidates_of(wildcards):
    """Return the file that says which exclusive associations are recorded, where a study asks for some."""
    study = study_of(wildcards)
    return (
        {"candidates": f"{study.results}/activations/candidates.h5"}
        if study.top
        else {}
    )


def associations_of(study):
    """Return the names of a study's associations; those that the model decides are chosen first."""
    if not study.needs_choice:
        return study.association_names()
    chosen = checkpoints.select_associations.get(study=study.name).output[0]
    return names_of(read_result(read_associations, chosen))


def recorded_values(study):
    """Return the files with every value of a corpus pass, where they are kept."""
    shards = [shard.format(study=study.name) for shard in SHARDS]
    return {
        "gathered": f"{study.results}/activations/associations.h5",
        "shards": shards,
    }


def provenance_of(study):
    return [f"results/{study}/provenance.{ext}" for ext in ("json", "html")]


def summed(wildcards):
    """Return the results of which a file of checksums tells: those of a study, or of its circuit."""
    study, of_circuit = study_of(wildcards), wildcards.checksums != SUMS
    stages = CIRCUIT_TARGETS if of_circuit else TARGETS
    made = [path for built in stages.values() for path in built(study)]
    results = made if of_circuit else [*made, *provenance_of(study.name)]
    return [path for path in results if path.startswith(f"{study.results}/")]


def sums_of(study, circuit=False):
    """Return the files of checksums of a study, with that of its circuit where asked for."""
    names = [SUMS, *([SUMS_OF_CIRCUIT] if circuit and CIRCUIT_TARGETS else [])]
    return [f"results/{study}/{name}.sha256" for name in names]


def association_tables(wildcards):
    study = study_of(wildcards)
    return [f"{study.results}/activations/{name}.h5" for name in associations_of(study)]


def built_studies():
    return read_result(partial(all_built, sweeps=config["sweeps"]), STUDIES.values())


def files_of_built_studies(wildcards):
    """Return what a comparison of studies depends on: files that are there when Snakemake plans, of no other study."""
    return [path for built in built_studies() for path in built.files]


def studies_behind(wildcards, input):
    """Return the built studies whose files are a comparison's inputs."""
    return [asdict(built) for built in built_studies() if built.map in input.studies]
