"""A study's finding in sentences, finding.txt: what was measured, and what of it is weak or does not hold."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from an_neuron.errors import DamagedFileError
from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Schema
from an_neuron.files.texts import neuron_name
from an_neuron.patching.again import precision_sentence
from an_neuron.patching.prompt_set import DEVELOPMENT, HELD_OUT, PERMUTED, SIGNED_RANK, names, statistics
from an_neuron.patching.screened import bound_sentence, screening_sentence

FINDING = Schema("finding.txt", "the finding in sentences, and what of it is weak or does not hold")
NOT_ALONE = 0.5
"""Of the best neuron's recovery: another neuron above it is named."""
AGAINST = 0.2
"""A neuron that takes away as much of the logit difference is named."""
SURE = 0.05
"""A corrected p that is not below it is named."""
WEAK_F1, WEAK_CORRELATION = 0.5, 0.5
WEAK_HEADING = "What is weak, or does not hold:"


def finding(tables: Mapping[str, Path], layer: int, index: int) -> str:
    """Return the finding of a study.

    Parameters
    ----------
    tables
        predictions, map, ablated (predictions without the neuron), heads (that drive it) and association (the studied
        one); prompt_set and choice where the study has them; fetched where its model was fetched.
    layer, index
        The studied neuron.
    """
    read = {name: hdf5.read(path) for name, path in tables.items()}
    neuron = neuron_name(layer, index)
    strong = [
        *_patching(read, neuron, layer, index),
        *_ablated(read["ablated"], neuron),
        *_drivers(read["heads"], neuron),
        *_prompt_set(read),
        *_choice(read, neuron),
    ]
    weak = [
        *filter(None, [bound_sentence(read["map"].attributes)]),
        *_rivals(read["map"], neuron, layer, index),
        *_missed_pairs(read, neuron),
        *_unsure(read, neuron),
        *_weak_corpus(read, neuron),
    ]
    if weak:
        strong += ["", WEAK_HEADING, *(f"- {sentence}" for sentence in weak)]
    return "\n".join(strong) + "\n"


def read_finding(path: str | Path) -> tuple[list[str], list[str]]:
    """Read finding.txt.

    Returns
    -------
    tuple of two lists
        The sentences, the most important first, and those on what is weak or does not hold.

    Raises
    ------
    DamagedFileError
        If there is no such file, or it says nothing.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedFileError(path, f"cannot be read ({error})") from error
    end = lines.index(WEAK_HEADING) if WEAK_HEADING in lines else len(lines)
    sentences = [line for line in lines[:end] if line]
    if not sentences:
        raise DamagedFileError(path, "says nothing")
    return sentences, [line.removeprefix("- ") for line in lines[end + 1 :]]


def _patching(read: Mapping[str, Table], neuron: str, layer: int, index: int) -> Iterator[str]:
    swept, predictions = read["map"], read["predictions"]
    answer, foil = (swept.attributes[name] for name in ("answer", "foil"))
    clean, corrupted = (_mean(predictions, kind) for kind in ("clean", "corrupted"))
    best = _recovery(swept, layer, index)
    rank, screened = int((swept["recovery"] > best).sum()) + 1, screening_sentence(swept.attributes)
    place = "the largest" if rank == 1 else f"number {rank}"
    yield (
        f"Neuron {neuron} of {swept.attributes['model']}, patched alone, recovers {best:.2f} of the logit difference "
        f'between "{answer}" and "{foil}" (clean {clean:.2f}, corrupted {corrupted:.2f}): {place} of '
        f"{int((~np.isnan(swept['recovery'])).sum()):,} neurons{' that were patched' if screened else ''}."
    )
    if screened:
        yield screened
    listed = list(zip(swept["top_layer"].tolist(), swept["top_index"].tolist(), strict=True))
    if (layer, index) in listed:
        raised = ", ".join(f'"{token}"' for token in swept["top_tokens"][listed.index((layer, index))])
        yield f"The patch raises the logits of {raised} most."
    yield (
        f"{swept.attributes['spot_checks']} of these values were measured again by ordinary forwards; they differ by "
        f"at most {float(swept.attributes['rounding']):.0e}."
    )
    if precision := precision_sentence(swept.attributes):
        yield precision


def _mean(predictions: Table, kind: str) -> float:
    of_kind = [str(name).startswith(kind) for name in predictions["name"]]
    return float(predictions["logit_difference"][of_kind].mean())


def _recovery(swept: Table, layer: int, index: int) -> float:
    return float(swept["recovery"][swept["layer"].tolist().index(layer), index])


def _ablated(ablated: Table, neuron: str) -> Iterator[str]:
    """Say how likely the answer is after the clean prompts without the neuron, and against it."""
    of_clean = [str(name).startswith("clean") for name in ablated["name"]]
    means = ablated["probability"][of_clean, :, 0].mean(0).tolist()
    none, zero, negated = (means[ablated["intervention"].tolist().index(name)] for name in ("none", "zero", "negated"))
    after = "after the clean prompt" if sum(of_clean) == 1 else f"in the mean after {sum(of_clean)} clean prompts"
    yield (
        f'With {neuron} switched off at every position, the model gives "{ablated.attributes["answer"]}" '
        f"{_percent(zero)} instead of {_percent(none)} {after}; with its activation negated, {_percent(negated)}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 or share == 0 else f"{100 * share:.1g} %"


def _drivers(heads: Table, neuron: str) -> Iterator[str]:
    """Name the attention head that moves the neuron's own activation most."""
    recovery = heads["recovery"]
    if not np.isfinite(recovery).any():
        yield f"The activation of {neuron} at the last position is the same in both prompts: nothing drives it there."
        return
    layer, head = np.unravel_index(int(np.abs(recovery).argmax()), recovery.shape)
    clean, corrupted = float(heads["clean"].mean()), float(heads["corrupted"].mean())
    yield (
        f"What drives it: of all attention heads, {layer}.{head} moves the activation of {neuron} most; patched alone, "
        f"it recovers {recovery[layer, head]:.2f} of it (clean {clean:.2f}, corrupted {corrupted:.2f})."
    )


