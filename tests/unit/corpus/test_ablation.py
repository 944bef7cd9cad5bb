import numpy as np
import pytest
import torch

from an_neuron.corpus.ablation import ablate
from an_neuron.corpus.ablations import INTERVENTIONS
from an_neuron.corpus.ablator import Ablator
from an_neuron.corpus.associations import Association
from an_neuron.errors import UserError

ANSWER, FOIL = 7, 11
MEANS = [0.7, -0.4, 1.3, 0.7]
ASSOCIATIONS = [
    Association(f"token {token}", token, layer, index, "listed")
    for token, layer, index in ((ANSWER, 1, 5), (8, 0, 3), (ANSWER, 1, 2), (9, 1, 5))
]
ROWS = np.random.default_rng(0).integers(1, 50, (5, 9)).astype(np.int32)
ROWS[:, 0] = 0
ROWS[1, 3] = ROWS[1, 7] = ROWS[4, 8] = ANSWER
ROWS[2, 5] = ROWS[3, 1] = FOIL
PLACED = {
    "zero": lambda old, mean: 0 * old,
    "mean": lambda old, mean: 0 * old + mean,
    "negated": lambda old, mean: -old,
}
QUANTITIES = ("loss", "probability", "logit_difference")


def ablator_of(model, associations=ASSOCIATIONS, means=MEANS):
    return Ablator(model, associations, FOIL, means)


def read(ablator, rows=ROWS):
    """Return loss, probability and logit difference, [association, run, row, pos]."""
    return [part.numpy() for part in ablator.read(torch.from_numpy(rows.astype(int)))]


def plain(tiny, row, association, mean, name=None):
    """Return the three quantities of one row at a time, by a hook on a freshly loaded model: the slow, obvious way."""

    def replace(_module, inputs):
        changed = inputs[0].clone()
        changed[..., association.index] = PLACED[name](changed[..., association.index], mean)
        return (changed,)

    handles = []
    if name is not None:
        module = tiny.module(association.layer, tiny.parts.down)
        handles = [module.register_forward_pre_hook(replace)]
    logits = tiny.logits(row)[:-1].double()
    for handle in handles:
        handle.remove()
    log_p = logits.log_softmax(-1)
    loss = -log_p[torch.arange(len(row) - 1), torch.tensor(row[1:])]
    difference = logits[:, ANSWER] - logits[:, FOIL]
    return [values.numpy() for values in (loss, log_p[:, association.token_id].exp(), difference)]


def slow(tiny, associations=ASSOCIATIONS, means=MEANS):
    """Return what `read` gives, one row, neuron and intervention at a time."""
    each = [
        [[plain(tiny, row, one, mean, name) for row in ROWS.tolist()] for name in (None, *INTERVENTIONS)]
        for one, mean in zip(associations, means, strict=True)
    ]
    return np.moveaxis(np.array(each), 3, 0)


def test_losses_are_those_of_one_plain_forward_for_each_row_neuron_and_intervention(tiny):
    """Gemma 2 has a norm behind the MLP, and a soft cap."""
    ablator = ablator_of(tiny.raw)
    found, expected = read(ablator), slow(tiny)
    for part, other in zip(found, expected, strict=True):
        assert part.shape == (4, 4, 5, 8)
        assert part == pytest.approx(other, abs=1e-4)
    loss = expected[0]
    assert (abs(loss[:, 1:] - loss[:, :1]).max((2, 3)) > 0.004).all(), "every intervention does something"
    plain_losses = ablator.plain_losses(torch.from_numpy(ROWS.astype(int))).numpy()
    assert plain_losses == pytest.approx(expected[0], abs=1e-4)


def test_only_the_blocks_above_run_again(tiny):
    """Of two layers: the neurons 1.5 and 1.2 run layer 1 again, the neuron 0.3 both; three interventions each."""
    ablator, calls = ablator_of(tiny.raw), []
    handles = [
        block.register_forward_pre_hook(lambda *_, layer=layer: calls.append(layer))
        for layer, block in enumerate(ablator._decoder.blocks)
    ]
    read(ablator)
    for handle in handles:
        handle.remove()
    assert calls == [0, 1] + 3 * [1] + 3 * [0, 1] + 3 * [1]


def test_the_other_way_gives_the_same(tiny):
    ablator = ablator_of(tiny.raw)
    above = read(ablator)
    ablator.way = "whole"
    for found, expected in zip(read(ablator), above, strict=True):
        assert found == pytest.approx(expected, abs=2e-5)


def test_neurons_that_are_set_to_what_they_are_change_nothing(micro):
    """Neuron 2 is never active: zero, its mean of 0 and minus 0 are what it is."""
    associations = [Association("c", 3, 0, 2, "studied")]
    rows = np.array([[0, 1, 2, 3]], np.int32)
    for part in read(Ablator(micro.raw, associations, 4, [0.0]), rows):
        assert (part[:, 1:] == part[:, :1]).all()


