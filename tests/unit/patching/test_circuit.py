"""Direct effects, held against path patching by TransformerLens' hooks, and what must hold among them."""

import networkx
import pytest
import torch
from slow_reference import HOOKS

from an_neuron.errors import UserError
from an_neuron.files import sealed
from an_neuron.files.hdf5 import read
from an_neuron.patching.circuit import trace
from an_neuron.patching.circuit_files import edges, write_circuit, write_graph
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.nodes import changed_tokens, choose_nodes
from an_neuron.patching.rows import Node
from an_neuron.patching.sweeps import patch_neurons
from an_neuron.prompts.pairs import PromptPair

PAIR = PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9])
ANSWER, FOIL = 7, 10
METRIC = LogitDifference(ANSWER, FOIL)
TOKEN = Node(0, "resid_pre", position=-4)
NODES = [
    TOKEN,
    Node(0, "z", 2, position=-4),
    Node(0, "post", 3, position=-4),
    Node(0, "z", 1, position=-1),
    Node(1, "z", 2, position=-1),
    Node(1, "post", 5, position=-1),
    Node(1, "post", 7, position=-2),
]
WRITES = {"z": "attn_out", "post": "mlp_out"}


def name_of(layer, site):
    return f"blocks.{layer}.{HOOKS[site]}"


class Paths:
    """A prompt pair in a model by TransformerLens' hooks: a sender patched, what others write held or not."""

    def __init__(self, tiny, pair):
        self.model, self.pair = tiny.raw, pair
        _, self.clean = self.model.run_with_cache(torch.tensor([pair.clean]))
        _, self.corrupted = self.model.run_with_cache(torch.tensor([pair.corrupted]))
        self.end = len(pair.clean)

    def part(self, activation, node):
        at = activation[0, self.end + node.position]
        return at[node.item] if node.site == "z" else at[[node.item]] if node.site == "post" else at

    def run(self, node, held, put=None, receiver=None):
        """Return the logit difference, and a receiver's activation, with a node patched; `put` instead of the clean."""
        seen = {}

        def change(activation, hook):
            activation = activation.clone()
            value = self.part(self.clean[hook.name], node) if put is None else put
            if node.site == "z":
                activation[0, self.end + node.position, node.item] = value
            elif node.site == "post":
                activation[0, self.end + node.position, node.item] = value[0]
            else:
                activation[0, self.end + node.position] = value
            return activation

        def hold(activation, hook):
            return self.corrupted[hook.name]

        def see(activation, hook):
            seen["part"] = self.part(activation, receiver).clone()

        hooks = [(name_of(node.layer, node.site), change)]
        if held:
            outputs = [(layer, site) for layer in range(node.layer, 2) for site in ("attn_out", "mlp_out")]
            own = node.layer, WRITES.get(node.site)
            hooks += [(name_of(*place), hold) for place in outputs if place != own]
        if receiver is not None:
            hooks.append((name_of(receiver.layer, receiver.site), see))
        with torch.inference_mode():
            logits = self.model.run_with_hooks(torch.tensor([self.pair.corrupted]), fwd_hooks=hooks)[0, -1]
        return float(logits[ANSWER] - logits[FOIL]), seen.get("part")

    def share(self, part, node):
        """Return how far a receiver goes along its own change between the prompts."""
        base, clean = (self.part(run[name_of(node.layer, node.site)], node) for run in (self.corrupted, self.clean))
        return float((part - base) @ (clean - base) / ((clean - base) @ (clean - base)))


@pytest.fixture
def circuit(tiny):
    return trace(Engine(tiny.load()), [PAIR], METRIC, NODES)


def test_effects_are_those_of_path_patching_by_hooks(tiny, circuit):
    paths = Paths(tiny, PAIR)
    base = float(circuit.nodes and patch_neurons(tiny.raw, [PAIR], METRIC, [0]).corrupted)
    span = float(patch_neurons(tiny.raw, [PAIR], METRIC, [0]).clean) - base
    for row, sender in enumerate(circuit.nodes):
        assert float(circuit.on_metric[row]) == pytest.approx((paths.run(sender, False)[0] - base) / span, abs=1e-4)
        direct = (paths.run(sender, True)[0] - base) / span
        assert float(circuit.direct_on_metric[row]) == pytest.approx(direct, abs=1e-4)
        for column, receiver in enumerate(circuit.nodes):
            if sender == receiver or receiver == TOKEN or receiver.layer < sender.layer:
                continue
            _, all_paths = paths.run(sender, False, receiver=receiver)
            _, directly = paths.run(sender, True, receiver=receiver)
            assert float(circuit.total[row, column]) == pytest.approx(paths.share(all_paths, receiver), abs=1e-3)
            assert float(circuit.direct[row, column]) == pytest.approx(paths.share(directly, receiver), abs=1e-3)
            edge = (paths.run(receiver, False, put=directly)[0] - base) / span
            assert float(circuit.edges[row, column]) == pytest.approx(edge, abs=1e-4)


