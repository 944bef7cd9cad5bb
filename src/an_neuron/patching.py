"""Activation patching: put a clean activation into a corrupted run and see how much of the answer comes back.

One generic operation, `patched_differences`, runs a corrupted prompt in many copies, each with a patch of its own at
one hook point. `patch_site` and `patch_neurons` say what is patched (notebook, cells 10, 12 and 15).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.prompts import Pair

SITES = {"resid_pre": "hook_resid_pre", "attn_out": "hook_attn_out", "mlp_out": "hook_mlp_out"}
ROWS = 32
"""How many copies of a prompt, each with its own patch, run in one batch."""

Patch = Callable[[Tensor, Tensor, Tensor], None]
"""Writes patches into a batch, given corrupted [row, pos, ...], clean [pos, ...] and each row's patch [row]."""


@dataclass(frozen=True)
class Sweep:
    """Logit differences of prompt pairs.

    Attributes
    ----------
    clean, corrupted
        Of the prompts as they are, [pair].
    patched
        With each patch, [pair, ...]; NaN where a shorter prompt has no such position.
    """

    clean: Tensor
    corrupted: Tensor
    patched: Tensor

    @property
    def recovery_per_pair(self) -> Tensor:
        """Recovery of each pair, [pair, ...]: 0 = the patch did nothing, 1 = clean restored."""
        return recovery(self.patched, *(self._of_pairs(values) for values in (self.clean, self.corrupted)))

    @property
    def recovery(self) -> Tensor:
        """Recovery of the pairs' mean logit differences, [...], over the pairs that have the position."""
        there = self.patched.isfinite()
        means = [
            torch.where(there, values, torch.nan).nanmean(0)
            for values in (self.patched, self._of_pairs(self.clean), self._of_pairs(self.corrupted))
        ]
        return recovery(*means)

    def _of_pairs(self, values: Tensor) -> Tensor:
        return values.view(-1, *[1] * (self.patched.ndim - 1))


def recovery(patched: Tensor, clean: Tensor, corrupted: Tensor) -> Tensor:
    """Return (patched - corrupted) / (clean - corrupted).

    Raises
    ------
    UserError
        If clean and corrupted logit difference are the same, so that there is nothing to recover.
    """
    if bool((clean == corrupted).any()):
        raise UserError(
            "The clean and the corrupted prompt have the same logit difference, so there is nothing to recover; choose "
            "prompts, or an answer and a foil, between which the model changes its mind."
        )
    return (patched - corrupted) / (clean - corrupted)


def patch_site(
    model: TransformerBridge, pairs: Sequence[Pair], site: str, answer: int, foil: int, rows: int = ROWS
) -> Sweep:
    """Patch one site at each layer and position.

    Parameters
    ----------
    model
        A bridge; raw and processed weights give the same results.
    pairs
        Token ids of the prompts.
    site
        One of `SITES`.
    answer, foil
        The two tokens that are compared.
    rows
        Copies of a prompt in one batch.

    Returns
    -------
    Sweep
        `patched` is [pair, layer, pos]; prompts of different length are aligned at their last position.
    """

    def put(corrupted: Tensor, clean: Tensor, positions: Tensor) -> None:
        corrupted[torch.arange(len(positions)), positions] = clean[positions]

    longest = max(len(pair.clean) for pair in pairs)
    patched = torch.full((len(pairs), model.cfg.n_layers, longest), torch.nan)
    for layer in tqdm(range(model.cfg.n_layers), desc=f"patch {site}", unit="layer"):
        for number, pair in enumerate(pairs):
            length = len(pair.clean)
            hook = f"blocks.{layer}.{SITES[site]}"
            differences = patched_differences(model, pair, hook, put, torch.arange(length), answer, foil, rows)
            patched[number, layer, longest - length :] = differences
    return Sweep(*unpatched_differences(model, pairs, answer, foil), patched)


def patch_neurons(
    model: TransformerBridge, pairs: Sequence[Pair], layer: int, answer: int, foil: int, rows: int = ROWS
) -> Sweep:
    """Patch each neuron of a layer, at all positions at once.

    Parameters
    ----------
    model
        A bridge; raw and processed weights give the same results.
    pairs
        Token ids of the prompts.
    layer
        The layer whose neurons are patched.
    answer, foil
        The two tokens that are compared.
    rows
        Copies of a prompt in one batch.

    Returns
    -------
    Sweep
        `patched` is [pair, d_mlp].
    """

    def put(corrupted: Tensor, clean: Tensor, neurons: Tensor) -> None:
        corrupted[torch.arange(len(neurons)), :, neurons] = clean[:, neurons].T

    hook = f"blocks.{layer}.mlp.hook_post"
    neurons = torch.arange(model.cfg.d_mlp)
    patched = [patched_differences(model, pair, hook, put, neurons, answer, foil, rows) for pair in pairs]
    return Sweep(*unpatched_differences(model, pairs, answer, foil), torch.stack(patched))


@torch.inference_mode()
def patched_differences(
    model: TransformerBridge, pair: Pair, hook: str, put: Patch, patches: Tensor, answer: int, foil: int, rows: int
) -> Tensor:
    """Run the corrupted prompt once for each patch at one hook point.

    Parameters
    ----------
    model
        A bridge.
    pair
        Token ids of the prompts.
    hook
        Name of the hook point, "blocks.31.hook_attn_out".
    put
        Writes the patches of a batch into its activations.
    patches
        What `put` is told, [patch]: positions or neurons.
    answer, foil
        The two tokens that are compared.
    rows
        How many patches run in one batch.

    Returns
    -------
    Tensor
        Logit difference with each patch, [patch], on the CPU.
    """
    device = model.cfg.device
    _, cache = model.run_with_cache(torch.tensor([pair.clean], device=device), names_filter=hook)
    corrupted = torch.tensor([pair.corrupted], device=device)
    differences = []
    for some in tqdm(patches.to(device).split(rows), desc=hook, unit="batch", leave=False, disable=len(patches) < 128):

        def patch(activation: Tensor, hook: object, some: Tensor = some) -> Tensor:
            activation = activation.clone()
            put(activation, cache[hook.name][0], some)  # type: ignore[attr-defined]
            return activation

        logits = model.run_with_hooks(corrupted.expand(len(some), -1), fwd_hooks=[(hook, patch)])
        differences.append(logit_difference(logits, answer, foil))
    return torch.cat(differences).cpu()


@torch.inference_mode()
def unpatched_differences(
    model: TransformerBridge, pairs: Sequence[Pair], answer: int, foil: int
) -> tuple[Tensor, Tensor]:
    """Return the logit differences of the clean and of the corrupted prompts, each [pair]."""
    prompts = [[pair.clean for pair in pairs], [pair.corrupted for pair in pairs]]
    clean, corrupted = (
        torch.cat([logit_difference(model(torch.tensor([ids], device=model.cfg.device)), answer, foil) for ids in some])
        for some in prompts
    )
    return clean.cpu(), corrupted.cpu()


def logit_difference(logits: Tensor, answer: int, foil: int) -> Tensor:
    """Return logit(answer) - logit(foil) at the last position; logits [batch, pos, d_vocab], result [batch]."""
    return (logits[:, -1, answer] - logits[:, -1, foil]).float()
