"""Spot checks: some patches of every sweep, measured again the ordinary way.

The fast way's result must be that of one ordinary forward per patch. Arguments about architectures are not enough, so
both prompts and some patches of each site are run again, each a row of a batch, on the model as transformers runs it;
where the values differ by more than rounding, nothing is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from an_neuron.errors import UserError
from an_neuron.patching.ordinary import OrdinaryPass
from an_neuron.patching.patches import Patches
from an_neuron.patching.waves import rows_per_wave

LAYER_RANGES = 3
PATCHES = 9
"""Patches that are measured again, of all sites together: in one batch, or in several where the device holds fewer."""


@dataclass(frozen=True)
class SpotCheck:
    """One value of a sweep, and what an ordinary forward gives.

    Attributes
    ----------
    site
        The patched site, or "" for a prompt without a patch.
    prompt_pair
        Number of the prompt pair.
    what
        What was measured, in words: "clean prompt", "layer 25, neuron 1527".
    value, ordinary
        The metric as the sweep has it, and as the ordinary forward gives it.
    """

    site: str
    prompt_pair: int
    what: str
    value: float
    ordinary: float

    @property
    def difference(self) -> float:
        """How far the two are apart."""
        return abs(self.value - self.ordinary)


def check_baselines(
    ordinary: OrdinaryPass, base: Tensor, source: Tensor, noising: bool, number: int
) -> list[SpotCheck]:
    """Hold both prompts' values against the ordinary model's.

    Parameters
    ----------
    ordinary
        The prompt pair on the ordinary model.
    base, source
        The metric of the patched run and of the one that the patches come from, numbers.
    noising
        Whether the base is the clean prompt.
    number
        Number of the prompt pair.

    Raises
    ------
    UserError
        If one differs.
    """
    pairs = [(base, ordinary.base_value), (source, ordinary.source_value)]
    names = ("clean prompt", "corrupted prompt") if noising else ("corrupted prompt", "clean prompt")
    checks = [SpotCheck("", number, name, *map(float, pair)) for name, pair in zip(names, pairs, strict=True)]
    return sorted(held(ordinary, checks), key=lambda check: check.what)


def check_patches(
    ordinary: OrdinaryPass, patches: Sequence[Patches], values: Sequence[Tensor], number: int, off: float = 0.0
) -> list[SpotCheck]:
    """Hold some patches' values against ordinary forwards: of each site some, spread over ranges of layers.

    Parameters
    ----------
    ordinary
        The prompt pair on the ordinary model.
    patches
        All patches of a sweep, by layer and site.
    values
        The metric with each, [row].
    number
        Number of the prompt pair.
    off
        How far effects may be off besides rounding, as a share of them: in a reduced precision.

    Raises
    ------
    UserError
        If one differs by more.
    """
    by_site: dict[str, list[tuple[Patches, Tensor]]] = {}
    for each, measured in zip(patches, values, strict=True):
        by_site.setdefault(each.site, []).append((each, measured.cpu()))
    base, count = float(ordinary.base_value), max(LAYER_RANGES, PATCHES // len(by_site))
    chosen = [one for swept in by_site.values() for one in _chosen(swept, base, count)]
    ordinary.note({(patch.layer, patch.site) for patch, _ in chosen})
    return held(ordinary, _measured_again(ordinary, chosen, number), off)


def _chosen(swept: Sequence[tuple[Patches, Tensor]], base: float, count: int) -> list[tuple[Patches, float]]:
    """Return so many patches of a site, with their values: the one of the largest effect, and others, drawn.

    They are spread over ranges of layers; patches that change anything are preferred.
    """
    swept = sorted((each for each in swept if len(each[0])), key=lambda each: each[0].layer)
    parts = torch.arange(len(swept)).tensor_split(min(LAYER_RANGES, len(swept)))
    ranges = [[swept[each] for each in part.tolist()] for part in parts]
    effects = [torch.cat([(values - base).abs() for _, values in pool]) for pool in ranges]
    largest = max(range(len(ranges)), key=lambda one: float(effects[one].max()))
    generator = torch.Generator().manual_seed(len(swept))
    chosen: list[tuple[Patches, float]] = []
    for one, (pool, effect) in enumerate(zip(ranges, effects, strict=True)):
        rows = [int(effect.argmax())] if one == largest else []
        drawn = torch.randperm(len(effect), generator=generator)
        moving = [*drawn[effect[drawn] > 0].tolist(), *drawn[effect[drawn] == 0].tolist()]
        rows = list(dict.fromkeys([*rows, *moving]))[: count // len(ranges)]
        chosen += [_nth(pool, row) for row in rows]
    return chosen


def _nth(pool: Sequence[tuple[Patches, Tensor]], row: int) -> tuple[Patches, float]:
    """Return one of the rows of several patches, counted through them all, and its value."""
    for patches, values in pool:
        if row < len(patches):
            return patches.of(slice(row, row + 1)), float(values[row])
        row -= len(patches)
    raise IndexError(row)


def _measured_again(ordinary: OrdinaryPass, chosen: Sequence[tuple[Patches, float]], number: int) -> list[SpotCheck]:
    """Measure patches by ordinary forwards, as many at a time as the device holds."""
    size = rows_per_wave(ordinary, None)
    parts = [[patch for patch, _ in chosen[first : first + size]] for first in range(0, len(chosen), size)]
    again = [float(value) for part in parts for value in torch.cat(ordinary.sweep(part))]
    return [
        SpotCheck(patch.site, number, _named(patch, ordinary.start), value, ordinary_value)
        for (patch, value), ordinary_value in zip(chosen, again, strict=True)
    ]


def _named(patch: Patches, start: int) -> str:
    item = int(patch.items[0])
    if patch.site == "post":
        at = "" if patch.pos is None else f" at position {start + int(patch.pos[0])}"
        return f"layer {patch.layer}, neuron {item}{at}"
    if patch.site in ("q", "k", "v", "z", "pattern"):
        return f"layer {patch.layer}, head {item}"
    return f"layer {patch.layer}, position {start + item}"


def held(ordinary: OrdinaryPass, checks: list[SpotCheck], off: float = 0.0) -> list[SpotCheck]:
    """Return the checks if all of them hold: to rounding, and to a share of their effects."""
    base = float(ordinary.base_value)
    for check in checks:
        if not check.difference <= ordinary.allowance(check.ordinary) + off * abs(check.ordinary - base):
            site = f"{check.site} of " if check.site else ""
            found = f"{site}{check.what} gives {check.value:.6g}, an ordinary forward {check.ordinary:.6g}"
            name = type(ordinary.model.model).__name__
            if off:
                raise UserError(
                    f"A spot check failed: {found}. Products below float32 are too inexact for this model ({name}), so "
                    "nothing is reported.",
                    "sweep: {precision: highest}",
                )
            raise UserError(
                f"A spot check failed: {found}. This model ({name}) is not patched exactly in this way, so nothing is "
                "reported."
            )
    return checks
