"""Spot checks: what they measure, and that they alone find an engine that is broken in many ways."""

import pytest
import torch

from an_neuron.errors import UserError
from an_neuron.model.hooks import first
from an_neuron.patching import passes, runs, wavefront
from an_neuron.patching.attention import SharedPrefix
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.sweeps import patch_heads, patch_neurons, patch_sites
from an_neuron.patching.wave_model import WaveModel
from an_neuron.patching.wavefront import Pass
from an_neuron.prompts.pairs import PromptPair

PROMPT_PAIR = PromptPair([0, 3, 4, 5, 6, 8, 9, 11, 12, 13], [0, 3, 4, 12, 6, 8, 9, 11, 12, 13])
SWEEPS = {
    "sites": lambda engine, metric: patch_sites(engine, [PROMPT_PAIR], metric),
    "heads": lambda engine, metric: patch_heads(engine, [PROMPT_PAIR], metric),
    "neurons": lambda engine, metric: patch_neurons(engine, [PROMPT_PAIR], metric),
}


@pytest.fixture
def fast(bridge_of):
    """Return the engine of an architecture, which is to take the fast way come what may."""
    return lambda name: Engine(bridge_of(name), way="fast")


def metric_of(engine):
    """Compare the two tokens between which the model changes its mind most."""
    with torch.inference_mode():
        clean, corrupted = (
            engine.ordinary.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
            for ids in (PROMPT_PAIR.clean, PROMPT_PAIR.corrupted)
        )
    change = clean - corrupted
    return LogitDifference(int(change.argmax()), int(change.argmin()))


def replaced(monkeypatch, owner, name, change):
    """Let a function of the engine return something else: change(what it returns, its arguments)."""
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args: change(original(*args), *args))


def wrong_sign(monkeypatch):
    replaced(monkeypatch, Pass, "_change_by_neurons", lambda change, *_: -change)


def wrong_factor(monkeypatch):
    replaced(monkeypatch, Pass, "_change_by_neurons", lambda change, *_: 1.01 * change)


def neuron_beside(monkeypatch):
    replaced(monkeypatch, Pass, "_change_by_neurons", lambda change, *_: change.roll(1, 0))


def position_beside(monkeypatch):
    replaced(monkeypatch, Pass, "_change_of_mlp_out", lambda change, *_: change.roll(1, 1))


def head_beside(monkeypatch):
    original = wavefront.put

    def put(rows, which, patches, source, place):
        return original(rows, which, patches, source.roll(8, -1) if place else source.roll(1, 0), place)

    monkeypatch.setattr(wavefront, "put", put)


def nothing_is_put(monkeypatch):
    monkeypatch.setattr(wavefront, "put", lambda rows, *_: rows)


def shorter_prefix(monkeypatch):
    """Forget the key and value of the position before the first different one."""

    def shorter(recorded, *_):
        base, source, prefix = recorded
        keys, values = (
            {layer: torch.cat([part[:, :-1], 0 * part[:, -1:]], dim=1) for layer, part in parts.items()}
            for parts in (prefix.keys, prefix.values)
        )
        return base, source, SharedPrefix(keys, values)

    replaced(monkeypatch, passes, "record_both", shorter)


def prefix_run_alone(monkeypatch):
    original = runs.record_prefix
    monkeypatch.setattr(runs, "record_prefix", lambda model, ids, length: original(model, [*ids[:length], 0], length))


def no_norm_behind_the_mlp(monkeypatch):
    monkeypatch.setattr(WaveModel, "mlp_norm", lambda *_: None)
    monkeypatch.setattr(WaveModel, "factor", lambda *_: 1.0)


def no_multiplier(monkeypatch):
    monkeypatch.setattr(WaveModel, "factor", lambda *_: 1.0)


def no_logit_scale(monkeypatch):
    monkeypatch.setattr(WaveModel, "_measure_scale", lambda *_: None)


