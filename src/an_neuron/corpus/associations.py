"""Associations: the best-aligned ones of a model, their names in files, and the list of a study's."""

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from an_neuron.errors import UserError
from an_neuron.files.atomic import replacing
from an_neuron.files.hdf5 import Table
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.model.tokens import single_token

LONGEST_SLUG = 40  # characters, of up to 4 bytes each; a file's name may have 255 bytes
SOURCES = ("studied", "listed", "exclusive")


@dataclass(frozen=True)
class Association:
    """A token and a neuron, and why they are looked at: studied, listed in the configuration, or well aligned."""

    token: str
    token_id: int
    layer: int
    index: int
    source: str


def mutually_exclusive(top_neurons: Table, top_tokens: Table, number: int) -> list[Association]:
    """Return the associations whose token is the neuron's best and whose neuron the token's, those that stand out first.

    How far an association stands out is the product of two gaps: from the token's best neuron to its second, and from the
    neuron's best token to its second. Where a gap is 0, or there is no second, nothing does, and no association is returned.
    Of equal products that of the lower token id comes first.

    Parameters
    ----------
    top_neurons, top_tokens
        congruence/top_neurons.h5 and congruence/top_tokens.h5, with at least two of each.
    number
        How many associations to return; there are fewer where the model has not as many.
    """
    layer, index = top_neurons["layer"][:, 0], top_neurons["index"][:, 0]  # [d_vocab]
    mutual = top_tokens["token"][layer, index, 0] == np.arange(len(layer))
    product = _gap(top_neurons["value"]) * _gap(top_tokens["value"])[layer, index]
    found = np.flatnonzero(mutual & (product > 0))
    best = found[np.argsort(-product[found], kind="stable")][:number]
    return [
        Association(str(top_neurons["token"][token]), int(token), int(layer[token]), int(index[token]), "exclusive")
        for token in best
    ]


def named_associations(
    tokenizer: Tokenizer, answer: str, neuron: Mapping[str, int], listed: Iterable[Mapping[str, Any]]
) -> list[Association]:
    """Return the studied association, and those that a configuration lists, each with token, layer and index.

    Raises
    ------
    UserError
        If a text is not a single token.
    """
    first = Association(answer, single_token(tokenizer, answer), neuron["layer"], neuron["index"], "studied")
    others = [
        Association(
            association["token"],
            single_token(tokenizer, association["token"]),
            association["layer"],
            association["index"],
            "listed",
        )
        for association in listed
    ]
    return [first, *others]


def studied_tokens(associations: Iterable[Association]) -> list[int]:
    """Return the different token ids of some associations, in their order."""
    return list(dict.fromkeys(association.token_id for association in associations))


def unique(associations: Iterable[Association]) -> list[Association]:
    """Return the first of the associations of each token id and neuron, in their order."""
    kept: dict[tuple[int, int, int], Association] = {}
    for association in associations:
        kept.setdefault((association.token_id, association.layer, association.index), association)
    return list(kept.values())


def association_names(associations: Iterable[tuple[str, int, int]]) -> list[str]:
    """Return the name in files of each (token, layer, index): token_{slug}_neuron_{layer}.{index}.

    The slug is the stripped token with underscores for what is no letter, digit or underscore; of a token that has
    none, it is an x and the token's bytes in hexadecimal. A name that was given before, as to " an" after "an", gets a
    number: token_an_2_neuron_…. Upper and lower case count as the same, as they do in some file systems.
    """
    names: list[str] = []
    given: set[str] = set()
    for token, layer, index in associations:
        name = next(name for name in _candidates(_slug(token), layer, index) if name.casefold() not in given)
        given.add(name.casefold())
        names.append(name)
    return names


def write_associations(path: str | Path, associations: Iterable[Association]) -> None:
    """Write associations.json: a list of associations with the fields of Association, and their name in files."""
    associations = list(associations)
    names = association_names((association.token, association.layer, association.index) for association in associations)
    listed = [{**asdict(association), "name": name} for association, name in zip(associations, names, strict=True)]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(listed, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_associations(path: str | Path) -> list[Association]:
    """Read what `write_associations` wrote; names are not read, since `association_names` gives them.

    Raises
    ------
    UserError
        If the file is missing or broken; the message names it.
    """
    try:
        listed = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}); delete it and run snakemake again.") from error
    except ValueError as error:  # neither UTF-8 nor JSON
        raise UserError(f"{path} is damaged ({error}); delete it and run snakemake again.") from error
    if not isinstance(listed, list) or not all(map(_is_association, listed)):
        raise UserError(f"{path} holds no list of tokens and neurons; delete it and run snakemake again.")
    return [Association(**{field.name: entry[field.name] for field in fields(Association)}) for entry in listed]


def _gap(values: np.ndarray) -> np.ndarray:
    """Return how far the best is above the second, [..., k] to [...]; NaN where that is not a positive number."""
    best, second = values[..., 0].astype(float), values[..., 1].astype(float)
    with np.errstate(invalid="ignore"):  # -inf, where there is no best, less -inf
        gap = best - second
    return np.where(np.isfinite(gap) & (gap > 0), gap, np.nan)


def _slug(token: str) -> str:
    slug = re.sub(r"\W+", "_", token.strip()).strip("_") or f"x{token.encode().hex()}"
    return slug[:LONGEST_SLUG].rstrip("_")


def _candidates(slug: str, layer: int, index: int) -> Iterable[str]:
    """Yield the names that an association may have, the plain one first."""
    for number in itertools.count(1):
        numbered = slug if number == 1 else f"{slug}_{number}"
        yield f"token_{numbered}_neuron_{layer}.{index}"


def _is_association(entry: Any) -> bool:
    """Say whether an object of a JSON file has every field of an association, each of its type."""
    typed = isinstance(entry, dict) and all(type(entry.get(field.name)) is field.type for field in fields(Association))
    return typed and entry["source"] in SOURCES
