from contextlib import ExitStack
from functools import lru_cache

import numpy as np
import pytest
import torch

from an_neuron.errors import UserError
from an_neuron.patching import (
    SITES,
    Sweep,
    logit_difference,
    patch_neurons,
    patch_site,
    patched_differences,
    recovery,
    unpatched_differences,
)
from an_neuron.prompts import Pair

FIRST_DIFFERENT = 3
PAIR = Pair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9])
SHORT = Pair([0, 5, 14, 2], [0, 5, 15, 2])
MICRO = Pair([0, 1], [0, 2])
EVERYWHERE = slice(None)


@lru_cache
def tokens(tiny):
    """Return as answer and foil the two tokens between which the model changes its mind most."""
    change = tiny.logits(PAIR.clean)[-1] - tiny.logits(PAIR.corrupted)[-1]
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


def slow_difference(tiny, pair, module, place, before):
    """Run the clean prompt for its activation, then the corrupted one with that activation at one place."""
    clean = []

    def keep(activation):
        clean.append(activation.clone())
        return activation

    def put(activation):
        activation = activation.clone()
        activation[0][place] = clean[0][0][place]
        return activation

    hooked_difference(tiny, pair.clean, module, keep, before)
    return hooked_difference(tiny, pair.corrupted, module, put, before)


def site_module(tiny, layer, site):
    return tiny.module(layer, {"resid_pre": "", "attn_out": tiny.parts.attn, "mlp_out": tiny.parts.mlp}[site])


def assert_close(sweep, patched):
    expected = torch.as_tensor(patched, dtype=torch.float32).reshape(sweep.patched.shape)
    size = float((sweep.clean - sweep.corrupted).abs().max())
    assert size > 0.1
    assert float((sweep.patched - expected).abs().max()) < 1e-5 * max(size, float(expected.abs().max()))


def patch_all(tiny, hook, put):
    """Return recovery when one patch does all that `put` does."""
    patched = patched_differences(tiny.raw, PAIR, hook, put, torch.arange(1), *tokens(tiny), 1)
    clean, corrupted = unpatched_differences(tiny.raw, [PAIR], *tokens(tiny))
    return float(recovery(patched, clean, corrupted))


def put_everything(corrupted, clean, _):
    corrupted[:] = clean


@pytest.mark.parametrize("site", SITES)
def test_each_site_equals_one_hooked_forward_a_patch(tiny, site):
    sweep = patch_site(tiny.raw, [PAIR], site, *tokens(tiny))
    slow = [
        slow_difference(tiny, PAIR, site_module(tiny, layer, site), pos, before=site == "resid_pre")
        for layer in range(2)
        for pos in range(len(PAIR.clean))
    ]
    assert_close(sweep, slow)
    assert len({round(value, 4) for value in slow}) > 2, "different patches do different things"


@pytest.mark.parametrize("layer", [0, 1])
def test_each_neuron_equals_one_hooked_forward_a_patch(tiny, layer):
    sweep = patch_neurons(tiny.raw, [PAIR], layer, *tokens(tiny))
    module = tiny.module(layer, tiny.parts.down)
    places = [(EVERYWHERE, neuron) for neuron in range(tiny.w_out(layer).shape[0])]
    assert_close(sweep, [slow_difference(tiny, PAIR, module, place, before=True) for place in places])


def test_unpatched_differences_are_hugging_faces_own(tiny):
    answer, foil = tokens(tiny)
    clean, corrupted = unpatched_differences(tiny.raw, [PAIR, SHORT], answer, foil)
    for found, prompts in ((clean, [PAIR.clean, SHORT.clean]), (corrupted, [PAIR.corrupted, SHORT.corrupted])):
        logits = [tiny.logits(ids)[-1] for ids in prompts]
        assert found.tolist() == pytest.approx([float(row[answer] - row[foil]) for row in logits], abs=1e-5)


def test_raw_and_processed_weights_agree(tiny):
    for site in SITES:
        raw, processed = (patch_site(model, [PAIR], site, *tokens(tiny)) for model in (tiny.raw, tiny.processed))
        assert_close(raw, processed.patched)
    raw, processed = (patch_neurons(model, [PAIR], 1, *tokens(tiny)) for model in (tiny.raw, tiny.processed))
    assert_close(raw, processed.patched)


def test_nothing_patched_recovers_nothing(tiny):
    def put_corrupted(corrupted, clean, _):
        assert not torch.equal(corrupted[0], clean)
        corrupted[:] = corrupted.clone()

    for hook in ("blocks.0.hook_resid_pre", "blocks.1.hook_attn_out", "blocks.1.mlp.hook_post"):
        assert patch_all(tiny, hook, put_corrupted) == pytest.approx(0, abs=1e-6)


def test_the_whole_stream_patched_recovers_everything(tiny):
    for layer in range(2):
        hook = f"blocks.{layer}.hook_resid_pre"
        assert patch_all(tiny, hook, put_everything) == pytest.approx(1, abs=1e-5)


def test_all_neurons_patched_equal_the_mlp_patched(tiny):
    for layer in range(2):
        hooks = (f"blocks.{layer}.mlp.hook_post", f"blocks.{layer}.hook_mlp_out")
        neurons, mlp = (patch_all(tiny, hook, put_everything) for hook in hooks)
        assert neurons == pytest.approx(mlp, abs=1e-5)
        assert abs(mlp) > 1e-3


