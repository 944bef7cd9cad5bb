"""Exact patching the slow, obvious way: whole prompts through the model as transformers runs it, with a hook.

No keys and values are shared or cached, attention is the architecture's own, and every patch is a row of an ordinary
forward. It measures what the fast way is held against (spot checks), and takes its place where an architecture has no
fast way.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.model.blocks import Blocks
from an_neuron.model.hooks import Function, Hook, hooked, rows_apart
from an_neuron.model.plain import tolerance
from an_neuron.patching.metric import Inside, Metric, checked, measure
from an_neuron.patching.patches import Patches
from an_neuron.prompts.pairs import check_token_ids, first_difference

BATCH_BYTES = 400 << 20
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
        self._check_causal()

    @torch.inference_mode()
    def run(self, ids: Sequence[int], metric: Metric, rows: int = 1) -> Tensor:
        """Return the metric of a prompt, [row], for so many rows of it."""
        batch = torch.tensor([list(ids)] * rows, device=self.device)
        if isinstance(metric, Inside):
            return self._run_inside(batch, metric)
        residuals: list[Tensor] = []
        with hooked([(self.blocks[-1], "out", residuals.append)]):
            logits = self.model(batch, use_cache=False).logits[:, -1].float()
        return measure(metric, residuals[0][:, -1], lambda tokens: logits[:, self._columns(tokens)])

    def _run_inside(self, batch: Tensor, metric: Inside) -> Tensor:
        seen: list[Tensor] = []
        with self.at(metric.layer, metric.site, lambda activation: seen.append(activation.clone()), len(batch)):
            self.model(batch, use_cache=False)
        columns = None if metric.site == "resid_pre" else self.place(metric.layer, metric.site).columns
        activation = seen[0][:, metric.position]
        return checked(metric.read(activation, columns), activation)

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


class OrdinaryPass:
    """One prompt pair on the ordinary model: the base run that is patched, and the source of the patches.

    Parameters
    ----------
    model
        The model.
    base, source
        Token ids of equal length.
    metric
        What is measured at the end.

    Attributes
    ----------
    base_value, source_value
        The metric without a patch, numbers.
    """

    def __init__(self, model: OrdinaryModel, base: Sequence[int], source: Sequence[int], metric: Metric) -> None:
        self.model, self.ids, self.source_ids, self.metric = model, base, source, metric
        self.start = first_difference(base, source)
        self.suffix = len(base) - self.start
        self.device = model.device
        self.base_value, self.source_value = (model.run(ids, metric)[0] for ids in (base, source))
        self._seen: dict[tuple[int, str, bool], Tensor] = {}
        self._streams_checked: set[int] = set()

    def allowance(self, *values: Tensor | float) -> float:
        """Return how far a value may be off by rounding, by the size of both prompts' values and of some others."""
        floor = 0.0 if isinstance(self.metric, Inside) else 1.0  # logits are of that size, activations of any
        size = max(floor, *(abs(float(value)) for value in (self.base_value, self.source_value, *values)))
        return tolerance(self.model.dtype) * size

    @property
    def tokens_per_wave(self) -> int:
        """How many token positions may run at once: their logits and a block's activations are held."""
        config = self.model.model.config
        return max(1, BATCH_BYTES // (4 * (2 * self.model.d_vocab + 30 * config.hidden_size)))

    def sweep(self, patches: Sequence[Patches]) -> list[Tensor]:
        """Return the metric with each patch, [row] for each of `patches`; each patch is a row of a batch."""
        return [self._sweep(each) for each in patches]

    def changing(self, patches: Patches) -> Tensor:
        """Return which patches must be run, [row]: all of them."""
        return torch.ones(len(patches), dtype=torch.bool, device=self.device)

    def runs_block(self, _layer: int, _site: str) -> bool:
        """Return whether a site's rows run through their block: all do, in the ordinary way."""
        return False

    def _sweep(self, patches: Patches) -> Tensor:
        layer, site = patches.layer, patches.site
        if site == "resid_mid":
            return self._sweep_resid_mid(patches)
        change = partial(self._patched, patches, self._source(layer, site))
        with self.model.at(layer, site, change, len(patches)):
            return self.model.run(self.ids, self.metric, len(patches))

    def _patched(self, patches: Patches, source: Tensor, activation: Tensor) -> Tensor:
        """Return an activation with one patch in each row."""
        activation = activation.clone()
        place = None if patches.site == "resid_pre" else self.model.place(patches.layer, patches.site)
        for row, item in enumerate(patches.items.tolist()):
            if patches.site == "post":
                where = slice(self.start, None) if patches.pos is None else self.start + int(patches.pos[row])
                activation[row, where, item] = source[where, item]
            elif patches.site == "pattern":
                activation[row, item] = source[item]
            elif place is not None and place.columns is not None:
                for column in place.columns[item].tolist():
                    activation[row, :, column] = source[:, column]
            else:
                activation[row, self.start + item] = source[self.start + item]
        return activation

    def _sweep_resid_mid(self, patches: Patches) -> Tensor:
        """Patch the stream behind attention, which decides all that follows: patched everywhere, it is the source run.

        Raises
        ------
        UserError
            If it does not: the block's sums are of another kind.
        """
        layer = patches.layer
        if layer not in self._streams_checked:
            everywhere = [[*range(self.suffix)]]
            found = float(self._with_resid_mid(layer, everywhere)[0])
            if not abs(found - float(self.source_value)) <= self.allowance():
                raise UserError(
                    f"Layer {layer} of this model ({type(self.model.model).__name__}) has no resid_mid that can be "
                    "patched: the stream there does not decide alone what follows."
                )
            self._streams_checked.add(layer)
        return self._with_resid_mid(layer, [[item] for item in patches.items.tolist()])

    def _with_resid_mid(self, layer: int, positions: Sequence[Sequence[int]]) -> Tensor:
        """Return the metric with resid_mid patched at some positions of each row.

        It is what enters the MLP's norm, and what leaves the block beside the MLP.
        """
        difference = self._source(layer, "resid_mid") - self._seen_at(layer, "resid_mid", source=False)

        def add(rows: Tensor) -> Tensor:
            rows = rows.clone()
            for row, items in enumerate(positions):
                for item in items:
                    rows[row, self.start + item] += difference[self.start + item]
            return rows

        out: Hook = (self.model.blocks[layer], "out", add)
        with self.model.at(layer, "resid_mid", add, len(positions)), hooked([out]):
            return self.model.run(self.ids, self.metric, len(positions))

    def note(self, sites: Collection[tuple[int, str]]) -> None:
        """Run the source prompt once for the activations of some sites, which patches take from it."""
        self._note({(*site, True) for site in sites if site[1] != "resid_mid"} - self._seen.keys())

    def _source(self, layer: int, site: str) -> Tensor:
        return self._seen_at(layer, site, source=True)

    def _seen_at(self, layer: int, site: str, source: bool) -> Tensor:
        """Return a site's activation in the source or base run, [pos, ...] or [head, pos, key]."""
        key = layer, site, source
        if key not in self._seen:
            self._note({key})
        return self._seen[key]

    def _note(self, keys: Collection[tuple[int, str, bool]]) -> None:
        """Run one of the prompts with a look at some sites, which are all of it."""
        with ExitStack() as stack:
            for key in keys:
                stack.enter_context(self.model.at(*key[:2], partial(self._keep, key)))
            for source in {source for _, _, source in keys}:
                self.model.run(self.source_ids if source else self.ids, self.metric)

    def _keep(self, key: tuple[int, str, bool], activation: Tensor) -> None:
        """Keep a copy: a block may go on to add to it in place, as Falcon's does to its MLP's output."""
        self._seen[key] = activation[0].clone()


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
