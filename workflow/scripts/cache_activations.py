"""Record every association's activation and margin, and the top prediction, at each token of a part of the corpus."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.associations import read_associations
from an_neuron.corpus.batches import shard_rows
from an_neuron.corpus.corpus_pass import record
from an_neuron.corpus.neuron_watch import NeuronWatch, chosen_layers
from an_neuron.corpus.reader import Reader
from an_neuron.corpus.recorded import Kept
from an_neuron.corpus.rows import TOKENS
from an_neuron.corpus.shards import Part, write_shard
from an_neuron.files import hdf5
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model
from an_neuron.model.tokenizer import Tokenizer, single_token

if __name__ == "__main__":
    with (
        job(snakemake.log[0], snakemake.input, snakemake.threads),
        hdf5.opened(snakemake.input.tokens, TOKENS) as corpus,
    ):
        options, rows = snakemake.params.options, corpus["token_id"]
        shard, n_shards = map(int, snakemake.wildcards.scatteritem.split("-of-"))
        first, upto = shard_rows(*rows.shape, shard - 1, n_shards)
        associations = read_associations(snakemake.input.associations)
        folder = Path(snakemake.params.folder)
        foil = single_token(Tokenizer(folder), snakemake.params.foil)
        model = load_model(folder, claimed(kind(snakemake.resources.device)))
        reader = Reader(model, associations, options["readout"], options["precision"], foil)
        layers = chosen_layers(snakemake.params.neurons, model.cfg.n_layers)
        watch = NeuronWatch(reader.decoder, layers) if layers else None
        attributes = {**snakemake.params.attributes, **options}
        kept, part = Kept(options["keep"], options["dtype"], reader.signed, foil), Part(rows, first, upto)
        recorded, out = record(reader, rows, first, upto, watch=watch), Path(snakemake.output[0])
        write_shard(out, recorded, part, associations, reader.d_vocab, kept, attributes, watch)
