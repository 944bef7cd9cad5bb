"""Sets of places patched together, and what a patch puts in, held against TransformerLens' hooks."""

from functools import partial

import pytest
import torch
from slow_reference import HOOKS

from an_neuron.errors import UserError
from an_neuron.patching.engine import Engine
from an_neuron.patching.interventions import Mean, Negative, Scaled, Value, Zero
from an_neuron.patching.means import mean_over
from an_neuron.patching.metric import LogitDifference, NeuronActivation
from an_neuron.patching.rows import Node
from an_neuron.patching.sets import AllBut, Ordered
from an_neuron.patching.sweeps import patch_heads, patch_listed_neurons, patch_neurons, patch_sites
from an_neuron.patching.together import OpenPromptPairs, patch_both_ways, patch_together
from an_neuron.patching.wavefront import Pass
from an_neuron.prompts.pairs import PromptPair

PAIR = PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9])
ANSWER, FOIL = 7, 10
METRIC = LogitDifference(ANSWER, FOIL)
NEURON, OTHER, HEAD = Node(1, "post", 5), Node(0, "post", 3), Node(0, "z", 2)
SETS = [
    [NEURON],
    [NEURON, OTHER, HEAD],
    [Node(0, "resid_pre"), NEURON],
    [Node(0, "post", 3, position=-2), Node(1, "z", 1, position=-1)],
    [Node(0, "mlp_out", position=-4), Node(1, "attn_out")],
    [],
]


@pytest.fixture
def engine(tiny):
    return Engine(tiny.load())


def hooked_together(tiny, pair, nodes):
    """Return the logit difference with the nodes of a set patched, by TransformerLens' hooks."""
    names = {node: f"blocks.{node.layer}.{HOOKS[node.site]}" for node in nodes}
    _, cache = tiny.raw.run_with_cache(torch.tensor([pair.clean]), names_filter=list(names.values()))

    def put(activation, hook, node):
        activation, clean = activation.clone(), cache[hook.name]
        where = slice(None) if node.position is None else len(pair.clean) + node.position
        if node.site in ("z", "post"):
            activation[0, where, node.item] = clean[0, where, node.item]
        else:
            activation[0, where] = clean[0, where]
        return activation

    hooks = [(name, partial(put, node=node)) for node, name in names.items()]
    with torch.inference_mode():
        logits = tiny.raw.run_with_hooks(torch.tensor([pair.corrupted]), fwd_hooks=hooks)[0, -1]
    return float(logits[ANSWER] - logits[FOIL])


def test_sets_are_what_hooks_give(tiny, engine):
    swept = patch_together(engine, [PAIR], METRIC, SETS)
    expected = torch.tensor([[hooked_together(tiny, PAIR, nodes) for nodes in SETS]])
    torch.testing.assert_close(swept.patched, expected, atol=1e-5, rtol=1e-5)
    assert swept.way == "fast"
    assert len(swept.checks) == 5


def test_the_ordinary_way_gives_the_same(tiny):
    fast, ordinary = (patch_together(Engine(tiny.load(), way), [PAIR], METRIC, SETS) for way in ("fast", "ordinary"))
    torch.testing.assert_close(fast.patched, ordinary.patched, atol=1e-5, rtol=1e-5)


def test_a_set_of_one_is_its_patch(engine):
    neurons = [(0, 3), (1, 5)]
    alone = patch_listed_neurons(engine, [PAIR], METRIC, neurons)
    together = patch_together(engine, [PAIR], METRIC, [[Node(layer, "post", index)] for layer, index in neurons])
    torch.testing.assert_close(together.patched, alone.patched, atol=1e-5, rtol=1e-5)
    heads = patch_heads(engine, [PAIR], METRIC, ["z"])["z"].patched[0, 1]
    sets = [[Node(1, "z", head)] for head in range(len(heads))]
    torch.testing.assert_close(patch_together(engine, [PAIR], METRIC, sets).patched[0], heads, atol=1e-5, rtol=1e-5)


def test_the_first_stream_decides_all(engine):
    swept = patch_together(engine, [PAIR], METRIC, [[Node(0, "resid_pre")], []])
    torch.testing.assert_close(swept.recovery, torch.tensor([1.0, 0.0]), atol=1e-5, rtol=0)


def test_all_but_a_set_is_its_complement(engine):
    everything = [
        Node(layer, "post", index) for layer in range(2) for index in range(engine.ordinary.n_items(0, "post"))
    ]
    without = [node for node in everything if node != NEURON]
    listed = patch_together(engine, [PAIR], METRIC, [without, everything], noising=True)
    sites = [(0, "post"), (1, "post")]
    sets = [AllBut([NEURON], sites), AllBut([], sites)]
    complement = patch_together(engine, [PAIR], METRIC, sets, noising=True)
    torch.testing.assert_close(complement.patched, listed.patched, atol=1e-5, rtol=1e-5)


