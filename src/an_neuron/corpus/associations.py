"""Associations of a token, or a group of tokens, and a neuron: their names in files, and associations.json."""

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from an_neuron.errors import DamagedFileError
from an_neuron.files.schema import Schema
from an_neuron.files.sealed import read_json, write_json

ASSOCIATIONS = Schema(
    "associations.json",
    "the studied associations: a list of objects with token (of a group its tokens, with slashes between them), "
    "token_id, further_ids (of the other tokens of a group), layer, index, source (studied, listed or exclusive) and "
    "name (of their files)",
)
LONGEST_SLUG = 40  # characters, of up to 4 bytes each; a file's name may have 255 bytes
SOURCES = ("studied", "listed", "exclusive")


@dataclass(frozen=True)
class Association:
    """A token and a neuron, and why they are looked at: studied, listed in the configuration, or mutually exclusive.

    In the token's place a group of tokens may stand, each as good as the others (" though", " however").

    Attributes
    ----------
    token
        The text; of a group that of `an_neuron.files.texts.group_text`.
    token_id
        The token's id; of a group that of its first.
    further_ids
        The ids of a group's other tokens.
    """

    token: str
    token_id: int
    layer: int
    index: int
    source: str
    further_ids: tuple[int, ...] = ()

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The ids of all its tokens: of one, or of a group."""
        return self.token_id, *self.further_ids


def studied_tokens(associations: Iterable[Association]) -> list[tuple[int, ...]]:
    """Return the different tokens or groups of tokens of associations, by their ids, in their order."""
    return list(dict.fromkeys(association.token_ids for association in associations))


def unique(associations: Iterable[Association]) -> list[Association]:
    """Return the first of the associations of each token (or group) and neuron, in their order."""
    kept: dict[tuple[tuple[int, ...], int, int], Association] = {}
    for association in associations:
        kept.setdefault((association.token_ids, association.layer, association.index), association)
    return list(kept.values())


def association_names(associations: Iterable[tuple[str, int, int]]) -> list[str]:
    """Return the name in files of each (token, layer, index): token_{slug}_neuron_{layer}.{index}.

    The slug is the stripped token with underscores for what is no letter, digit or underscore; of a token that has
    none, it is an x and the token's bytes in hexadecimal. A name that is taken, as that of " an" for "an", gets a
    number: token_an_2_neuron_…. Upper and lower case count as the same, as they do in some file systems.
    """
    names: list[str] = []
    taken: set[str] = set()
    for token, layer, index in associations:
        name = next(name for name in _candidates(_slug(token), layer, index) if name.casefold() not in taken)
        taken.add(name.casefold())
        names.append(name)
    return names


def names_of(associations: Iterable[Association]) -> list[str]:
    """Return the name in files of each association."""
    return association_names((one.token, one.layer, one.index) for one in associations)


def write_associations(path: str | Path, associations: Iterable[Association]) -> None:
    """Write associations.json: a list of associations with the fields of Association, and their name in files."""
    associations = list(associations)
    names = names_of(associations)
    write_json(path, [{**asdict(one), "name": name} for one, name in zip(associations, names, strict=True)], indent=1)


def read_associations(path: str | Path) -> list[Association]:
    """Read what `write_associations` wrote; names are not read, since `association_names` gives them.

    Raises
    ------
    DamagedFileError
        If the file is missing or broken.
    """
    entries = read_json(path)
    if not isinstance(entries, list) or not all(map(_is_association, entries)):
        raise DamagedFileError(path, "holds no list of tokens and neurons")
    return [Association(**{**_members(entry), "further_ids": tuple(entry["further_ids"])}) for entry in entries]


def _members(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: entry[field.name] for field in fields(Association)}


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
    if not isinstance(entry, dict):
        return False
    further = entry.get("further_ids")
    if not isinstance(further, list) or not all(type(token_id) is int for token_id in further):
        return False
    single = (field for field in fields(Association) if field.name != "further_ids")
    return all(type(entry.get(field.name)) is field.type for field in single) and entry["source"] in SOURCES
