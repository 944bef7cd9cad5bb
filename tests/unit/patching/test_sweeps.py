from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from slow_reference import at_position, one_forward_per_patch

from an_neuron.errors import UserError
from an_neuron.patching import runs
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.sweep import Sweep, recovery
from an_neuron.patching.sweeps import (
    HEAD_SITES,
    SITES,
    patch_heads,
    patch_neurons,
    patch_sites,
    patch_sites_and_heads,
)
from an_neuron.patching.wavefront import Pass
from an_neuron.prompts.pairs import PromptPair

FIRST_DIFFERENT = 3
PROMPT_PAIR = PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9])
SEVERAL = PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 7, 12, 6, 2, 9])
SHORT = PromptPair([0, 5, 14, 2], [0, 5, 15, 2])
MICRO = PromptPair([0, 1], [0, 2])


@lru_cache
def engine(tiny):
    return Engine(tiny.raw)


def patch_site(tiny, prompt_pairs, site, metric=None, **options):
    return patch_sites(engine(tiny), prompt_pairs, metric or LogitDifference(*tokens(tiny)), [site], **options)[site]


def patch_layer(tiny, prompt_pairs, layer, metric=None, **options):
    sweep = patch_neurons(engine(tiny), prompt_pairs, metric or LogitDifference(*tokens(tiny)), [layer], **options)
    return replace(sweep, patched=sweep.patched[:, 0])


@lru_cache
def tokens(tiny):
    """Return as answer and foil the two tokens between which the model changes its mind most."""
    change = tiny.logits(PROMPT_PAIR.clean)[-1] - tiny.logits(PROMPT_PAIR.corrupted)[-1]
    return int(change.argmax()), int(change.argmin())


def hooked_difference(tiny, ids, module, replaced, before):
    """Return the logit difference of Hugging Face's model while `replaced` changes a module's input or output."""

    def change_input(_, args, kwargs):
        return (replaced(args[0]), *args[1:]), kwargs

    def change_output(_, args, output):
        return (replaced(output[0]), *output[1:]) if isinstance(output, tuple) else replaced(output)

    with ExitStack() as stack:
        if before:
            handle = module.register_forward_pre_hook(change_input, with_kwargs=True)
        else:
            handle = module.register_forward_hook(change_output)
        stack.callback(handle.remove)
        logits = tiny.logits(ids)
    answer, foil = tokens(tiny)
    return float(logits[-1, answer] - logits[-1, foil])


def assert_close(sweep, patched, tolerance=1e-5):
    expected = torch.as_tensor(patched, dtype=torch.float32).reshape(sweep.patched.shape)
    size = float((sweep.clean - sweep.corrupted).abs().max())
    spread = float(expected.max() - expected.min())
    assert spread > 0.01
    assert float((sweep.patched - expected).abs().max()) < tolerance * max(1, size, spread)


def test_clean_and_corrupted_are_hugging_faces_own(tiny):
    answer, foil = tokens(tiny)
    sweep = patch_layer(tiny, [PROMPT_PAIR, SHORT], 0)
    prompts = (
        (sweep.clean, [PROMPT_PAIR.clean, SHORT.clean]),
        (sweep.corrupted, [PROMPT_PAIR.corrupted, SHORT.corrupted]),
    )
    for found, ids in prompts:
        logits = [tiny.logits(some)[-1] for some in ids]
        assert found.tolist() == pytest.approx([float(row[answer] - row[foil]) for row in logits], abs=1e-5)


def test_raw_and_processed_weights_agree(tiny):
    metric = LogitDifference(*tokens(tiny))
    if tiny.name in ("gpt2", "gpt_neox"):  # processing leaves their joint query-key-value weights as they were
        with pytest.raises(UserError, match="before its weights are processed"):
            Engine(tiny.processed)
        return
    raw, processed = (patch_sites(model, [PROMPT_PAIR], metric) for model in (tiny.raw, tiny.processed))
    for site in SITES:
        assert_close(raw[site], processed[site].patched, 1e-4)


@pytest.mark.parametrize("site", SITES)
def test_positions_before_the_first_different_token_recover_nothing(tiny, site):
    found = patch_site(tiny, [PROMPT_PAIR], site).recovery
    assert found[:, :FIRST_DIFFERENT].tolist() == [[0.0] * FIRST_DIFFERENT] * 2
    assert float(found[:, FIRST_DIFFERENT:].abs().max()) > 1e-2