def test_waves_of_any_size_give_the_same(engine):
    whole, small = (
        patch_together(engine, [PAIR], METRIC, SETS, noising=True, tokens_per_wave=size) for size in (None, 8)
    )
    torch.testing.assert_close(small.patched, whole.patched, atol=1e-5, rtol=1e-5)


FURTHER = PromptPair([0, 3, 4, 14, 6, 8, 9], [0, 3, 4, 11, 6, 8, 9])


@pytest.mark.parametrize("way", ["fast", "ordinary"])
def test_prompt_pairs_opened_once_give_what_each_call_gives(tiny_of, way):
    engine, pairs = Engine(tiny_of("llama").load(), way), [PAIR, FURTHER]
    opened = OpenPromptPairs(engine, pairs, METRIC, {(node.layer, node.site) for nodes in SETS for node in nodes})
    for noising in (False, True, False):
        found = opened.patch(SETS, noising=noising)
        afresh = patch_together(engine, pairs, METRIC, SETS, noising=noising)
        for name in ("clean", "corrupted", "patched"):
            torch.testing.assert_close(getattr(found, name), getattr(afresh, name), atol=1e-5, rtol=1e-5)
        assert [check.what for check in found.checks] == [check.what for check in afresh.checks]
        assert found.axes == afresh.axes


@pytest.mark.parametrize("way", ["fast", "ordinary"])
def test_both_ways_are_those_of_two_calls(tiny_of, way):
    engine, pairs = Engine(tiny_of("llama").load(), way), [PAIR, FURTHER]
    both = patch_both_ways(engine, pairs, METRIC, SETS, SETS[1:3])
    there = patch_together(engine, pairs, METRIC, SETS)
    back = patch_together(engine, pairs, METRIC, SETS[1:3], noising=True)
    for found, expected in zip(both, (there, back), strict=True):
        torch.testing.assert_close(found.patched, expected.patched, atol=1e-5, rtol=1e-5)
        assert len(found.checks) == len(expected.checks)


def test_the_first_of_an_order_are_the_nodes_themselves(engine):
    nodes = [NEURON, HEAD, Node(0, "post", 3, position=-2), OTHER, Node(1, "mlp_out")]
    ordered, sites = Ordered(nodes), [(0, "post"), (1, "post")]
    firsts = [ordered.first(number) for number in range(6)]
    assert [[*first] for first in firsts] == [nodes[:number] for number in range(6)]
    found = patch_together(engine, [PAIR], METRIC, [*firsts, AllBut(firsts[1], sites)])
    listed = patch_together(engine, [PAIR], METRIC, [*(nodes[:number] for number in range(6)), AllBut([NEURON], sites)])
    assert torch.equal(found.patched, listed.patched)


def test_rows_that_are_alike_run_once_and_those_without_a_change_never(tiny_of, monkeypatch):
    ran = []

    def counting(passed, rows, look_at=()):
        ran.append(rows.first_layers())
        return run(passed, rows, look_at)

    run = Pass.run
    monkeypatch.setattr(Pass, "run", counting)
    sets = [[NEURON], [], [NEURON, OTHER], [NEURON, NEURON], [OTHER, NEURON], [], [Node(1, "post", 6)]]
    swept = patch_together(Engine(tiny_of("llama").load()), [PAIR], METRIC, sets)
    assert ran == [[0, 1, 1]]  # by the first layer; the last one is neuron 1.6
    values = swept.patched[0].tolist()
    assert values[0] == values[3] != values[2] == values[4]
    assert values[1] == values[5] == float(swept.corrupted)


def test_a_row_that_begins_later_is_the_same_in_a_wave_of_its_own(engine):
    sets = [[Node(layer, site)] for layer in (1, 0) for site in ("resid_pre", "attn_out", "mlp_out")]
    together = patch_together(engine, [PAIR], METRIC, sets).patched[0]
    alone = torch.cat([patch_together(engine, [PAIR], METRIC, [one]).patched[0] for one in sets])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_a_metric_inside_sees_what_sets_do_to_it(engine):
    inside = NeuronActivation(1, index=5)
    alone = patch_heads(engine, [PAIR], inside, ["z"])["z"].patched[0, 0, 2]
    together = patch_together(engine, [PAIR], inside, [[HEAD], [NEURON], [Node(1, "mlp_out")]])
    assert float(together.patched[0, 0]) == pytest.approx(float(alone), abs=1e-5)
    assert float(together.recovery[1]) == pytest.approx(1, abs=1e-5)
    assert float(together.patched[0, 2]) == pytest.approx(float(together.corrupted), abs=1e-5)  # comes after it


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([[Node(0, "pattern", 1)]], "'pattern' cannot be patched together with others; resid_pre, attn_out"),
        ([[Node(7, "post", 1)]], "There is no layer 7; this model has layers 0 to 1."),
        ([[Node(0, "post", 24)]], "There is no 0.24: layer 0 has 24 of post."),
        ([[Node(0, "z", 4)]], "There is no head 0.4: layer 0 has 4 of z."),
        ([[Node(0, "post", 1, position=-5)]], "Nothing can be changed at position -5 of post in layer 0:"),
        ([], "There is no set of nodes to patch."),
    ],
)
def test_nodes_that_are_not_there_are_named(tiny_gpt2, nodes, said):
    with pytest.raises(UserError, match="^" + said.replace("(", r"\(").split("(")[0]):
        patch_together(Engine(tiny_gpt2.load()), [PAIR], METRIC, nodes)


