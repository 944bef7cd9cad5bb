"""Metrics inside the model, held against one hooked forward for each patch."""

import pytest
import torch
from slow_reference import HOOKS, at_head, at_pattern, at_position

from an_neuron.errors import UserError
from an_neuron.patching.drivers import drive
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import HeadOutput, NeuronActivation, Stream, layers_before
from an_neuron.patching.sweeps import patch_heads, patch_listed_neurons, patch_neurons, patch_sites
from an_neuron.prompts.pairs import PromptPair

PAIR = PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9])
LAST = len(PAIR.clean) - 1
DIRECTION = [1.0, -2.0, 0.5, 0.25]
ALONG = [float(number % 5 - 2) for number in range(16)]


def one_forward_per_patch(tiny, place, read, site, layer, items, put):
    """Return what a hook sees with each patch, by TransformerLens, [item]."""
    name = f"blocks.{layer}.{HOOKS[site]}"
    _, cache = tiny.raw.run_with_cache(torch.tensor([PAIR.clean]), names_filter=name)
    measured = []
    for item in items:

        def patch(activation, hook, item=item):
            activation = activation.clone()
            put(activation, cache[name], item)
            return activation

        def see(activation, hook):
            measured.append(float(read(activation[0])))

        hooks = [(name, patch), (place, see)]
        with torch.inference_mode():
            tiny.raw.run_with_hooks(torch.tensor([PAIR.corrupted]), fwd_hooks=hooks)
    return torch.tensor(measured)


METRICS = {
    "neuron": (
        NeuronActivation(1, index=5),
        "blocks.1.mlp.hook_post",
        lambda activation: activation[LAST, 5],
    ),
    "neuron before the last position": (
        NeuronActivation(1, index=5, position=-3),
        "blocks.1.mlp.hook_post",
        lambda activation: activation[LAST - 2, 5],
    ),
    "head": (
        HeadOutput(1, head=2, direction=DIRECTION),
        "blocks.1.attn.hook_z",
        lambda activation: activation[LAST, 2] @ torch.tensor(DIRECTION),
    ),
    "stream": (
        Stream(1, direction=ALONG),
        "blocks.1.hook_resid_pre",
        lambda activation: activation[LAST] @ torch.tensor(ALONG),
    ),
}
PUTS = {"resid_pre": at_position, "attn_out": at_position, "mlp_out": at_position, "pattern": at_pattern}


@pytest.mark.parametrize("way", ["fast", "ordinary"])
@pytest.mark.parametrize("named", METRICS)
def test_every_patch_before_a_metric_inside_equals_a_hooked_forward(tiny, named, way):
    metric, place, read = METRICS[named]
    engine = Engine(tiny.raw, way=way)
    swept = (
        {**patch_sites(engine, [PAIR], metric), **patch_heads(engine, [PAIR], metric, ["z"], noising=False)}
        if (named != "stream")
        else patch_sites(engine, [PAIR], metric, ["resid_pre"])
    )
    swept["post"] = patch_neurons(engine, [PAIR], metric)
    for site, sweep in swept.items():
        n_layers = layers_before(metric, site, 2)
        assert sweep.patched.shape[1] == n_layers
        for layer in range(n_layers):
            items = range(sweep.patched.shape[2])
            put = PUTS.get(site, at_head)
            slow = one_forward_per_patch(tiny, place, read, site, layer, items, put)
            size = max(float((sweep.clean - sweep.corrupted).abs()), float(slow.abs().max()))
            assert float((sweep.patched[0, layer] - slow).abs().max()) < 1e-5 * max(1.0, size), (site, layer)


def test_only_what_comes_before_can_be_patched(tiny_gpt2):
    engine = Engine(tiny_gpt2.raw)
    metric = NeuronActivation(1, index=5)
    assert patch_neurons(engine, [PAIR], metric).axes[0] == ("layer", [0])
    assert patch_sites(engine, [PAIR], metric, ["attn_out"])["attn_out"].axes[0] == ("layer", [0, 1])
    with pytest.raises(UserError, match="Neurons of layer 1 come after what is measured; patch layers below 1"):
        patch_neurons(engine, [PAIR], metric, [1])
    with pytest.raises(UserError, match="No layer's patches come before what is measured"):
        patch_sites(engine, [PAIR], Stream(0, direction=ALONG, position=-4), ["mlp_out"])


