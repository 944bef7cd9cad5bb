"""Measure what the best neurons and heads do together, by their number."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files.hdf5 import read
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.patching.curve_files import write_areas, write_curves, write_curves_csv
from an_neuron.patching.curves import (
    KINDS,
    effects_of_heads,
    effects_of_neurons,
    estimated_heads,
    greedy,
    measure_curves,
    rankings_of,
    smallest_set,
)
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.together import OpenPromptPairs
from an_neuron.prompts.pairs import PromptPair
from an_neuron.prompts.tokens import read_prompts, token_attributes

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        folder, output = Path(snakemake.params.folder), snakemake.output
        prompts, table = read_prompts(snakemake.input.prompts)
        main, tokenizer = prompts.prompt_pairs, Tokenizer(folder)
        held_out = [
            PromptPair(tokenizer.prompt(pair["clean"]), tokenizer.prompt(pair["corrupted"]))
            for pair in snakemake.params.held_out
        ]
        metric = LogitDifference(prompts.answer, prompts.foil)
        neurons, heads = read(snakemake.input.neurons), read(snakemake.input.heads)
        engine = Engine(load_model(folder, claimed(kind(snakemake.resources.device))))
        exact = effects_of_neurons(neurons["exact"], neurons["layer"]) | effects_of_heads(heads["recovery"])
        estimates = effects_of_neurons(neurons["approximate"], neurons["layer"])
        estimates |= effects_of_heads(estimated_heads(engine, main, metric))
        rankings, smallest = [], {}
        opened = OpenPromptPairs(engine, main, metric, {(node.layer, node.site) for node in exact})
        for each in KINDS:
            signed, *others = rankings_of(each, exact, estimates)
            rankings += [signed, *others, greedy(opened, signed)]
            smallest[each, signed.by] = smallest_set(opened, signed)
        del opened  # and with it the recorded runs
        parts = ["main"] * len(main) + ["held_out"] * len(held_out)
        curves, checks = measure_curves(engine, [*main, *held_out], metric, rankings)
        attributes = {**snakemake.params.attributes, **token_attributes(table)}
        rounding = max(check.difference for check in checks)
        write_curves(output.h5, curves, parts, {**attributes, "spot_checks": len(checks), "rounding": rounding})
        write_curves_csv(output.csv, read(output.h5))
        write_areas(output.areas, curves, parts, smallest)
