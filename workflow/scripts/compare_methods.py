"""Estimate every neuron's and head's recovery in several ways, beside the exact ones."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files.atomic import check_room
from an_neuron.files.hdf5 import read
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model
from an_neuron.patching.atp_star import FIXED
from an_neuron.patching.engine import Engine
from an_neuron.patching.method_files import METHODS_H5, write_methods, write_methods_csv
from an_neuron.patching.methods import METHODS, estimate
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.sweeps import patch_heads
from an_neuron.prompts.tokens import read_prompts, token_attributes

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        files, output = snakemake.input, snakemake.output
        prompts, table = read_prompts(files.prompts)
        pairs, metric = prompts.prompt_pairs, LogitDifference(prompts.answer, prompts.foil)
        neurons, z, v = (read(files[name]) for name in ("neurons", "z", "v"))
        if not neurons.attributes["screened"]:
            of_neurons = dict(zip(("layer", "d_mlp"), neurons["exact"].shape, strict=True))
            check_room(output.h5, METHODS_H5.n_bytes(method=len(METHODS), **of_neurons))
        engine = Engine(load_model(Path(snakemake.params.folder), claimed(kind(snakemake.resources.device))))
        swept = [site for site in FIXED if engine.ordinary.has_everywhere(site)]
        others = patch_heads(engine, pairs, metric, swept) if swept else {}
        exact = {"z": z["recovery"], "v": v["recovery"]}
        exact |= {"post": neurons["exact"]} if not neurons.attributes["screened"] else {}
        exact |= {site: sweep.recovery.numpy() for site, sweep in others.items()}
        layers = {site: neurons["layer"].tolist() if site == "post" else range(engine.n_layers) for site in exact}
        attributes = {**snakemake.params.attributes, **token_attributes(table), "floor": neurons.attributes["floor"]}
        attributes["rounding"] = max((sweep.rounding for sweep in others.values()), default=float("nan"))
        estimates = estimate(engine.ordinary, pairs, metric, layers)
        write_methods(output.h5, exact, estimates, neurons["layer"].tolist(), attributes)
        write_methods_csv(output.csv, read(output.h5))