def test_only_the_different_token_matters_before_the_first_layer(tiny):
    found = patch_site(tiny, [PROMPT_PAIR], "resid_pre").recovery[0]
    expected = [float(pos == FIRST_DIFFERENT) for pos in range(len(PROMPT_PAIR.clean))]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("tokens_per_wave", [1, 9, 40])
def test_the_size_of_waves_changes_nothing(tiny, tokens_per_wave):
    metric = LogitDifference(*tokens(tiny))
    whole, cut = (
        patch_sites(engine(tiny), [PROMPT_PAIR], metric, tokens_per_wave=size) for size in (None, tokens_per_wave)
    )
    for site in SITES:
        assert float((whole[site].recovery - cut[site].recovery).abs().max()) < 1e-5
    whole, cut = (
        patch_neurons(engine(tiny), [PROMPT_PAIR], metric, tokens_per_wave=size) for size in (None, tokens_per_wave)
    )
    assert float((whole.recovery - cut.recovery).abs().max()) < 1e-5


def test_the_same_run_gives_the_same_bits(tiny):
    first, second = (patch_neurons(engine(tiny), [PROMPT_PAIR], LogitDifference(*tokens(tiny))) for _ in range(2))
    assert torch.equal(first.patched, second.patched)


def test_micro_neurons_recover_what_is_worked_out_by_hand(micro):
    sweep = patch_neurons(micro.raw, [MICRO], LogitDifference(3, 4))
    # Clean (4, 3, 0)/5: 30·0.8 + 15·0.6 + 6. Corrupted (-2, -2, 1)/3: -20 - 10 + 6 - 5.
    assert sweep.clean.tolist() == pytest.approx([39])
    assert sweep.corrupted.tolist() == pytest.approx([-29])
    # Neuron 0 makes it (2, -2, 1)/3: 20 - 10 + 6 - 5. Neuron 1, silenced, makes it (0, 0, 1): 6 - 15.
    assert sweep.patched[0, 0].tolist() == pytest.approx([11, -9, -29])
    assert sweep.recovery[0].tolist() == pytest.approx([40 / 68, 20 / 68, 0])


def test_micro_sites_recover_what_is_worked_out_by_hand(micro):
    # The clean MLP makes the last position (4, 0, 1)/sqrt(17): (120 - 15)/sqrt(17) + 6.
    expected = {"resid_pre": [0, 1], "attn_out": [0, 0], "mlp_out": [0, (105 / np.sqrt(17) + 6 + 29) / 68]}
    for site, values in expected.items():
        found = patch_sites(micro.raw, [MICRO], LogitDifference(3, 4))[site].recovery
        assert found.tolist() == [pytest.approx(values, abs=1e-6)]


def test_prompt_pairs_of_different_length_are_aligned_at_their_ends(tiny_gpt2):
    both = patch_site(tiny_gpt2, [PROMPT_PAIR, SHORT], "mlp_out")
    alone = [patch_site(tiny_gpt2, [prompt_pair], "mlp_out") for prompt_pair in (PROMPT_PAIR, SHORT)]
    padding = len(PROMPT_PAIR.clean) - len(SHORT.clean)
    assert both.patched[1, :, :padding].isnan().all()
    torch.testing.assert_close(both.patched[0], alone[0].patched[0])
    torch.testing.assert_close(both.patched[1, :, padding:], alone[1].patched[0])
    torch.testing.assert_close(both.recovery[:, :padding], alone[0].recovery[:, :padding])
    torch.testing.assert_close(both.recovery_per_prompt_pair[1, :, padding:], alone[1].recovery)


def test_neurons_of_several_prompt_pairs_are_each_prompt_pairs_own(tiny_gpt2):
    both = patch_layer(tiny_gpt2, [PROMPT_PAIR, SHORT], 0)
    for number, prompt_pair in enumerate((PROMPT_PAIR, SHORT)):
        alone = patch_layer(tiny_gpt2, [prompt_pair], 0)
        torch.testing.assert_close(both.recovery_per_prompt_pair[number], alone.recovery)


