"""Measure what the model loses over the corpus when each association's neuron is switched off, held or negated."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.ablation import ablate
from an_neuron.corpus.ablations import losses_bytes, write_losses
from an_neuron.corpus.ablator import Ablator
from an_neuron.corpus.associations import read_associations
from an_neuron.corpus.documents import Documents
from an_neuron.corpus.recordings import read_means
from an_neuron.corpus.rows import TOKENS
from an_neuron.files import hdf5
from an_neuron.files.atomic import check_room
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model
from an_neuron.model.tokenizer import Tokenizer, single_token

if __name__ == "__main__":
    with (
        job(snakemake.log[0], snakemake.input, snakemake.threads),
        hdf5.opened(snakemake.input.tokens, TOKENS) as corpus,
    ):
        associations = read_associations(snakemake.input.associations)
        check_room(snakemake.output[0], losses_bytes(len(associations), len(corpus["token_id"])))
        means = read_means(Path(snakemake.input.gathered), associations)
        folder, foil = Path(snakemake.params.folder), snakemake.params.foil
        foil_id = single_token(Tokenizer(folder), foil)
        model = load_model(folder, claimed(kind(snakemake.resources.device)))
        ablation = ablate(Ablator(model, associations, foil_id, means), corpus["token_id"])
        attributes = {**snakemake.params.attributes, "foil": foil, "foil_id": foil_id}
        groups = Documents.of_file(corpus).groups(len(corpus["token_id"]))
        write_losses(Path(snakemake.output[0]), associations, means, ablation, groups, attributes)