def _prompt_set(read: Mapping[str, Table]) -> Iterator[str]:
    for part, title in ((HELD_OUT, "held-out"), (DEVELOPMENT, "development")):
        if "prompt_set" in read and (read["prompt_set"]["part"] == part).any():
            stats = {name: values[0] for name, values in statistics(read["prompt_set"], part, [0]).items()}
            several = stats["prompt_pairs"] > 1
            pairs = "prompt pairs" if several else "prompt pair"
            error = f" ± {stats['standard_error']:.3f} (mean and standard error)" if several else ""
            yield (
                f"Over {stats['prompt_pairs']} {title} {pairs} it recovers {stats['mean']:.3f}{error}, "
                f"the most of {read['prompt_set']['recovery'].shape[1]} neurons in {stats['times_best']} of them."
            )
            if part == HELD_OUT and several:
                yield from _held_out(read["prompt_set"].attributes, stats)


def _held_out(of: Mapping[str, Any], stats: Mapping[str, float]) -> Iterator[str]:
    """Say how far the mean over the held-out prompt pairs is known."""
    if np.isfinite(stats["low"]):
        yield (
            f"The 95 % bootstrap interval of the mean over the {stats['prompt_pairs']} held-out prompt pairs is "
            f"{stats['low']:.3f} to {stats['high']:.3f}. Recovery there differs from 0 with p = "
            f"{stats['p_corrected']:.2g} ({SIGNED_RANK}: p = {stats['p']:.2g}, times the {of['n_tests']:,} neurons "
            "that it was chosen from)."
        )
    if of[f"next_best_{HELD_OUT}"]:
        mean, p = (float(of[f"next_best_{name}_{HELD_OUT}"]) for name in ("mean", "p"))
        yield (
            f"The next best neuron over them is {of[f'next_best_{HELD_OUT}']}, with a mean of {mean:.3f}; the two "
            f"differ with p = {p:.2g} ({PERMUTED})."
        )


