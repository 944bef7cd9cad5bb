"""Find the neuron behind a token, in one call."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.model.tokenizer import Tokenizer, single_token
from an_neuron.notebook.found import FoundNeuron
from an_neuron.notebook.opening import open_model, tokenizer_of
from an_neuron.patching.arguments import engine_of
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.sweeps import patch_neurons
from an_neuron.prompts.pairs import PromptPair
from an_neuron.prompts.tokenizing import prompt_pair_mistakes


def find_neuron(
    model: TransformerBridge | Engine | str | Path | Mapping[str, str],
    clean: str | Sequence[int],
    corrupted: str | Sequence[int],
    answer: str | int,
    foil: str | int,
    *,
    layers: Sequence[int] | None = None,
    revision: str = "main",
    device: str = "auto",
) -> FoundNeuron:
    """Patch each neuron of a model from the clean into the corrupted prompt, and return the one that recovers most.

    Parameters
    ----------
    model
        A TransformerLens bridge, or an `Engine` made of one; or what `open_model` loads: a folder, a GGUF file, a name
        on the hub, a source as a study gives it.
    clean, corrupted
        The prompts, of equally many tokens: texts, which get BOS in front, or token ids, taken as they are.
    answer, foil
        The tokens whose logits are compared: texts of one token each, or ids.
    layers
        Whose neurons are patched; all by default.
    revision, device
        Those of `open_model`, for a model that is loaded.

    Returns
    -------
    FoundNeuron
        The neuron, its recovery, and the whole sweep.

    Raises
    ------
    UserError
        If a prompt or a token cannot be used, or the model cannot be loaded or patched.
    """
    loaded = model if isinstance(model, TransformerBridge | Engine) else open_model(model, revision, device)
    engine = engine_of(loaded)
    tokenizer = tokenizer_of(engine.bridge)
    prompt_pair = PromptPair(_prompt(tokenizer, clean), _prompt(tokenizer, corrupted))
    for ids in (prompt_pair.clean, prompt_pair.corrupted):
        engine.check_ids(ids)
    if mistakes := prompt_pair_mistakes(tokenizer, prompt_pair):
        raise UserError(mistakes[0][0].upper() + mistakes[0][1:])
    metric = LogitDifference(_token(tokenizer, answer), _token(tokenizer, foil))
    if metric.answer == metric.foil:
        raise UserError(f"Answer and foil are one token, {tokenizer.text(metric.foil)!r}; choose another foil.")
    return FoundNeuron(engine, tokenizer, prompt_pair, metric, patch_neurons(engine, [prompt_pair], metric, layers))


def _prompt(tokenizer: Tokenizer, prompt: str | Sequence[int]) -> list[int]:
    return tokenizer.prompt(prompt) if isinstance(prompt, str) else [*prompt]


def _token(tokenizer: Tokenizer, token: str | int) -> int:
    return single_token(tokenizer, token) if isinstance(token, str) else token
