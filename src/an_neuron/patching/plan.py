"""What a sweep patches in every prompt pair, and its run: patches, spot checks, and the table of values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from an_neuron.errors import NothingToRecoverError
from an_neuron.patching.changed_products import OFF
from an_neuron.patching.engine import Engine
from an_neuron.patching.interventions import OTHER_RUN, OtherRun
from an_neuron.patching.metric import Metric
from an_neuron.patching.ordinary import OrdinaryPass
from an_neuron.patching.patches import Patches
from an_neuron.patching.runs import Prefixes, Site
from an_neuron.patching.spot_checks import SpotCheck, check_baselines, check_patches
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.wavefront import Pass
from an_neuron.patching.waves import rows_per_wave, run_in_waves
from an_neuron.prompts.pairs import PromptPair


@dataclass(frozen=True)
class Plan:
    """What a sweep patches in every prompt pair, and how.

    Attributes
    ----------
    sites
        Layers and sites.
    n_items
        How many heads or neurons a site has; a site that is not named has none and is patched as a whole.
    per_position
        A patch of a head or neuron changes one position, instead of all at once; one of a whole site always does.
    noising
        Put corrupted activations into the clean run, instead of clean ones into the corrupted run.
    tokens_per_wave
        At most so many token positions run at once; chosen by memory if None.
    listed
        Of some sites the heads or neurons that are patched, instead of all.
    put
        What a patch puts in.
    precision
        In which waves multiply: highest (float32), high or bfloat16.
    """

    sites: Sequence[Site]
    n_items: Mapping[str, int]
    per_position: bool
    noising: bool
    tokens_per_wave: int | None
    listed: Mapping[Site, Sequence[int]] = field(default_factory=dict)
    put: OtherRun = OTHER_RUN
    precision: str = "highest"

    def ends(self, prompt_pair: PromptPair) -> tuple[list[int], list[int]]:
        """Return the prompt that is patched, and the one that the patches come from."""
        ends = prompt_pair.corrupted, prompt_pair.clean
        return (ends[1], ends[0]) if self.noising else ends

    def rows(self, passed: Pass | OrdinaryPass) -> int:
        """Return how many patches of a prompt pair may run at once."""
        return rows_per_wave(passed, self.tokens_per_wave)

    def patches(self, site: Site, passed: Pass | OrdinaryPass) -> Patches:
        """Return all patches of a site: of each item, or each item at each position from p0 on."""
        positions = torch.arange(passed.suffix, device=passed.device)
        number, runs_block = self.n_items.get(site[1]), passed.runs_block(*site)
        if number is None:
            return Patches(*site, positions, runs_block=runs_block)
        items = torch.as_tensor(self.listed.get(site, range(number)), device=passed.device)
        if not self.per_position:
            return Patches(*site, items, runs_block=runs_block)
        return Patches(*site, items.repeat_interleave(passed.suffix), positions.repeat(len(items)), runs_block)

    def table(self, site: Site, values: Tensor, passed: Pass | OrdinaryPass, longest: int) -> Tensor:
        """Lay out the values of a site's patches: [item], or [pos] or [item, pos] aligned at the last position.

        Before p0 a patch does nothing; NaN where the prompt is shorter than the longest.
        """
        axes = [self.n_items[site[1]]] if site[1] in self.n_items else []
        if axes and not self.per_position:
            return values
        table = torch.full((*axes, longest), torch.nan)
        table[..., longest - passed.suffix - passed.start :] = passed.base_value.cpu()
        table[..., longest - passed.suffix :] = values.view(*axes, passed.suffix)
        return table


def run(engine: Engine, prompt_pairs: Sequence[PromptPair], metric: Metric, plan: Plan) -> dict[Site, Sweep]:
    """Run a plan on every prompt pair; return the sweep of each site, its `patched` [prompt_pair, ...].

    Every prompt pair's two prompts are spot-checked, and some patches of the longest prompt pair.
    """
    lengths = [len(prompt_pair.clean) for prompt_pair in prompt_pairs]
    tables: dict[Site, list[Tensor]] = {site: [] for site in plan.sites}
    ends, checks, ways, prefixes = [], list[SpotCheck](), set[str](), Prefixes()
    for number, prompt_pair in enumerate(prompt_pairs):
        ordinary, passed = engine.open(
            *plan.ends(prompt_pair), metric, {*plan.sites}, plan.put, plan.precision, prefixes
        )
        checks += check_baselines(ordinary, passed.base_value, passed.source_value, plan.noising, number)
        check_change(ordinary)
        patches = [plan.patches(site, passed) for site in plan.sites]
        measured = run_in_waves(passed, patches, plan.rows(passed))
        if number == lengths.index(max(lengths)):
            checks += check_patches(ordinary, patches, measured, number, OFF[plan.precision])
        ways.add("ordinary" if passed is ordinary else "fast")
        ends.append([float(passed.base_value), float(passed.source_value)])
        for site, values in zip(plan.sites, measured, strict=True):
            tables[site].append(plan.table(site, values.cpu(), passed, max(lengths)))
    base, source = torch.tensor(ends).T
    clean, corrupted = (base, source) if plan.noising else (source, base)
    way, precision = " and ".join(sorted(ways)), plan.precision if "fast" in ways else "highest"
    return {
        site: Sweep(clean, corrupted, torch.stack(values), _of_site(checks, site[1]), way, precision=precision)
        for site, values in tables.items()
    }


def _of_site(checks: Sequence[SpotCheck], site: str) -> tuple[SpotCheck, ...]:
    """Return the checks of both prompts, and those of a site's patches."""
    return tuple(check for check in checks if check.site in ("", site))


def check_change(ordinary: OrdinaryPass) -> None:
    """Stop where clean and corrupted prompt differ by no more than spot checks can hold, before anything is patched."""
    base, source = float(ordinary.base_value), float(ordinary.source_value)
    least = ordinary.allowance()
    if not abs(source - base) > least:
        raise NothingToRecoverError(
            f"There is nothing to recover: the clean and the corrupted prompt measure {source:.6g} and {base:.6g} (the "
            f"patched prompt second), which is no more than rounding can make, {least:.1g}. Choose prompts, or an "
            "answer and a foil, between which the model changes its mind."
        )