def test_sites_and_heads_in_one_call_are_those_of_two(tiny):
    pairs, metric = [PROMPT_PAIR, SHORT, SEVERAL], LogitDifference(*tokens(tiny))
    heads = ["z", "v"]
    found = patch_sites_and_heads(engine(tiny), pairs, metric, SITES, heads)
    apart = patch_sites(engine(tiny), pairs, metric) | patch_heads(engine(tiny), pairs, metric, heads)
    assert [*found] == [*apart]
    for site, sweep in apart.items():
        assert found[site].axes == sweep.axes
        torch.testing.assert_close(found[site].patched, sweep.patched, atol=1e-5, rtol=1e-5, equal_nan=True)


def test_many_prompt_pairs_are_what_each_is_alone(tiny, monkeypatch):
    """Those that begin alike, and are as long, share what is recorded of their first tokens."""
    alike = PromptPair([0, 3, 4, 2, 6, 8, 9], [0, 3, 4, 15, 6, 8, 9])
    longer = PromptPair([0, 3, 4, 5, 6, 8, 9, 2], [0, 3, 4, 12, 6, 8, 9, 2])
    pairs, metric, recorded = [PROMPT_PAIR, alike, longer, PROMPT_PAIR], LogitDifference(*tokens(tiny)), []

    def recording(model, ids, length):
        recorded.append((len(ids), length))
        return record_prefix(model, ids, length)

    record_prefix = runs.record_prefix
    alone = [patch_sites_and_heads(engine(tiny), [pair], metric, head_sites=["z"]) for pair in pairs]
    monkeypatch.setattr(runs, "record_prefix", recording)
    together = patch_sites_and_heads(engine(tiny), pairs, metric, head_sites=["z"])
    assert recorded == [(7, 3), (8, 3)]
    for site, sweep in together.items():
        for number, each in enumerate(alone):
            width = each[site].patched.shape[-1]  # shorter prompts are aligned at their ends
            found = sweep.patched[number, ..., -width:]
            torch.testing.assert_close(found, each[site].patched[0], atol=1e-5, rtol=1e-5)


def test_mean_recovery_is_the_ratio_of_mean_differences():
    patched = torch.tensor([[torch.nan, 1.0], [1.0, 4.0]])
    clean, corrupted = torch.tensor([2.0, 4.0]), torch.tensor([0.0, -2.0])
    sweep = Sweep(clean, corrupted, patched)
    # First position, prompt pair 1 alone: (1 + 2)/(4 + 2). Second, means: (2.5 + 1)/(3 + 1).
    assert sweep.recovery.tolist() == pytest.approx([0.5, 0.875])
    assert sweep.recovery_per_prompt_pair[:, 1].tolist() == pytest.approx([0.5, 1.0])
    assert sweep.recovery_per_prompt_pair[0, 0].isnan()
    assert float(sweep.recovery_per_prompt_pair[1, 0]) == pytest.approx(0.5)


def test_nothing_to_recover_is_refused():
    one = torch.tensor([1.0])
    assert recovery(one, clean=one, corrupted=one).isnan().all()
    with pytest.raises(UserError, match="nothing to recover"):
        _ = Sweep(one, one, torch.tensor([[0.0, 1.0]])).recovery


def test_standard_error_is_that_of_the_prompt_pairs():
    clean, corrupted = torch.tensor([2.0, 4.0, 1.0]), torch.tensor([0.0, -2.0, 0.0])
    patched = torch.tensor([[1.0, 2.0], [1.0, torch.nan], [0.8, torch.nan]])
    sweep = Sweep(clean, corrupted, patched)
    # Recoveries 0.5, 0.5 and 0.8: their standard deviation is sqrt(0.03), divided by sqrt(3).
    assert float(sweep.standard_error[0]) == pytest.approx(0.1)
    assert sweep.standard_error[1].isnan()


def assert_equals_slow_reference(tiny, found, prompt_pair, site, items, put, noising=False):
    """Hold a sweep of one prompt pair, [layer, item], against one hooked TransformerLens forward per patch."""
    answer, foil = tokens(tiny)
    run = PromptPair(prompt_pair.corrupted, prompt_pair.clean) if noising else prompt_pair
    slow = [one_forward_per_patch(tiny.raw, run, site, layer, items, put, answer, foil) for layer in range(2)]
    assert_close(found, torch.stack(slow))


