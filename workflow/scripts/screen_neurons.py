"""Choose the neurons that are patched: those that attribution puts first, and some of the others, drawn at random."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.screened import write_screened
from an_neuron.patching.screening import choose_neurons
from an_neuron.prompts.tokens import read_prompts

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        prompts, _ = read_prompts(snakemake.input.prompts)
        given, studied = snakemake.params, snakemake.params.neuron
        model = load_model(Path(given.folder), claimed(kind(snakemake.resources.device)))
        metric = LogitDifference(prompts.answer, prompts.foil)
        numbers = {"screen": given.screen, "sample": given.sample, "studied": studied and tuple(studied)}
        chosen = choose_neurons(model, prompts.prompt_pairs, metric, given.layers or None, **numbers)
        write_screened(snakemake.output[0], chosen, given.attributes)