PUTS = {
    "zero": (Zero(), lambda own: 0 * own),
    "negative": (Negative(), lambda own: -own),
    "scaled": (Scaled(2.5), lambda own: 2.5 * own),
    "value": (Value(0.75), lambda own: torch.full_like(own, 0.75)),
}


def hooked_at(tiny, name, change):
    def put(activation, hook):
        activation = activation.clone()
        change(activation[0])
        return activation

    with torch.inference_mode():
        logits = tiny.raw.run_with_hooks(torch.tensor([PAIR.corrupted]), fwd_hooks=[(name, put)])[0, -1]
    return float(logits[ANSWER] - logits[FOIL])


@pytest.mark.parametrize("put", PUTS)
def test_what_is_put_in_is_what_hooks_put_in(tiny, engine, put):
    intervention, own = PUTS[put]

    def neuron(activation):
        activation[:, 5] = own(activation[:, 5])

    def head(activation):
        activation[:, 2] = own(activation[:, 2])

    def position(activation):
        activation[1] = own(activation[1])  # the prompts do not differ there, but it is changed all the same

    neurons = patch_neurons(engine, [PAIR], METRIC, [0], put=intervention).patched[0, 0, 5]
    heads = patch_heads(engine, [PAIR], METRIC, ["z"], put=intervention)["z"].patched[0, 1, 2]
    sites = patch_sites(engine, [PAIR], METRIC, ["mlp_out"], put=intervention)["mlp_out"].patched[0, 0, 1]
    together = patch_together(engine, [PAIR], METRIC, [[OTHER, HEAD], [Node(0, "post", 5)]], put=intervention)
    assert float(neurons) == pytest.approx(hooked_at(tiny, "blocks.0.mlp.hook_post", neuron), abs=1e-5)
    assert float(heads) == pytest.approx(hooked_at(tiny, "blocks.1.attn.hook_z", head), abs=1e-5)
    assert float(sites) == pytest.approx(hooked_at(tiny, "blocks.0.hook_mlp_out", position), abs=1e-5)
    assert float(together.patched[0, 1]) == pytest.approx(float(neurons), abs=1e-5)


def test_the_mean_over_prompts_is_put_in(tiny, engine):
    prompts = [PAIR.clean, [0, 9, 8]]
    mean = mean_over(engine.ordinary, prompts, [(0, "post")])
    _, first = tiny.raw.run_with_cache(torch.tensor([prompts[0]]), names_filter="blocks.0.mlp.hook_post")
    _, second = tiny.raw.run_with_cache(torch.tensor([prompts[1]]), names_filter="blocks.0.mlp.hook_post")
    both = torch.cat([cache["blocks.0.mlp.hook_post"][0] for cache in (first, second)])
    torch.testing.assert_close(mean.means[0, "post"].float(), both.mean(0), atol=1e-6, rtol=1e-5)

    def neuron(activation):
        activation[:, 5] = both[:, 5].mean()

    found = patch_neurons(engine, [PAIR], METRIC, [0], put=mean).patched[0, 0, 5]
    assert float(found) == pytest.approx(hooked_at(tiny, "blocks.0.mlp.hook_post", neuron), abs=1e-5)


def test_zero_twice_is_once_and_one_times_is_nothing(tiny_gpt2):
    engine = Engine(tiny_gpt2.load())
    zero = patch_together(engine, [PAIR], METRIC, [[NEURON], [NEURON, NEURON]], put=Zero())
    assert zero.patched[0, 0] == zero.patched[0, 1]
    same = patch_neurons(engine, [PAIR], METRIC, [0, 1], put=Scaled(1.0))
    torch.testing.assert_close(same.recovery, torch.zeros_like(same.recovery), atol=1e-5, rtol=0)


def test_a_mean_that_is_not_there_is_named(tiny_gpt2):
    with pytest.raises(UserError, match="There is no mean of post in layer 1"):
        patch_neurons(Engine(tiny_gpt2.load()), [PAIR], METRIC, [1], put=Mean({}))
