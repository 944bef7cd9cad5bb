"""Estimate every neuron's recovery by attribution patching, beside the exact one."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files.atomic import check_room
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model
from an_neuron.patching.attribution import attribute_neurons
from an_neuron.patching.comparison import ATTRIBUTION, write_attribution
from an_neuron.patching.neuron_sweeps import gather
from an_neuron.prompts.tokens import read_prompts

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        prompts, _ = read_prompts(snakemake.input.prompts)
        sweeps = gather(snakemake.input.sweeps)
        check_room(snakemake.output[0], ATTRIBUTION.n_bytes(**sweeps.lengths))
        model = load_model(Path(snakemake.params.folder), claimed(kind(snakemake.resources.device)))
        approximate = attribute_neurons(model, prompts.prompt_pairs, prompts.answer, prompts.foil, sweeps.layers)
        write_attribution(snakemake.output[0], sweeps, approximate, snakemake.params.attributes)
