"""Patch the top neurons in each prompt pair of a set."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files.hdf5 import read
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.prompt_set import candidates, n_tests, write_neurons_csv, write_pairs_csv, write_prompt_set
from an_neuron.patching.selection import read_neuron
from an_neuron.patching.sweeps import patch_listed_neurons
from an_neuron.prompts.pairs import PromptPair
from an_neuron.prompts.prompt_set import WrittenPair
from an_neuron.prompts.tokens import read_prompts, token_attributes

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        folder, output = Path(snakemake.params.folder), snakemake.output
        prompts, table = read_prompts(snakemake.input.prompts)
        tokenizer = Tokenizer(folder)
        pairs = [WrittenPair(**pair) for pair in snakemake.params.prompt_set]
        tokenized = [PromptPair(tokenizer.prompt(pair.clean), tokenizer.prompt(pair.corrupted)) for pair in pairs]
        studied = snakemake.params.neuron or read_neuron(snakemake.input.neuron)
        swept = read(snakemake.input.map)
        neurons = candidates(swept, *studied)
        model = load_model(folder, claimed(kind(snakemake.resources.device)))
        metric = LogitDifference(prompts.answer, prompts.foil)
        sweep = patch_listed_neurons(model, tokenized, metric, neurons)
        baselines = sweep.clean.numpy(), sweep.corrupted.numpy()
        tests = {"n_tests": n_tests(swept, studied[0])}
        attributes = {**snakemake.params.attributes, **token_attributes(table), **tests}
        write_prompt_set(Path(output.h5), sweep.patched.numpy(), baselines, neurons, pairs, attributes)
        write_pairs_csv(Path(output.pairs), read(output.h5))
        write_neurons_csv(Path(output.neurons), read(output.h5))