def _choice(read: Mapping[str, Table], neuron: str) -> Iterator[str]:
    if "choice" not in read:
        return
    of = read["choice"].attributes
    if not of["n_positions"]:
        return
    drawn = f"{of['n_held']:,} places drawn from " if of["n_held"] < of["n_positions"] else ""
    yield (
        f'At {drawn}the {of["n_positions"]:,} places of the corpus where "{of["token"]}" or "{of["foil"]}" is to be '
        "expected, "
        f"activation and logit difference correlate: {_interval(of, 'pearson')} (Pearson), "
        f"{_interval(of, 'spearman')} (Spearman), with 95 % intervals."
    )
    share = read["choice"]["mean_p_answer"]
    least, most = ("least", "most") if of["direction"] == "above" else ("most", "least")
    yield (
        f'Of both, the model gives "{of["token"]}" {share[0]:.2f} where {neuron} is {least} active, '
        f"and {share[-1]:.2f} where it is {most} active."
    )


def _interval(attributes: Mapping[str, Any], name: str) -> str:
    value, low, high = (float(attributes[key]) for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _rivals(swept: Table, neuron: str, layer: int, index: int) -> Iterator[str]:
    """Name neurons that do nearly as much, and those that work against it."""
    best = _recovery(swept, layer, index)
    top = zip(swept["top_layer"].tolist(), swept["top_index"].tolist(), swept["top_recovery"].tolist(), strict=True)
    others = [(neuron_name(of, at), value) for of, at, value in top if (of, at) != (layer, index)]
    if helping := [f"{name} ({value:.2f})" for name, value in others if value > NOT_ALONE * best]:
        verb = "recovers" if len(helping) == 1 else "recover"
        yield f"{neuron} is not alone: patched alone, {_listed(helping)} {verb} more than half as much."
    if against := [f"{name} ({value:.2f})" for name, value in others if value < -AGAINST]:
        verb = "moves" if len(against) == 1 else "move"
        yield f"Against it: {_listed(against)}, patched alone, {verb} the model the other way."


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def _missed_pairs(read: Mapping[str, Table], neuron: str) -> Iterator[str]:
    if "prompt_set" not in read:
        return
    table = read["prompt_set"]
    best = table["recovery"].argmax(1)
    for place in np.unique(best[best != 0]).tolist():
        times, other = int((best == place).sum()), names(table)[place]
        yield f"In {times} of {len(best)} prompt pairs {other} recovers more than {neuron}."


def _unsure(read: Mapping[str, Table], neuron: str) -> Iterator[str]:
    """Say where the held-out prompt pairs are too few, or too different, for the finding to be more than chance."""
    if "prompt_set" not in read:
        return
    stats = {name: values[0] for name, values in statistics(read["prompt_set"], HELD_OUT, [0]).items()}
    if stats["prompt_pairs"] and not stats["p_corrected"] < SURE:
        n_tests, pairs = int(read["prompt_set"].attributes["n_tests"]), int(stats["prompt_pairs"])
        least = min(1.0, 2.0 ** (1 - pairs) * n_tests)
        yield (
            f"Over the held-out prompt pairs ({pairs}) the recovery of {neuron} is not known to differ from 0: "
            f"corrected for {n_tests:,} neurons, p = {stats['p_corrected']:.2g}; so many prompt pairs give {least:.2g} "
            "at best."
        )


def _weak_corpus(read: Mapping[str, Table], neuron: str) -> Iterator[str]:
    of = read["association"].attributes
    predicted = f'"{of["token"]}" as the top prediction of all tokens'
    if not of["top_predictions"]:
        yield f"The corpus has no place with {predicted}, so the notebook's measure says nothing."
    elif not float(of["best_f1"]) >= WEAK_F1:
        yield f"As a predictor of {predicted}, {neuron} is weak: F1 {float(of['best_f1']):.2f} at best."
    if "choice" in read and not read["choice"].attributes["n_positions"]:
        yield "The corpus has no place where answer or foil is to be expected, so it says nothing of the choice."
    elif "choice" in read and not abs(float(read["choice"].attributes["pearson"])) >= WEAK_CORRELATION:
        yield (
            "Over the corpus its activation says little of the choice between answer and foil; it may be idle where "
            "the model does not know which noun comes."
        )
