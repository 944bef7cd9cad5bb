"""Choose the nodes of the circuit around the studied neuron, and measure what they do to each other."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files.hdf5 import read
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model
from an_neuron.patching.candidates import candidates
from an_neuron.patching.circuit import trace
from an_neuron.patching.circuit_files import write_circuit, write_graph
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.nodes import choose_nodes
from an_neuron.patching.rows import Node
from an_neuron.patching.selection import read_neuron
from an_neuron.prompts.tokens import read_prompts, token_attributes

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        files, output = snakemake.input, snakemake.output
        prompts, table = read_prompts(files.prompts)
        layer, index = snakemake.params.neuron or read_neuron(files.neuron)
        possible = candidates(*map(read, (files.map, files.heads, files.driving_neurons, files.driving_heads)))
        engine = Engine(load_model(Path(snakemake.params.folder), claimed(kind(snakemake.resources.device))))
        metric = LogitDifference(prompts.answer, prompts.foil)
        nodes = choose_nodes(engine, prompts.prompt_pairs, metric, Node(layer, "post", index), possible)
        circuit = trace(engine, prompts.prompt_pairs, metric, nodes)
        tokens = {kind: list(table[f"{kind}_token"][0]) for kind in ("clean", "corrupted")}
        attributes = {**snakemake.params.attributes, **token_attributes(table)}
        attributes |= {"neuron_layer": layer, "neuron_index": index}
        write_circuit(output.h5, circuit, tokens, attributes)
        write_graph(output.json, read(output.h5))
