"""Put the sweeps of all layers together, and say which tokens patching the best neurons raises and lowers."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files import hdf5
from an_neuron.files.atomic import check_room
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model, process_weights
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.patching.activation_changes import activation_changes, telling_change
from an_neuron.patching.neuron_map import MAP, write_map, write_top_neurons
from an_neuron.patching.neuron_sweeps import gather
from an_neuron.patching.top_neurons import top_neurons
from an_neuron.prompts.tokens import read_prompts

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        folder = Path(snakemake.params.folder)
        prompts, _ = read_prompts(snakemake.input.prompts)
        sweeps = gather(snakemake.input.sweeps)
        check_room(snakemake.output.h5, MAP.n_bytes(**sweeps.lengths))
        model = load_model(folder, claimed(kind(snakemake.resources.device)))
        changes = activation_changes(model, prompts.prompt_pairs, sweeps.layers)  # before weights are processed
        process_weights(model, snakemake.params.processing)
        change = telling_change(changes)
        top = top_neurons(model, Tokenizer(folder), sweeps.layers, sweeps.recovery, change)
        write_map(snakemake.output.h5, sweeps, top, snakemake.params.attributes)
        write_top_neurons(snakemake.output.csv, hdf5.read(snakemake.output.h5))