def test_nothing_goes_back_and_a_node_is_its_own_whole(circuit):
    number = len(circuit.nodes)
    itself = torch.arange(number)
    torch.testing.assert_close(circuit.total[itself, itself], torch.ones(number).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(circuit.edges[itself, itself].float(), circuit.on_metric.float(), atol=1e-4, rtol=0)
    layers = torch.tensor([node.layer for node in circuit.nodes])
    back = layers[:, None] > layers[None]
    assert float(circuit.total[back].abs().max()) < 1e-4
    assert float(circuit.direct[back].abs().max()) < 1e-4


def test_where_nothing_lies_between_the_direct_effect_is_the_total(circuit):
    last = [row for row, node in enumerate(circuit.nodes) if (node.layer, node.site) == (1, "post")]
    torch.testing.assert_close(circuit.direct_on_metric[last], circuit.on_metric[last], atol=1e-5, rtol=0)
    head, neuron = circuit.nodes.index(NODES[4]), circuit.nodes.index(NODES[5])
    assert float(circuit.through_others[head, neuron]) == pytest.approx(0, abs=1e-5)


def test_all_senders_together_give_the_whole_of_a_linear_readout(tiny_of):
    """What heads and neurons write at the last position is all that changes there, and a linear readout adds it up."""
    engine = Engine(tiny_of("llama").load())
    along = torch.linspace(-1, 1, 16)
    nodes = [Node(layer, "z", head, -1) for layer in range(2) for head in range(4)]
    nodes += [Node(layer, "post", index, -1) for layer in range(2) for index in range(24)]
    found = trace(engine, [PAIR], lambda residual, logits: residual @ along, nodes)
    assert float(found.direct_on_metric.sum()) == pytest.approx(1, abs=1e-4)


def test_micro_circuit_is_what_is_worked_out_by_hand(micro):
    """Clean ends in token 1, corrupted in token 2: logit differences 39 and -29.

    Corrupted the final stream is (-2, -2, 1). With neuron 0 it is (2, -2, 1), without neuron 1 (0, 0, 1), and with the
    clean token's embedding alone (-2, 1, 0): logit differences 11, -9 and 6 - 45 / sqrt(5).
    """
    pair, metric = PromptPair([0, 1], [0, 2]), LogitDifference(3, 4)
    nodes = [Node(0, "resid_pre", position=-1), Node(0, "post", 0, -1), Node(0, "post", 1, -1)]
    found = trace(Engine(micro.load()), [pair], metric, nodes)
    assert found.on_metric.tolist() == pytest.approx([1, 40 / 68, 20 / 68])
    assert found.direct_on_metric.tolist() == pytest.approx([(35 - 45 / 5**0.5) / 68, 40 / 68, 20 / 68])
    assert found.direct[0].tolist() == pytest.approx([1, 1, 1])
    assert found.edges[0].tolist() == pytest.approx([1, 40 / 68, 20 / 68])
    assert found.direct[1].tolist() == pytest.approx([0, 1, 0], abs=1e-6)


def test_the_ordinary_way_gives_the_same(tiny_gpt2, circuit, tiny):
    ordinary = trace(Engine(tiny.load(), "ordinary"), [PAIR], METRIC, NODES)
    for name in ("total", "direct", "edges", "on_metric", "direct_on_metric"):
        torch.testing.assert_close(getattr(ordinary, name), getattr(circuit, name), atol=1e-4, rtol=0)


def test_a_node_without_a_position_is_named(tiny_gpt2):
    with pytest.raises(UserError, match=r"1\.5 has no position"):
        trace(Engine(tiny_gpt2.load()), [PAIR], METRIC, [Node(1, "post", 5)])


def test_chosen_nodes_are_those_of_the_largest_effect(tiny_gpt2):
    engine, studied = Engine(tiny_gpt2.load()), Node(1, "post", 5)
    candidates = [Node(0, "post", index) for index in range(24)] + [Node(0, "z", head) for head in range(4)]
    chosen = choose_nodes(engine, [PAIR], METRIC, studied, candidates, limit=5)
    assert changed_tokens([PAIR]) == [TOKEN]
    assert {TOKEN, Node(1, "post", 5, position=-1)} <= {*chosen}
    assert len(chosen) <= 7
    assert [node.layer for node in chosen] == sorted(node.layer for node in chosen)


def test_files_hold_the_circuit_and_the_graph_loads(tiny_gpt2, tmp_path):
    found = trace(Engine(tiny_gpt2.load()), [PAIR], METRIC, NODES)
    said = {"answer": "h", "foil": "k", "answer_id": 7, "foil_id": 10, "neuron_layer": 1, "neuron_index": 5}
    said |= dict.fromkeys(("study", "model", "revision", "dtype"), "x")
    tokens = {"clean": list("abcdefg"), "corrupted": list("abcxefg")}
    write_circuit(tmp_path / "circuit.h5", found, tokens, said)
    table = read(tmp_path / "circuit.h5")
    write_graph(tmp_path / "circuit.json", table)
    graph = networkx.node_link_graph(sealed.json.loads((tmp_path / "circuit.json").read_text()), edges="links")
    assert graph.nodes["1.5@-1"]["layer"] == 1
    assert (graph.nodes["resid_pre 0@-4"]["clean_token"], graph.nodes["resid_pre 0@-4"]["corrupted_token"]) == (
        "d",
        "x",
    )
    between = [(sender, receiver) for sender, receiver in graph.edges if receiver != "logits"]
    assert len(between) == len(edges(table))
    for sender, receiver in between:
        row, column = (list(graph.nodes).index(end) for end in (sender, receiver))
        assert graph.edges[sender, receiver]["edge"] == pytest.approx(float(found.edges[row, column]), abs=1e-5)