def test_a_site_without_layers_before_the_metric_has_none(tiny_gpt2):
    sweeps = patch_sites(Engine(tiny_gpt2.raw), [PAIR], NeuronActivation(0, index=5))
    assert [sweep.patched.shape[1] for sweep in sweeps.values()] == [1, 1, 0]
    whole = {site: sweep.in_layers(2) for site, sweep in sweeps.items()}
    assert whole["mlp_out"].patched.shape == whole["attn_out"].patched.shape == (1, 2, len(PAIR.clean))
    assert whole["mlp_out"].recovery.abs().max() == whole["attn_out"].recovery[1].abs().max() == 0
    assert torch.equal(whole["attn_out"].patched[:, 0], sweeps["attn_out"].patched[:, 0])
    assert whole["attn_out"].axes[0] == ("layer", range(2))


def test_the_stream_before_a_layer_is_the_whole_of_what_the_sites_recover(tiny_gpt2):
    """At the last position resid_pre of the measured layer, patched there, gives the clean value."""
    sweep = patch_sites(Engine(tiny_gpt2.raw), [PAIR], NeuronActivation(1, index=5), ["resid_mid"])["resid_mid"]
    assert float(sweep.recovery[1, -1]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (NeuronActivation(2, index=5), "no layer 2; this model has layers 0 to 1"),
        (NeuronActivation(1, index=24), "Layer 1 has no post 24; it has 0 to 23"),
        (HeadOutput(1, head=4, direction=DIRECTION), "Layer 1 has no z 4; it has 0 to 3"),
        (NeuronActivation(1, index=5, position=0), "Position 0 cannot be measured"),
        (NeuronActivation(1, index=5, position=-5), "before -4, the first one at which the prompts differ"),
        (Stream(1, site="pattern", direction=ALONG), "Nothing is measured at 'pattern'"),
    ],
)
def test_what_cannot_be_measured_is_said(tiny_gpt2, metric, said):
    with pytest.raises(UserError, match=said):
        patch_sites(tiny_gpt2.raw, [PAIR], metric, ["resid_pre"])


def test_a_neuron_that_does_not_change_is_driven_by_nothing(tiny_gpt2, monkeypatch, caplog):
    """Its tables have the shapes of others, and no values."""
    engine = Engine(tiny_gpt2.raw)
    silent = NeuronActivation(1, index=5)
    monkeypatch.setattr(NeuronActivation, "read", lambda self, activation, columns: 0 * activation[:, 0] + 2)
    sites, heads = drive(engine, [PAIR], silent, ["attn_out", "mlp_out"], ["z"])
    assert {sweep.patched.shape for sweep in sites.values()} == {(1, 2, len(PAIR.clean))}
    assert heads["z"].patched.shape == (1, 2, 4)
    assert all(sweep.recovery.isnan().all() for sweep in (*sites.values(), *heads.values()))
    assert heads["z"].clean.tolist() == heads["z"].corrupted.tolist() == [2]
    assert "Nothing drives the neuron here" in caplog.text


def test_drivers_cover_all_layers(tiny_gpt2):
    engine = Engine(tiny_gpt2.raw)
    sites, heads = drive(engine, [PAIR], NeuronActivation(0, index=5), ["attn_out"], ["z"])
    assert sites["attn_out"].patched.shape == (1, 2, len(PAIR.clean))
    assert heads["z"].recovery[1].tolist() == [0, 0, 0, 0]
    assert float(heads["z"].recovery[0].abs().max()) > 0


def test_neurons_that_do_not_change_leave_a_metric_inside_as_it_is(micro):
    """Neuron 2 is never active, so that no row is left to run; neuron 0 is 1 at the clean token alone."""
    pair = PromptPair([0, 1], [0, 2])
    swept = patch_listed_neurons(
        Engine(micro.load()), [pair], Stream(0, site="mlp_out", direction=[1, 1, 0, 0]), [(0, 2)]
    )
    assert float(swept.recovery[0]) == 0
