"""Statistics of every neuron in files: as fields of a pass' shards, and as activations/neurons.h5."""

from collections.abc import Sequence

from an_neuron.corpus.neuron_statistics import COLUMNS, FIRES_ABOVE, NeuronStatistics
from an_neuron.files.hdf5 import Writer
from an_neuron.files.schema import Field, Schema

PLACE = "layer d_mlp place"
NEURONS = Schema(
    "activations/neurons.h5",
    "statistics of every neuron over the corpus, BOS left out; with `neurons`",
    {
        "layer": Field("layer", "int32", "", "the layer"),
        "firing_rate": Field(
            "layer d_mlp",
            "float32",
            "1",
            "share of tokens at which the neuron is above 0; of gated MLPs, whose neurons write with either sign, at "
            f"which it is farther from 0 than {FIRES_ABOVE} of its largest absolute activation, to the next bin's edge",
        ),
        "mean": Field("layer d_mlp", "float32", "", "mean activation (hook_post)"),
        "standard_deviation": Field("layer d_mlp", "float32", "", "its standard deviation"),
        "kurtosis": Field(
            "layer d_mlp",
            "float32",
            "1",
            "fourth central moment / square of the variance: 3 of a normal distribution, large of a neuron that is "
            "seldom active; NaN of one that is constant",
        ),
        "minimum": Field("layer d_mlp", "float32", "", "lowest activation"),
        "maximum": Field("layer d_mlp", "float32", "", "largest activation"),
        "quantile_level": Field("quantile", "float32", "1", "which quantiles"),
        "quantile": Field(
            "layer d_mlp quantile", "float32", "", "quantiles of the activation, within 7 %, below 2⁻⁸ within 0.002"
        ),
        "place_activation": Field(PLACE, "float32", "", "activation at the most activating places, best first"),
        "place_row": Field(PLACE, "int32", "", "row of the corpus"),
        "place_pos": Field(PLACE, "int32", "", "position in the row"),
    },
    {
        "n_tokens": "how many tokens there are, BOS left out",
        "signed": "1 where negative activations write as positive ones do (gated MLPs), else 0",
        "precision": "highest, high or bfloat16",
    },
)
OF_SHARD = "watched d_mlp"
NEURON_FIELDS = {
    "neuron_layer": Field(
        "watched", "int32", "", "with `neurons`: layers of which every neuron is watched", optional=True
    ),
    "neuron_bin_count": Field(
        f"{OF_SHARD} neuron_bin", "int64", "tokens", "tokens in each bin of activation", optional=True
    ),
    "neuron_power_sum": Field(
        f"{OF_SHARD} power", "float64", "", "sums of the activation's powers 1 to 4", optional=True
    ),
    "neuron_least": Field(OF_SHARD, "float32", "", "lowest activation", optional=True),
    "neuron_most": Field(OF_SHARD, "float32", "", "largest activation", optional=True),
    "neuron_activation": Field(
        f"{OF_SHARD} neuron_place", "float32", "", "activation at the most activating places, best first", optional=True
    ),
    "neuron_row": Field(f"{OF_SHARD} neuron_place", "int32", "", "row of the corpus", optional=True),
    "neuron_pos": Field(f"{OF_SHARD} neuron_place", "int32", "", "position in the row", optional=True),
}


def add_neurons(writer: Writer, layers: Sequence[int], statistics: NeuronStatistics) -> None:
    """Add the statistics of the watched layers to a shard."""
    writer.add("neuron_layer", layers)
    for name in COLUMNS:
        packed = {"compression": "gzip", "compression_opts": 1} if name == "bin_count" else {}
        writer.add(f"neuron_{name}", getattr(statistics, name), **packed)