def no_softcap(monkeypatch):
    replaced(monkeypatch, WaveModel, "_measure_scale", lambda _, model: setattr(model, "softcap", None))


def block_without_attention(monkeypatch):
    """Let rows skip a block's attention, as if its output were that of the base run."""

    def block(self, layer, rows, *_):
        positional, named = self.base.calls[layer]
        with self.model.attention.under(self.prefix):
            base = self.base.sites[layer, "resid_pre"][None]
            return rows + first(self.model.blocks[layer](base, *positional, **named)) - base

    monkeypatch.setattr(Pass, "_block", block)


BREAKS = [
    (wrong_sign, "GPT2LMHeadModel", "neurons"),
    (wrong_factor, "LlamaForCausalLM", "neurons"),
    (neuron_beside, "GPT2LMHeadModel", "neurons"),
    (position_beside, "GPT2LMHeadModel", "sites"),
    (head_beside, "LlamaForCausalLM", "heads"),
    (nothing_is_put, "GPT2LMHeadModel", "heads"),
    (shorter_prefix, "LlamaForCausalLM", "sites"),
    (prefix_run_alone, "Phi3ForCausalLM, longrope", "sites"),
    (no_norm_behind_the_mlp, "Gemma2ForCausalLM", "neurons"),
    (no_multiplier, "GraniteForCausalLM, multipliers", "neurons"),
    (no_logit_scale, "CohereForCausalLM, logit scale", "sites"),
    (no_softcap, "Gemma2ForCausalLM, low soft caps", "sites"),
    (block_without_attention, "GPT2LMHeadModel", "sites"),
]


@pytest.mark.parametrize(("broken", "name", "sweep"), BREAKS)
def test_a_broken_engine_is_found_by_spot_checks_alone(broken, name, sweep, fast, monkeypatch):
    metric = metric_of(fast(name))
    SWEEPS[sweep](fast(name), metric)  # right as it is
    broken(monkeypatch)
    with pytest.raises(UserError, match="spot check failed"):
        SWEEPS[sweep](fast(name), metric)


def test_a_failed_check_names_site_layer_and_both_values(fast, monkeypatch):
    wrong_sign(monkeypatch)
    engine = fast("GPT2LMHeadModel")
    said = r"post of layer \d, neuron \d+ gives -?[\d.]+, an ordinary forward -?[\d.]+\..*\(GPT2LMHeadModel\)"
    with pytest.raises(UserError, match=said):
        SWEEPS["neurons"](engine, metric_of(engine))


def test_both_prompts_and_the_largest_effect_are_checked(fast):
    engine = fast("GPT2LMHeadModel")
    sweep = SWEEPS["neurons"](engine, metric_of(engine))
    layer, neuron = divmod(int((sweep.patched - sweep.corrupted).abs().argmax()), sweep.patched.shape[-1])
    said = [check.what for check in sweep.checks]
    assert said[:2] == ["clean prompt", "corrupted prompt"]
    assert f"layer {layer}, neuron {neuron}" in said
    assert {check.site for check in sweep.checks[2:]} == {"post"}
    assert len(said) <= 12
    assert [check.ordinary for check in sweep.checks[:2]] == pytest.approx(
        [float(sweep.clean), float(sweep.corrupted)], abs=1e-4
    )
    assert sweep.rounding == max(abs(check.value - check.ordinary) for check in sweep.checks)
    assert 0 < sweep.rounding < 1e-4


def test_sites_share_a_dozen_forwards(fast):
    engine = fast("GPT2LMHeadModel")
    sweeps = SWEEPS["sites"](engine, metric_of(engine))
    assert [len(sweep.checks) for sweep in sweeps.values()] == [2 + 2] * 3  # one for each of two layers
    with_layers = {check.what.split(",")[0] for sweep in sweeps.values() for check in sweep.checks[2:]}
    assert with_layers == {"layer 0", "layer 1"}
