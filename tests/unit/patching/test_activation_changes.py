import pytest
import torch

from an_neuron.patching.activation_changes import activation_changes, telling_change
from an_neuron.patching.top_neurons import top_neurons
from an_neuron.prompts.pairs import PromptPair

ANSWER = "c"  # token 3
PROMPT_PAIR = PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9])
SHORT = PromptPair([0, 5, 14, 2], [0, 5, 15, 2])


def of_micro(micro, clean, corrupted):
    return activation_changes(micro.raw, [PromptPair(clean, corrupted)], [0])


def test_micro_changes_by_hand(micro):
    """Neuron 0 is 1 at token 1 alone, neuron 1 at token 2 alone, neuron 2 never."""
    (change,) = of_micro(micro, [2, 1], [2, 2])
    assert change.tolist() == [[[0, 0, 0], [1, -1, 0]]]
    assert telling_change([change]).tolist() == [[1, -1, 0]]


def test_a_neuron_that_changes_elsewhere_is_told_by_its_largest_change(micro):
    """The last tokens are the same, the first ones differ."""
    changes = of_micro(micro, [1, 2, 2], [2, 1, 2])
    assert changes[0].tolist() == [[[1, -1, 0], [-1, 1, 0], [0, 0, 0]]]
    assert telling_change(changes).tolist() == [[1, -1, 0]]  # the first of two equally large ones


def test_the_last_position_tells_before_a_larger_change():
    changes = [torch.tensor([[[5.0, -3.0], [-0.25, 0.0]]])]
    assert telling_change(changes).tolist() == [[-0.25, -3.0]]


def test_several_prompt_pairs_are_averaged_where_they_have_the_position():
    """Aligned at the end: the first position of the longer prompts has no partner."""
    long = torch.tensor([[[8.0, 8.0], [1.0, 0.0], [1.0, 0.0]]])
    short = torch.tensor([[[3.0, 0.0], [-3.0, 0.0]]])
    assert telling_change([long, short]).tolist() == [[-1.0, 8.0]]


@pytest.mark.parametrize(("clean", "corrupted", "sign"), [([2, 1], [2, 2], 1), ([2, 2], [2, 1], -1)])
def test_micro_labels_by_hand(micro, clean, corrupted, sign):
    """W_out . W_U of the answer is 4 * 30 = 120 for neuron 0 and -2 * 30 - 2 * 15 = -90 for neuron 1, of others 0 both.

    Token 1 in the clean prompt: neuron 0 begins to write the answer, and neuron 1 ends writing against it, so both
    raise it. The other way round both lower it.
    """
    change = telling_change(of_micro(micro, clean, corrupted))
    top = top_neurons(micro.raw, micro.tokenizer, [0], torch.tensor([[0.9, 0.5, 0.0]]), change)
    assert (top.layer, top.index, top.change) == ([0, 0], [0, 1], [sign, -sign])
    moved, others = (top.raised, top.lowered) if sign == 1 else (top.lowered, top.raised)
    assert [tokens[0] for tokens in moved] == [ANSWER, ANSWER]
    assert ANSWER not in (others[0][0], others[1][0])


def test_changes_are_those_of_hugging_face(tiny):
    """Each architecture, gated ones too: what goes into the down projection."""
    changes = activation_changes(tiny.raw, [PROMPT_PAIR, SHORT], [1, 0])
    for prompt_pair, change in zip((PROMPT_PAIR, SHORT), changes, strict=True):
        for row, layer in enumerate((1, 0)):
            down = tiny.module(layer, tiny.parts.down)
            clean, corrupted = (tiny.inputs(down, ids)[0] for ids in (prompt_pair.clean, prompt_pair.corrupted))
            torch.testing.assert_close(change[row], clean - corrupted, atol=1e-4, rtol=1e-4)


def test_raised_tokens_of_a_gated_model_rise_when_the_neuron_is_patched(tiny_of):
    """A small step of the patch at the last position, its direct path alone: the residual stream times W_U.

    Neurons of either sign are there, and the label agrees with what the step adds to the stream.
    """
    tiny = tiny_of("llama")
    (changes,) = activation_changes(tiny.raw, [PROMPT_PAIR], [0, 1])
    change = telling_change([changes])
    assert (change < 0).any()
    assert (change > 0).any()
    model = tiny.processed
    top = top_neurons(model, tiny.tokenizer, [0, 1], torch.ones(2, 24), change)
    for layer, index, raised, lowered in zip(top.layer, top.index, top.raised, top.lowered, strict=True):
        down = tiny.module(layer, tiny.parts.down)
        clean, corrupted = (tiny.inputs(down, ids)[0, -1] for ids in (PROMPT_PAIR.clean, PROMPT_PAIR.corrupted))
        patched = corrupted.clone()
        patched[index] = clean[index]
        direct = (down(patched) - down(corrupted)) @ model.W_U
        best = direct.argsort(descending=True)
        assert raised == tiny.tokenizer.texts(best[:5].tolist())
        assert lowered == tiny.tokenizer.texts(best.flip(0)[:5].tolist())
