"""Read the logit difference off the residual stream at each layer."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model, process_weights
from an_neuron.prompts.lens import logit_lens, write_lens
from an_neuron.prompts.tokens import read_prompts, token_attributes

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        prompts, table = read_prompts(snakemake.input.prompts)
        model = load_model(Path(snakemake.params.folder), claimed(kind(snakemake.resources.device)))
        process_weights(model, snakemake.params.processing)
        lenses = [
            logit_lens(model, prompt_pair.clean, prompts.answer, prompts.foil) for prompt_pair in prompts.prompt_pairs
        ]
        write_lens(snakemake.output[0], lenses, {**snakemake.params.attributes, **token_attributes(table)})
