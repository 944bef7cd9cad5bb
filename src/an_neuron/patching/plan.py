"""What a sweep patches in every prompt pair, and its run: patches, controls, and the table of values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from an_neuron.errors import UserError
from an_neuron.patching.engine import Engine, Metric
from an_neuron.patching.patches import CONTROLS, Patches
from an_neuron.patching.runs import Place
from an_neuron.patching.sweep import Sweep, recovery
from an_neuron.patching.wavefront import Pass
from an_neuron.patching.waves import run_in_waves
from an_neuron.prompts.pairs import PromptPair

CONTROL_TOLERANCE = 1e-4
"""How far a control may be off, as a share of the logit differences' size; float32 rounding is a tenth of it."""


@dataclass(frozen=True)
class Plan:
    """What a sweep patches in every prompt pair, and how.

    Attributes
    ----------
    places
        Layers and sites.
    n_items
        How many heads or neurons a site has; a site that is not named has none and is patched as a whole.
    per_position
        A patch changes one position, instead of all at once.
    noising
        Put corrupted activations into the clean run, instead of clean ones into the corrupted run.
    tokens_per_wave
        At most so many token positions run at once; chosen by memory if None.
    listed
        Of some places the heads or neurons that are patched, instead of all.
    """

    places: Sequence[Place]
    n_items: Mapping[str, int]
    per_position: bool
    noising: bool
    tokens_per_wave: int | None
    listed: Mapping[Place, Sequence[int]] = field(default_factory=dict)

    @property
    def keep(self) -> set[Place]:
        """The places whose activations are needed; neurons may need what leaves the norm behind them, too."""
        return {*self.places, *((layer, "mlp_out") for layer, site in self.places if site == "post")}

    def ends(self, prompt_pair: PromptPair) -> tuple[list[int], list[int]]:
        """Return the prompt that is patched, and the one that the patches come from."""
        ends = prompt_pair.corrupted, prompt_pair.clean
        return (ends[1], ends[0]) if self.noising else ends

    def rows(self, passed: Pass) -> int:
        """Return how many patches of a prompt pair may run at once."""
        tokens = self.tokens_per_wave or passed.engine.tokens_per_wave(passed.start + passed.suffix)
        return max(1, tokens // passed.suffix)

    def patches(self, place: Place, passed: Pass) -> Patches:
        """Return all patches of a place: of each item, or each item at each position from p0 on."""
        positions = torch.arange(passed.suffix, device=passed.engine.device)
        number = self.n_items.get(place[1])
        if number is None:
            return Patches(*place, positions)
        items = torch.as_tensor(self.listed.get(place, range(number)), device=passed.engine.device)
        if not self.per_position:
            return Patches(*place, items)
        return Patches(*place, items.repeat_interleave(passed.suffix), positions.repeat(len(items)))

    def table(self, place: Place, values: Tensor, passed: Pass, longest: int) -> Tensor:
        """Lay out the values of a place's patches: [item], or [pos] or [item, pos] aligned at the last position.

        Before p0 a patch does nothing; NaN where the prompt is shorter than the longest.
        """
        if not self.per_position:
            return values
        axes = [self.n_items[place[1]]] if place[1] in self.n_items else []
        table = torch.full((*axes, longest), torch.nan)
        table[..., longest - passed.suffix - passed.start :] = passed.base.value.cpu()
        table[..., longest - passed.suffix :] = values.view(*axes, passed.suffix)
        return table


def run(engine: Engine, prompt_pairs: Sequence[PromptPair], metric: Metric, plan: Plan) -> dict[Place, Sweep]:
    """Run a plan on every prompt pair; return the sweep of each place, its `patched` [prompt_pair, ...]."""
    longest = max(len(prompt_pair.clean) for prompt_pair in prompt_pairs)
    tables: dict[Place, list[Tensor]] = {place: [] for place in plan.places}
    ends = []
    for prompt_pair in prompt_pairs:
        passed = Pass(engine, *plan.ends(prompt_pair), metric, plan.keep)
        controls, measured = _run_prompt_pair(passed, plan)
        ends.append([passed.base.value, passed.source.value, *controls])
        for place, values in measured.items():
            tables[place].append(plan.table(place, values, passed, longest))
    base, source, nothing, everything = torch.tensor(ends).T
    clean, corrupted = (base, source) if plan.noising else (source, base)
    return {
        place: Sweep(clean, corrupted, torch.stack(values), nothing, everything) for place, values in tables.items()
    }


def _run_prompt_pair(passed: Pass, plan: Plan) -> tuple[list[Tensor], dict[Place, Tensor]]:
    """Return the controls' values and those of each place's patches, [row]."""
    one = torch.zeros(1, dtype=torch.long, device=passed.engine.device)
    controls = [Patches(0, name, one) for name in CONTROLS]
    patches = [plan.patches(place, passed) for place in plan.places]
    nothing, everything, *values = run_in_waves(passed, [*controls, *patches], plan.rows(passed))
    _check_controls(passed, nothing, everything)
    recovery(nothing, passed.source.value, passed.base.value)  # raises if there is nothing to recover
    by_place = {place: measured.cpu() for place, measured in zip(plan.places, values, strict=True)}
    return [nothing[0], everything[0]], by_place


def _check_controls(passed: Pass, nothing: Tensor, everything: Tensor) -> None:
    """Stop where a row without a patch does not end as the base run, or one with all patches as the source run."""
    size = max(1.0, *(abs(float(run.value)) for run in (passed.base, passed.source)))
    for name, value, run in (("nothing", nothing, passed.base), ("everything", everything, passed.source)):
        if not abs(float(value - run.value)) <= CONTROL_TOLERANCE * size:
            raise UserError(
                f"Patching {name} gives {float(value):.6g} where {float(run.value):.6g} is right: this model cannot be "
                "patched exactly, so nothing is reported."
            )