def test_what_a_neuron_does_is_worked_out_by_hand(micro):
    """Neuron 0 is 1 at token 1 alone, whose final stream is (4, 3, 0); see the fixture.

    Token 3's logit is 30a + 15b + 6 of the stream over its length: 39 with the neuron. Without it the stream is
    (0, 3, 0) and the logit 21; held at 0.25 it is (1, 3, 0); negated, (-4, 3, 0) and -9. The foil's logit, 15c, is 0.
    """
    associations = [Association("c", 3, 0, 0, "studied")]
    loss, probability, difference = read(Ablator(micro.raw, associations, 4, [0.25]), np.array([[0, 1, 3]], np.int32))
    held = 75 / 10**0.5 + 6
    assert difference[0, :, 0, 1] == pytest.approx([39, 21, held, -9], rel=1e-5)
    # The four other logits are 0: the loss of token 3 is log(1 + 4 exp(-logit)).
    assert loss[0, :, 0, 1] == pytest.approx(np.log1p(4 * np.exp([-39, -21, -held, 9.0])), rel=1e-5, abs=2e-6)
    assert probability[0, 3, 0, 1] == pytest.approx(1 / (1 + 4 * np.exp(9)), rel=1e-4)


def test_a_group_is_where_one_of_it_follows_and_its_probability_is_the_sum(tiny_gpt2):
    """A third association, of tokens of both others, shares the first one's neuron."""
    first, second = ASSOCIATIONS[0], ASSOCIATIONS[1]
    group = Association("x", first.token_id, first.layer, first.index, "listed", (second.token_id,))
    found = ablate(ablator_of(tiny_gpt2.raw, [*ASSOCIATIONS, group], [*MEANS, MEANS[0]]), ROWS, size=2)
    where = [(ROWS[:, 1:] == one.token_id).sum(1) for one in (first, second)]
    assert found.sums["count"][-1].tolist() == [[of, 0, 8 - of] for of in (where[0] + where[1]).tolist()]
    assert np.isnan(found.sums["logit_difference"][-1]).all()
    probability = found.sums["probability"].sum(-1)
    assert probability[-1] == pytest.approx(probability[0] + probability[1], rel=1e-5)


def test_logits_of_a_block_of_the_vocabulary_at_a_time_change_nothing(tiny, monkeypatch):
    expected = read(ablator_of(tiny.raw))
    for block in (1, 7, 49):
        monkeypatch.setattr("an_neuron.corpus.readout.BLOCK", block)
        for found, whole in zip(read(ablator_of(tiny.raw)), expected, strict=True):
            assert found == pytest.approx(whole, abs=2e-5)


def test_sums_are_those_over_each_rows_places(tiny_gpt2):
    found = ablate(ablator_of(tiny_gpt2.raw), ROWS, size=2)
    assert found.way == "above"
    assert 0 <= found.spot_check < 1e-4
    expected = slow(tiny_gpt2)
    following = ROWS[:, 1:]
    assert found.sums["count"][0].tolist() == [[0, 0, 8], [2, 0, 6], [0, 1, 7], [0, 1, 7], [2, 0, 6]]
    assert found.sums["count"][1, :, 1].sum() == 0, "another token has no foil"
    for number, association in enumerate(ASSOCIATIONS):
        of_answer = association.token_id == ANSWER
        token, foil = following == association.token_id, (following == FOIL) & of_answer
        for at, mask in enumerate((token, foil, ~token & ~foil)):
            assert (found.sums["count"][number, :, at] == mask.sum(1)).all()
            for name, (unablated, *ablated) in zip(QUANTITIES, expected[:, number], strict=True):
                if name == "logit_difference" and not of_answer:
                    assert np.isnan(found.sums[name][number]).all()
                    assert np.isnan(found.sums[f"{name}_change"][number]).all()
                    continue
                assert found.sums[name][number, :, at] == pytest.approx((unablated * mask).sum(1), abs=1e-3)
                for which, other in enumerate(ablated):
                    change = found.sums[f"{name}_change"][number, which, :, at]
                    assert change == pytest.approx(((other - unablated) * mask).sum(1), abs=1e-3)


def test_negating_twice_is_to_leave_it(tiny):
    """A model whose neuron writes the opposite, negated, is the model; its losses and the model's change places."""
    association = ASSOCIATIONS[:1]
    ablator = ablator_of(tiny.load(), association, MEANS[:1])
    weight = ablator._decoder.module(1, "post").weight
    with torch.no_grad():
        (weight if tiny.name == "gpt2" else weight.T)[5] *= -1
    for found, expected in zip(read(ablator), read(ablator_of(tiny.raw, association, MEANS[:1])), strict=True):
        assert found[:, [0, 3]] == pytest.approx(expected[:, [3, 0]], abs=2e-5)
        assert found[:, 1] == pytest.approx(expected[:, 1], abs=2e-5)


