"""Which neurons and heads may belong to a circuit: those that stand out alone, by their files."""

from an_neuron.files.hdf5 import Table
from an_neuron.patching.rows import Node

NEURONS, DRIVERS, HEADS = 12, 8, 8
"""How many are taken: neurons that move the answer, neurons that drive the studied one, and heads of either kind."""


def candidates(neuron_map: Table, heads: Table, driving_neurons: Table, driving_heads: Table) -> list[Node]:
    """Return neurons and heads of the largest recovery of the answer, or of the studied neuron's activation.

    Parameters
    ----------
    neuron_map
        patching/neurons/map.h5.
    heads
        patching/heads/z.h5.
    driving_neurons, driving_heads
        drivers/neurons.h5 and drivers/heads_z.h5.
    """
    top = zip(neuron_map["top_layer"][:NEURONS].tolist(), neuron_map["top_index"][:NEURONS].tolist(), strict=True)
    largest = abs(driving_neurons["recovery"]).argsort(kind="stable")[::-1][:DRIVERS]
    driving = zip(driving_neurons["layer"][largest].tolist(), driving_neurons["index"][largest].tolist(), strict=True)
    neurons = [Node(layer, "post", index) for layer, index in [*top, *driving]]
    return list(dict.fromkeys([*neurons, *_largest_heads(heads), *_largest_heads(driving_heads)]))


def _largest_heads(table: Table) -> list[Node]:
    recovery = table["recovery"]
    if not (recovery == recovery).all():  # nothing drives the neuron
        return []
    largest = abs(recovery).ravel().argsort(kind="stable")[::-1][:HEADS]
    return [Node(layer, "z", head) for layer, head in (divmod(int(number), recovery.shape[1]) for number in largest)]