@pytest.mark.parametrize("site", SITES)
def test_positions_before_the_first_different_token_recover_nothing(tiny, site):
    found = patch_site(tiny.raw, [PAIR], site, *tokens(tiny)).recovery
    assert float(found[:, :FIRST_DIFFERENT].abs().max()) < 1e-6
    assert float(found[:, FIRST_DIFFERENT:].abs().max()) > 1e-2


def test_only_the_different_token_matters_before_the_first_layer(tiny):
    found = patch_site(tiny.raw, [PAIR], "resid_pre", *tokens(tiny)).recovery[0]
    expected = [float(pos == FIRST_DIFFERENT) for pos in range(len(PAIR.clean))]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_the_size_of_batches_changes_nothing(tiny_gpt2, rows):
    model = tiny_gpt2.raw
    sites = [
        patch_site(model, [PAIR], site, *tokens(tiny_gpt2), size).recovery for site in SITES for size in (32, rows)
    ]
    neurons = [patch_neurons(model, [PAIR], 1, *tokens(tiny_gpt2), size).recovery for size in (32, rows)]
    for default, other in (sites[:2], sites[2:4], sites[4:], neurons):
        assert float((default - other).abs().max()) < 1e-6


def test_micro_neurons_recover_what_is_worked_out_by_hand(micro):
    sweep = patch_neurons(micro.raw, [MICRO], 0, 3, 4)
    # Clean (4, 3, 0)/5: 30·0.8 + 15·0.6 + 6. Corrupted (-2, -2, 1)/3: -20 - 10 + 6 - 5.
    assert sweep.clean.tolist() == pytest.approx([39])
    assert sweep.corrupted.tolist() == pytest.approx([-29])
    # Neuron 0 makes it (2, -2, 1)/3: 20 - 10 + 6 - 5. Neuron 1, silenced, makes it (0, 0, 1): 6 - 15.
    assert sweep.patched[0].tolist() == pytest.approx([11, -9, -29])
    assert sweep.recovery.tolist() == pytest.approx([40 / 68, 20 / 68, 0])


def test_micro_sites_recover_what_is_worked_out_by_hand(micro):
    # The clean MLP makes the last position (4, 0, 1)/sqrt(17): (120 - 15)/sqrt(17) + 6.
    expected = {"resid_pre": [0, 1], "attn_out": [0, 0], "mlp_out": [0, (105 / np.sqrt(17) + 6 + 29) / 68]}
    for site, values in expected.items():
        found = patch_site(micro.raw, [MICRO], site, 3, 4).recovery
        assert found.tolist() == [pytest.approx(values, abs=1e-6)]


def test_pairs_of_different_length_are_aligned_at_their_ends(tiny_gpt2):
    model = tiny_gpt2.raw
    both = patch_site(model, [PAIR, SHORT], "mlp_out", *tokens(tiny_gpt2))
    alone = [patch_site(model, [pair], "mlp_out", *tokens(tiny_gpt2)) for pair in (PAIR, SHORT)]
    padding = len(PAIR.clean) - len(SHORT.clean)
    assert both.patched[1, :, :padding].isnan().all()
    torch.testing.assert_close(both.patched[0], alone[0].patched[0])
    torch.testing.assert_close(both.patched[1, :, padding:], alone[1].patched[0])
    torch.testing.assert_close(both.recovery[:, :padding], alone[0].recovery[:, :padding])
    torch.testing.assert_close(both.recovery_per_pair[1, :, padding:], alone[1].recovery)


def test_neurons_of_several_pairs_are_each_pairs_own(tiny_gpt2):
    both = patch_neurons(tiny_gpt2.raw, [PAIR, SHORT], 0, *tokens(tiny_gpt2))
    for number, pair in enumerate((PAIR, SHORT)):
        alone = patch_neurons(tiny_gpt2.raw, [pair], 0, *tokens(tiny_gpt2))
        torch.testing.assert_close(both.recovery_per_pair[number], alone.recovery)


def test_mean_recovery_is_the_ratio_of_mean_differences():
    patched = torch.tensor([[torch.nan, 1.0], [1.0, 4.0]])
    sweep = Sweep(clean=torch.tensor([2.0, 4.0]), corrupted=torch.tensor([0.0, -2.0]), patched=patched)
    # First position, pair 1 alone: (1 + 2)/(4 + 2). Second, means: (2.5 + 1)/(3 + 1).
    assert sweep.recovery.tolist() == pytest.approx([0.5, 0.875])
    assert sweep.recovery_per_pair[:, 1].tolist() == pytest.approx([0.5, 1.0])
    assert sweep.recovery_per_pair[0, 0].isnan()
    assert float(sweep.recovery_per_pair[1, 0]) == pytest.approx(0.5)


def test_nothing_to_recover_is_refused():
    one = torch.tensor([1.0])
    with pytest.raises(UserError, match="nothing to recover"):
        recovery(one, clean=one, corrupted=one)
    with pytest.raises(UserError, match="nothing to recover"):
        _ = Sweep(clean=one, corrupted=one, patched=torch.tensor([[0.0, 1.0]])).recovery


def test_the_logit_difference_is_of_the_last_position():
    logits = torch.tensor([[[9.0, 9, 0], [1, 5, 2]], [[0, 0, 7], [3, 3.5, 8]]])
    assert logit_difference(logits, answer=1, foil=2).tolist() == [3.0, -4.5]