def test_a_device_out_of_memory_gets_half_the_rows(tiny_gpt2, monkeypatch, caplog, refusal):
    expected = ablate(ablator_of(tiny_gpt2.raw), ROWS, size=1)
    whole, sizes = Ablator.read, []

    def small(self, ids):
        if len(ids) > 1:
            raise refusal
        sizes.append(len(ids))
        return whole(self, ids)

    monkeypatch.setattr(Ablator, "read", small)
    found = ablate(ablator_of(tiny_gpt2.raw), ROWS, size=4)
    assert sizes == [1] + [1] * 5
    assert "going on with 2 rows at a time" in caplog.text
    for name, values in expected.sums.items():
        assert np.array_equal(found.sums[name], values, equal_nan=True)


def test_where_blocks_cannot_run_by_themselves_the_whole_model_does(tiny_gpt2, monkeypatch, caplog):
    expected = ablate(ablator_of(tiny_gpt2.raw), ROWS)

    def wrong(self, ids):
        yield from (residual.roll(1, -1) for residual in self._residuals_whole(ids))

    def refused(self, ids):
        yield self._forward(ids)
        raise UserError("its blocks hand on more than the residual stream.")

    for above, said in ((wrong, "In row 0 of the corpus losses differ"), (refused, "hand on more")):
        caplog.clear()
        monkeypatch.setattr(Ablator, "_residuals_above", above)
        found = ablate(ablator_of(tiny_gpt2.raw), ROWS)
        assert found.way == "whole"
        assert f"GPT2LMHeadModel runs as a whole for each neuron that is switched off, which is slower: {said}" in (
            caplog.text.replace("its blocks ", "")
        )
        assert found.sums["loss_change"] == pytest.approx(expected.sums["loss_change"], abs=1e-4)


def test_an_architecture_whose_blocks_share_more_is_read_as_a_whole(bridge_of, caplog):
    found = ablate(ablator_of(bridge_of("Gemma4ForCausalLM, shared keys")), ROWS)
    assert found.way == "whole"
    assert "its blocks hand on more than the residual stream" in caplog.text
    assert found.sums["loss_change"][0, 0].any()


def test_a_pass_that_is_not_the_plain_models_stops(tiny_gpt2, monkeypatch):
    """Here the readout is wrong, which no way of running the blocks mends."""
    ablator = ablator_of(tiny_gpt2.raw)
    read_out = Ablator._read_out

    def wrong(self, residual, ids):
        loss, *others = read_out(self, residual, ids)
        return loss + 0.01, *others

    monkeypatch.setattr(Ablator, "_read_out", wrong)
    with pytest.raises(UserError, match=r"losses differ by up to 1.0e-02 nats from those of plain forwards"):
        ablate(ablator, ROWS)


def test_ids_beyond_the_vocabulary_are_refused_with_the_place(tiny_gpt2):
    for row, wrong in ((0, 50), (3, -1)):
        rows = ROWS.copy()
        rows[row, 4] = wrong
        with pytest.raises(UserError, match=rf"Row {row} of the corpus has token {wrong} at position 4"):
            ablate(ablator_of(tiny_gpt2.raw), rows, size=2)


@pytest.mark.parametrize(
    ("one", "foil", "said"),
    [
        ((50, 0, 0), FOIL, "Token 50 is beyond"),
        ((1, 2, 0), FOIL, "no neuron 0 of layer 2"),
        ((1, 0, 0), 50, "Token 50 is beyond"),
    ],
)
def test_what_the_model_does_not_have_is_refused(tiny_gpt2, one, foil, said):
    with pytest.raises(UserError, match=said):
        Ablator(tiny_gpt2.raw, [Association("x", *one, "studied")], foil, [0.0])


def test_a_layer_without_neurons_of_one_mlp_is_refused(bridge_of):
    with pytest.raises(UserError, match="has no neurons of one MLP"):
        ablator_of(bridge_of("MixtralForCausalLM"))


def test_damaged_weights_are_refused_with_the_place(micro):
    model = micro.load()
    with torch.no_grad():
        model.W_E[4] = torch.nan
    rows = np.array([[0, 1]] * 3 + [[0, 4]], dtype=np.int32)
    rows = np.concatenate([rows, rows[:, :1]], axis=1)
    ablator = Ablator(model, [Association("c", 3, 0, 0, "studied")], 4, [0.0])
    with pytest.raises(UserError, match="The loss is nan in row 3 of the corpus at position 0; the weights may be"):
        ablate(ablator, rows, size=2)
