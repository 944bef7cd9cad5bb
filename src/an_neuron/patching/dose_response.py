"""Dose and response: the metric against a neuron's activation, which is set to one value after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import Metric
from an_neuron.patching.ordinary import OrdinaryPass
from an_neuron.patching.plan import check_change
from an_neuron.patching.rows import Change, Node, Rows
from an_neuron.patching.spot_checks import SpotCheck
from an_neuron.patching.sweep_files import ACTIVATION, COMPARED
from an_neuron.patching.together import check_rows, run_rows
from an_neuron.patching.wavefront import Pass
from an_neuron.prompts.pairs import PromptPair

VALUES, BEYOND = 41, 0.5
"""How many values there are, and how far they go beyond those of the prompts, as a share of the way between these."""
UNIT, LOGITS = "hook_post", "logits"
DOSE_RESPONSE = Schema(
    "circuit/dose_response.h5",
    "logit difference with the studied neuron's activation at the last position set to one value after the other",
    {
        "value": Field("value", "float32", UNIT, "what the activation is set to"),
        "in_clean": Field("prompt_pair value", "float32", LOGITS, "logit difference of the clean prompt with it"),
        "in_corrupted": Field("prompt_pair value", "float32", LOGITS, "that of the corrupted prompt"),
        "clean_activation": Field("prompt_pair", "float32", UNIT, "the activation in the clean prompt as it is"),
        "corrupted_activation": Field("prompt_pair", "float32", UNIT, "that in the corrupted prompt"),
        "clean": Field("prompt_pair", "float32", LOGITS, "logit difference of the clean prompt as it is"),
        "corrupted": Field("prompt_pair", "float32", LOGITS, "logit difference of the corrupted prompt as it is"),
    },
    {
        **COMPARED,
        **ACTIVATION.said,
        "spot_checks": "how many values were measured again by ordinary forwards",
        "rounding": "the largest difference of one of them, in logits",
    },
)


@dataclass(frozen=True)
class DoseResponse:
    """A metric against a neuron's activation at the last position.

    Attributes
    ----------
    values
        What the activation is set to, [value].
    in_clean, in_corrupted
        The metric of either prompt with each value, [prompt_pair, value].
    activations, metrics
        Both as they are without a change, of the clean and the corrupted prompt, [prompt_pair, 2].
    checks
        Values measured again by ordinary forwards.
    """

    values: Tensor
    in_clean: Tensor
    in_corrupted: Tensor
    activations: Tensor
    metrics: Tensor
    checks: tuple[SpotCheck, ...]


def respond(
    engine: Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    neuron: Node,
    values: Sequence[float] | None = None,
) -> DoseResponse:
    """Measure a metric with a neuron's activation at the last position set to one value after the other.

    Parameters
    ----------
    engine
        The model.
    prompt_pairs
        Token ids of the prompts.
    metric
        What is measured.
    neuron
        The neuron; 0 and what lies around its values in the prompts are covered, where `values` are not given.

    Raises
    ------
    UserError
        If a spot check fails.
    """
    site = neuron.layer, neuron.site
    opened = []
    for pair in prompt_pairs:
        ends = (pair.clean, pair.corrupted), (pair.corrupted, pair.clean)
        opened.append([engine.open(*each, metric, {site}) for each in ends])
        check_change(opened[-1][0][0])
    activations = torch.stack([_own(both[0][1], neuron) for both in opened])
    doses = _around(activations) if values is None else torch.tensor([*values], dtype=torch.float32)
    responses, checks = [], list[SpotCheck]()
    for number, both in enumerate(opened):
        responses.append([run_rows(passed, _rows(passed, neuron, doses)).cpu() for _, passed in both])
        if number == 0:
            for (ordinary, _), response in zip(both, responses[0], strict=True):
                checks += check_rows(ordinary, _rows(ordinary, neuron, doses), response, number, "value")
    in_clean, in_corrupted = (torch.stack(each) for each in zip(*responses, strict=True))
    metrics = torch.stack([torch.stack([passed.base_value.cpu() for _, passed in both]) for both in opened])
    return DoseResponse(doses, in_clean, in_corrupted, activations, metrics, tuple(checks))


def _own(passed: Pass | OrdinaryPass, neuron: Node) -> Tensor:
    """Return a neuron's activation in the base run and in the source run, [2]."""
    site = neuron.layer, neuron.site
    return torch.stack([run[-1, neuron.item].float().cpu() for run in (passed.own(*site), passed.put_at(*site))])


def _around(activations: Tensor) -> Tensor:
    """Return evenly spaced values around 0 and around those in the prompts, [value]."""
    least, most = min(0.0, float(activations.min())), max(0.0, float(activations.max()))
    beyond = BEYOND * (most - least) or 1.0
    return torch.linspace(least - beyond, most + beyond, VALUES)


def _rows(passed: Pass | OrdinaryPass, neuron: Node, values: Tensor) -> Rows:
    """Return a row for each value of the neuron's activation at the last position."""
    own = passed.own(neuron.layer, neuron.site)
    mask = torch.zeros(len(values), *own.shape, dtype=torch.bool, device=own.device)
    mask[:, -1, neuron.item] = True
    return Rows(len(values), (Change(neuron.layer, neuron.site, mask, values.to(own.device)[:, None, None]),))


def write_dose_response(path: str | Path, response: DoseResponse, attributes: Mapping[str, Any]) -> None:
    """Write circuit/dose_response.h5; the attributes name answer, foil and neuron, besides those of every file."""
    values = {
        "value": response.values,
        "in_clean": response.in_clean,
        "in_corrupted": response.in_corrupted,
        "clean_activation": response.activations[:, 0],
        "corrupted_activation": response.activations[:, 1],
        "clean": response.metrics[:, 0],
        "corrupted": response.metrics[:, 1],
    }
    rounding = max(check.difference for check in response.checks)
    checked = {"spot_checks": len(response.checks), "rounding": rounding}
    hdf5.write(path, DOSE_RESPONSE, values, {**attributes, **checked})