def test_noising_equals_transformer_lens_hooks(tiny):
    """The other direction; `test_architectures.py` holds the usual one against ordinary forwards."""
    found = patch_sites(engine(tiny), [SEVERAL], LogitDifference(*tokens(tiny)), noising=True)
    for site in SITES:
        assert_equals_slow_reference(
            tiny, found[site], SEVERAL, site, range(len(SEVERAL.clean)), at_position, noising=True
        )


def test_queries_that_share_keys_have_fewer_key_heads(tiny):
    found = patch_heads(engine(tiny), [PROMPT_PAIR], LogitDifference(*tokens(tiny)), [*HEAD_SITES, "k"])
    shared = 4 if tiny.name in ("gpt2", "gpt_neox") else 2
    assert [found[site].patched.shape[-1] for site in ("z", "pattern", "v", "k")] == [4, 4, shared, shared]


def test_neurons_by_position_have_their_places(tiny_gpt2):
    places = [(pos, neuron) for neuron in range(24) for pos in range(len(PROMPT_PAIR.clean))]

    def put(corrupted, clean, place):
        corrupted[0][place] = clean[0][place]

    found = patch_neurons(engine(tiny_gpt2), [PROMPT_PAIR], LogitDifference(*tokens(tiny_gpt2)), per_position=True)
    assert found.patched.shape == (1, 2, 24, len(PROMPT_PAIR.clean))
    assert found.recovery[..., :FIRST_DIFFERENT].abs().max() == 0
    assert_equals_slow_reference(tiny_gpt2, found, PROMPT_PAIR, "post", places, put)


def test_residual_stream_between_attention_and_mlp_is_patched_as_a_whole(tiny):
    """Patched everywhere in one layer by what attention adds, since nothing but it and resid_pre is in the stream."""
    if tiny.parts.mid is None:
        with pytest.raises(UserError, match="no site 'resid_mid'"):
            patch_site(tiny, [PROMPT_PAIR], "resid_mid")
        return
    found = patch_site(tiny, [PROMPT_PAIR], "resid_mid").recovery
    last = len(PROMPT_PAIR.clean) - 1
    # In the last layer only the last position counts, and a patched stream there leaves nothing of the corrupted run.
    assert found[1].tolist() == pytest.approx([0.0] * last + [1.0], abs=1e-5)
    # Attention moves nothing after it in the last layer: the patch of layer 0 at one position is resid_pre's of layer 1
    # but for the MLP's part there, which the slow way adds by hand.
    slow = [slow_middle(tiny, PROMPT_PAIR, 0, pos) for pos in range(len(PROMPT_PAIR.clean))]
    size = float((tiny.logits(PROMPT_PAIR.clean) - tiny.logits(PROMPT_PAIR.corrupted))[-1].abs().max())
    assert float(
        (patch_site(tiny, [PROMPT_PAIR], "resid_mid").patched[0, 0] - torch.tensor(slow)).abs().max()
    ) < 1e-5 * max(1, size)


def slow_middle(tiny, prompt_pair, layer, pos):
    """Patch the stream before the MLP by hand: attention adds what makes it the clean one at a position."""
    module, middle = tiny.module(layer, tiny.parts.attn), tiny.module(layer, tiny.parts.mid)
    seen = {}

    def keep(name):
        def kept(activation):
            seen[name] = activation.clone()
            return activation

        return kept

    hooked_difference(tiny, prompt_pair.clean, middle, keep("clean"), before=True)
    hooked_difference(tiny, prompt_pair.corrupted, middle, keep("corrupted"), before=True)

    def put(activation):
        activation = activation.clone()
        activation[0, pos] += seen["clean"][0, pos] - seen["corrupted"][0, pos]
        return activation

    return hooked_difference(tiny, prompt_pair.corrupted, module, put, before=False)


def test_any_function_of_residual_or_logits_is_a_metric(tiny):
    answer, foil = tokens(tiny)

    def by_logits(residual, logits):
        return logits(None)[:, answer] - logits(None)[:, foil]

    assert_close(patch_layer(tiny, [PROMPT_PAIR], 1), patch_layer(tiny, [PROMPT_PAIR], 1, metric=by_logits).patched)
    norm = patch_layer(tiny, [PROMPT_PAIR], 1, metric=lambda residual, logits: residual.norm(dim=-1))
    assert float(norm.patched.std()) > 0


