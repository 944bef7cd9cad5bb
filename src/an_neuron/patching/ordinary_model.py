"""The model as transformers runs it: whole prompts, no cache, its own eager attention, and a look at any site."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.model.blocks import Blocks
from an_neuron.model.hooks import Function, hooked, rows_apart
from an_neuron.model.plain import tolerance
from an_neuron.patching.metric import Inside, Metric, checked, measure
from an_neuron.prompts.pairs import check_token_ids

SOFTMAX = (nn.functional.softmax, torch.softmax, Tensor.softmax)


class OrdinaryModel(Blocks):
    """The model behind a bridge as transformers runs it, with eager attention.

    Parameters
    ----------
    bridge
        A TransformerLens bridge, with raw or processed weights.

    Raises
    ------
    UserError
        If it is not a causal decoder.
    """

    def __init__(self, bridge: TransformerBridge) -> None:
        super().__init__(bridge, "eager")
        self._last: dict[str, Any] = {"use_cache": False}
        if "logits_to_keep" in signature(self.model.forward).parameters:
            # By its index: told a number, Gemma 4's last blocks compute no other position.
            self._last["logits_to_keep"] = torch.tensor([-1], device=self.device)
        self._check_causal()

    @torch.inference_mode()
    def run(self, ids: Sequence[int], metric: Metric, rows: int = 1) -> Tensor:
        """Return the metric of a prompt, [row], for so many rows of it."""
        return self.measured([ids] * rows, metric)

    @torch.inference_mode()
    def run_each(self, prompts: Sequence[Sequence[int]], metric: Metric) -> Tensor:
        """Return the metric of some prompts of a length, [prompt]."""
        return self.measured(prompts, metric)

    def measured(self, prompts: Sequence[Sequence[int]], metric: Metric) -> Tensor:
        """Return what `run_each` does, so that its gradient may be taken."""
        batch = torch.tensor([list(ids) for ids in prompts], device=self.device)
        if isinstance(metric, Inside):
            return self._run_inside(batch, metric)
        residuals: list[Tensor] = []
        with hooked([(self.blocks[-1], "out", residuals.append)]):
            logits = self.model(batch, **self._last).logits[:, -1].float()
        return measure(metric, residuals[0][:, -1], lambda tokens: logits[:, self._columns(tokens)])

    def _run_inside(self, batch: Tensor, metric: Inside) -> Tensor:
        seen: list[Tensor] = []
        with self.at(metric.layer, metric.site, lambda activation: seen.append(activation.clone()), len(batch)):
            self.model(batch, **self._last)
        columns = None if metric.site == "resid_pre" else self.place(metric.layer, metric.site).columns
        activation = seen[0][:, metric.position]
        return checked(metric.read(activation, columns), activation)

    @torch.inference_mode()
    def activations(self, ids: Sequence[int], sites: Collection[tuple[int, str]]) -> dict[tuple[int, str], Tensor]:
        """Return the activations of some sites in a prompt, each [pos, column], or [head, pos, key] for patterns."""
        seen: dict[tuple[int, str], Tensor] = {}
        with ExitStack() as stack:
            for site in sites:
                stack.enter_context(self.at(*site, partial(_keep, seen, site)))
            self.model(torch.tensor([list(ids)], device=self.device), **self._last)
        return seen

    def _columns(self, tokens: Sequence[int] | None) -> slice | list[int]:
        """Return which columns of the logits a metric asks for; a negative id would be one of the last tokens."""
        if tokens is None:
            return slice(None)
        check_token_ids(tokens, self.d_vocab)
        return [int(token) for token in tokens]

    @contextmanager
    def at(self, layer: int, site: str, change: Function, rows: int = 1) -> Iterator[None]:
        """Let a function see, and change by what it returns, the activation of a site, [row, pos, ...]."""
        if site == "pattern":
            n_heads = self.n_items(layer, site) or 1
            context: Any = watching_pattern(self.module(layer, site), change, n_heads)
        elif site == "resid_pre":
            context = hooked([(self.blocks[layer], "in", change)])
        else:
            context = hooked([(self.module(layer, site), self.place(layer, site).end, rows_apart(change, rows))])
        with context:
            yield

    @torch.inference_mode()
    def _check_causal(self) -> None:
        """Stop where a later token changes an earlier position, since patches before p0 are taken to do nothing."""
        ends = []
        for last in (2, 3):
            seen: list[Tensor] = []
            with hooked([(self.blocks[-1], "out", seen.append)]):
                ids = torch.tensor([[0, 1, last]], device=self.device) % self.d_vocab
                self.model(ids, use_cache=False)
            ends.append(seen[0][0, :2])
        worst, size = float((ends[0] - ends[1]).abs().max()), max(1.0, float(ends[0].abs().max()))
        if not worst <= tolerance(self.dtype) * size:
            raise UserError(
                f"This model ({type(self.model).__name__}) is not a causal decoder: a later token changes what an "
                "earlier position computes. Only decoders that predict the next token are patched."
            )


def _keep(seen: dict[tuple[int, str], Tensor], site: tuple[int, str], activation: Tensor) -> None:
    """Keep a copy: a block may go on to add to it in place, as Falcon's does to its MLP's output."""
    seen[site] = activation[0].clone()


@contextmanager
def watching_pattern(attention: nn.Module, change: Function, n_heads: int) -> Iterator[None]:
    """Let a function see and change the pattern, [row, head, pos, key], that an attention module computes.

    No module has it as its output: it is what the softmax inside gives, or what dropout takes after it where a sink's
    column is cut off between (GPT-OSS).

    Raises
    ------
    UserError
        If the module computes no pattern that can be seen.
    """
    mode = _Patterns(change, n_heads)
    handles = [
        attention.register_forward_pre_hook(lambda *_: mode.begin()),
        attention.register_forward_hook(lambda *_: mode.end()),
    ]
    try:
        with mode:
            yield
        if not mode.seen:
            raise UserError(f"The attention of this model ({type(attention).__name__}) shows no pattern to patch.")
    finally:
        for handle in handles:
            handle.remove()


class _Patterns(TorchFunctionMode):
    def __init__(self, change: Function, n_heads: int) -> None:
        super().__init__()
        self.change, self.n_heads, self.waiting, self.seen = change, n_heads, False, False

    def begin(self) -> None:
        self.waiting = True

    def end(self) -> None:
        self.waiting = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.waiting:
            return func(*args, **kwargs)
        if func in SOFTMAX:
            result = func(*args, **kwargs)
            return self._changed(result) if self._is_pattern(result) else result
        if func is nn.functional.dropout and self._is_pattern(args[0]):
            return func(self._changed(args[0]), *args[1:], **kwargs)
        return func(*args, **kwargs)

    def _is_pattern(self, activation: Tensor) -> bool:
        return activation.ndim in (3, 4) and activation.shape[-1] == activation.shape[-2]

    def _changed(self, pattern: Tensor) -> Tensor:
        """Return the pattern that goes on; some architectures have rows and heads as one axis (XGLM)."""
        self.waiting, self.seen = False, True
        by_head = pattern if pattern.ndim == 4 else pattern.unflatten(0, (-1, self.n_heads))
        changed = self.change(by_head)
        return pattern if changed is None else changed.view(pattern.shape)
