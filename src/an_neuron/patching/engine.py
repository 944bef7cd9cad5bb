"""A model made ready to be patched exactly: in one pass where its architecture allows it, else the ordinary way."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.patching.interventions import OTHER_RUN, OtherRun
from an_neuron.patching.metric import ORDER, Inside, Metric
from an_neuron.patching.ordinary import OrdinaryPass
from an_neuron.patching.ordinary_model import OrdinaryModel
from an_neuron.patching.patches import NOTHING, Patches
from an_neuron.patching.runs import Prefixes, Site
from an_neuron.patching.wave_model import WaveModel
from an_neuron.patching.wavefront import Pass
from an_neuron.patching.waves import TOO_SMALL
from an_neuron.prompts.pairs import check_token_ids, first_difference

log = logging.getLogger(__name__)
WAYS = ("fast", "ordinary")
UNFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, UserError, ValueError)
"""What a block may raise that cannot run many rows behind shared keys and values."""


class Engine:
    """A model ready to be patched exactly.

    Parameters
    ----------
    bridge
        A TransformerLens bridge, with raw or processed weights, in float32, float64, bfloat16 or float16.
    way
        "fast" for one pass for all patches, "ordinary" for one ordinary forward per patch, some tens or hundreds of
        times slower. By default the fast way, and where the architecture does not allow it, the ordinary one; which it
        is stands in the result.

    Raises
    ------
    UserError
        If the architecture cannot be patched exactly.
    """

    def __init__(self, bridge: TransformerBridge, way: str | None = None) -> None:
        if not isinstance(bridge, TransformerBridge):
            raise UserError(f"A model is a TransformerLens bridge, or an Engine made of one; not {bridge!r}.")
        if way not in (None, *WAYS):
            raise UserError(f"The way is one of {', '.join(WAYS)}, or None; not {way!r}.")
        self.bridge, self.ordinary, self.way = bridge, OrdinaryModel(bridge), way
        self._said, self._proven = set[str](), set[tuple[int, int]]()
        self.fast = None if way == "ordinary" else self._wave_model(bridge)

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return self.ordinary.n_layers

    def columns(self, layer: int, site: str) -> Tensor | None:
        """Return which columns of a site are each head's, [head, d_head]; None where it has no heads."""
        return None if site == "resid_pre" else self.ordinary.place(layer, site).columns

    def check_ids(self, ids: Sequence[int]) -> None:
        """Stop where a prompt is empty, too long, or holds what is not a token's id."""
        if not ids:
            raise UserError("A prompt has no tokens.")
        check_token_ids(ids, self.ordinary.d_vocab)
        if self.ordinary.n_ctx is not None and len(ids) > self.ordinary.n_ctx:
            raise UserError(f"A prompt has {len(ids)} tokens; the model's context holds {self.ordinary.n_ctx}.")

    def open(
        self,
        base: Sequence[int],
        source: Sequence[int],
        metric: Metric,
        keep: set[Site],
        put: OtherRun = OTHER_RUN,
        precision: str = "highest",
        prefixes: Prefixes | None = None,
    ) -> tuple[OrdinaryPass, Pass | OrdinaryPass]:
        """Return a prompt pair on the ordinary model, and on the one that is swept.

        Parameters
        ----------
        base, source
            Token ids of the prompt that is patched, and of the one that the patches come from.
        metric
            What is measured at the end.
        keep
            Sites whose activations are needed.
        put
            What patches put in.
        precision
            In which waves multiply, on the fast way: highest (float32), high or bfloat16.
        prefixes
            Of the same call's other prompt pairs: what was recorded of the same first tokens is not recorded again.
        """
        ordinary, passed = self._open(base, source, metric, keep, put, prefixes)
        if precision != "highest" and isinstance(passed, Pass):
            passed.lower(precision)
        return ordinary, passed

    def _open(
        self,
        base: Sequence[int],
        source: Sequence[int],
        metric: Metric,
        keep: set[Site],
        put: OtherRun,
        prefixes: Prefixes | None,
    ) -> tuple[OrdinaryPass, Pass | OrdinaryPass]:
        self._check_metric(metric, len(base) - (0 if put.everywhere else first_difference(base, source)))
        ordinary = OrdinaryPass(self.ordinary, base, source, metric, put, keep)
        if self.fast is None:
            return ordinary, ordinary
        if self.way == "fast":
            return ordinary, Pass(self.fast, base, source, metric, keep, put, prefixes)
        for _ in range(2):
            try:
                passed = Pass(self.fast, base, source, metric, keep, put, prefixes)
                _hold(passed, ordinary)
                lengths = passed.start, passed.suffix  # on which a block's doings may depend (Llama 4)
                if lengths not in self._proven:
                    _try(passed, ordinary)
                self._proven.add(lengths)
                return ordinary, passed
            except torch.OutOfMemoryError:
                raise UserError(TOO_SMALL) from None
            except UNFIT as error:
                reason = error
                if not self.fast.cuts_last_block:
                    break
                self.fast.cuts_last_block = False  # the last block may be of a kind that must see all positions
        self._take_ordinary_way(reason)
        return ordinary, ordinary

    def _check_metric(self, metric: Metric, suffix: int) -> None:
        """Stop where a metric inside the model names a place that is not there, or that no patch can reach."""
        if not isinstance(metric, Inside):
            return
        if not 0 <= metric.layer < self.n_layers:
            raise UserError(f"There is no layer {metric.layer}; this model has layers 0 to {self.n_layers - 1}.")
        if metric.site not in ORDER or metric.site == "pattern":
            raise UserError(
                f"Nothing is measured at {metric.site!r}; it is at {', '.join(ORDER)}, but not the pattern."
            )
        n_items = self.ordinary.n_items(metric.layer, metric.site)
        for what in ("index", "head"):
            number = getattr(metric, what, 0)
            if n_items is not None and not 0 <= number < n_items:
                raise UserError(f"Layer {metric.layer} has no {metric.site} {number}; it has 0 to {n_items - 1}.")
        if not -suffix <= metric.position < 0:
            raise UserError(
                f"Position {metric.position} cannot be measured: positions count from the prompt's end (-1), and "
                f"before {-suffix}, the first one at which the prompts differ, nothing changes."
            )

    def _wave_model(self, bridge: TransformerBridge) -> WaveModel | None:
        try:
            return WaveModel(bridge)
        except UNFIT as error:
            if self.way == "fast":
                raise
            self._take_ordinary_way(error)
            return None

    def _take_ordinary_way(self, reason: Exception) -> None:
        name, said = type(self.ordinary.model).__name__, str(reason).rstrip(".")
        if not isinstance(reason, UserError):
            said = f"its blocks, run behind shared keys and values, raise {type(reason).__name__}: {said}"
        if said not in self._said:
            log.warning("%s is patched the ordinary way, one forward per patch, which is slower: %s.", name, said)
        self._said.add(said)


def _hold(passed: Pass, ordinary: OrdinaryPass) -> None:
    """Hold both runs, behind shared keys and values, against ordinary ones."""
    _hold_value(passed.base_value, ordinary.base_value, ordinary)
    _hold_value(passed.source_value, ordinary.source_value, ordinary)


def _try(passed: Pass, ordinary: OrdinaryPass) -> None:
    """Run rows without a patch, and one with the first different token's, which must end as ordinary runs do.

    Rows without a patch are not enough: what a block gets wrong may be too little to see in the base run.
    """
    two = torch.zeros(2, dtype=torch.long, device=passed.device)
    token = Patches(0, "resid_pre", two[:1])
    (nothing, patched), (expected,) = passed.sweep([Patches(0, NOTHING, two), token]), ordinary.sweep([token])
    _hold_value(nothing, ordinary.base_value, ordinary)
    _hold_value(patched, expected, ordinary)


def _hold_value(found: torch.Tensor, expected: torch.Tensor, ordinary: OrdinaryPass) -> None:
    worst = float((found - expected).abs().max())
    if not worst <= ordinary.allowance(expected):
        raise UserError(f"its blocks, run behind shared keys and values, give a value that is {worst:.1e} off")