def test_the_engine_leaves_the_bridge_as_it_was(tiny):
    ids = torch.tensor([PROMPT_PAIR.clean])
    before = tiny.raw(ids)
    patch_layer(tiny, [PROMPT_PAIR], 0)
    assert torch.equal(tiny.raw(ids), before)


def test_a_wave_that_does_not_fit_is_halved(tiny_gpt2, monkeypatch, caplog, refusal):
    expected = patch_layer(tiny_gpt2, [PROMPT_PAIR], 0)
    sizes = []

    class Small(Pass):
        def sweep(self, patches):
            rows = sum(map(len, patches))
            if rows > 5:
                raise refusal
            sizes.append(rows)
            return super().sweep(patches)

    monkeypatch.setattr("an_neuron.patching.engine.Pass", Small)
    found = patch_layer(tiny_gpt2, [PROMPT_PAIR], 0)
    assert_close(found, expected.patched)
    assert max(sizes) in (3, 4, 5)
    assert "out of memory; going on with" in caplog.text


def test_a_device_too_small_for_one_patch_is_named(tiny_gpt2, monkeypatch):
    class Full(Pass):
        def sweep(self, patches):
            raise torch.OutOfMemoryError

    monkeypatch.setattr("an_neuron.patching.engine.Pass", Full)
    with pytest.raises(UserError, match="Not even one patch"):
        patch_layer(tiny_gpt2, [PROMPT_PAIR], 0)


def test_a_bridge_that_does_something_else_is_refused(tiny_gpt2):
    model = tiny_gpt2.raw
    model.add_perma_hook("blocks.0.hook_mlp_out", lambda activation, hook: 2 * activation)
    try:
        with pytest.raises(UserError, match="cannot be patched exactly"):
            Engine(model)
    finally:
        model.reset_hooks(including_permanent=True)


def test_layers_and_sites_that_are_not_there_are_named(tiny_gpt2):
    with pytest.raises(UserError, match="no layer 2; this model has layers 0 to 1"):
        patch_layer(tiny_gpt2, [PROMPT_PAIR], 2)
    with pytest.raises(UserError, match="no site 'resid_post'"):
        patch_site(tiny_gpt2, [PROMPT_PAIR], "resid_post")
    with pytest.raises(UserError, match="the same prompt"):
        patch_layer(tiny_gpt2, [PromptPair(PROMPT_PAIR.clean, PROMPT_PAIR.clean)], 0)
    with pytest.raises(UserError, match="equally many tokens"):
        patch_layer(tiny_gpt2, [PromptPair(PROMPT_PAIR.clean, SHORT.clean)], 0)


def test_engines_live_side_by_side(tiny_gpt2, tiny_of):
    """A sweep of one engine, run inside another's, changes neither; a model without an engine stays ordinary."""
    other = tiny_of("llama")
    expected = [patch_layer(tiny, [PROMPT_PAIR], 0).patched for tiny in (tiny_gpt2, other)]
    nested = []

    def metric(residual, logits):
        if not nested:
            nested.append(torch.zeros(0))  # of the sweep that follows, whose metric is an ordinary one
            nested.append(patch_layer(other, [PROMPT_PAIR], 0).patched)
        return LogitDifference(*tokens(tiny_gpt2))(residual, logits)

    assert torch.equal(patch_layer(tiny_gpt2, [PROMPT_PAIR], 0, metric=metric).patched, expected[0])
    assert torch.equal(nested[1], expected[1])


def test_another_models_prefix_is_not_seen(tiny_gpt2):
    """Under one engine's prefix, a second engine of the same model and a plain forward run as ever."""
    first, second = engine(tiny_gpt2), Engine(tiny_gpt2.raw)
    passed = Pass(first.fast, PROMPT_PAIR.corrupted, PROMPT_PAIR.clean, LogitDifference(*tokens(tiny_gpt2)), set())
    first, second = first.fast, second.fast
    ids = second.batch(PROMPT_PAIR.clean)
    before = second.model(ids, use_cache=False).logits
    with first.attention.under(passed.prefix):
        assert torch.equal(second.model(ids, use_cache=False).logits, before)
        with pytest.raises(RuntimeError):  # the prefix has positions that the mask of a whole prompt lacks
            first.model(ids, use_cache=False)
    assert torch.equal(first.model(ids, use_cache=False).logits, before)
