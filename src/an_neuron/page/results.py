"""What a study built, as far as its page tells of it, and what a section of the page is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Table


def link(path: Path, folder: Path) -> str:
    """Return how a page in a folder links to a file: as part of an address, from there."""
    return quote(Path(relpath(path, folder)).as_posix())


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes
    ----------
    name
        Of its template, sections/{name}.html, of its data, and of its place in the page.
    title
        Its heading.
    shown
        What the template says.
    data
        What page.js draws.
    """

    name: str
    title: str
    shown: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


class Results:
    """The files of a study by the names of the page's inputs; a table is read once, when it is first asked for.

    Parameters
    ----------
    files
        A file, or several, by name. Parts that a study lacks are not in it.
    neuron
        Layer and index of the studied neuron.
    folder
        The page's folder, from which links lead to files.
    formats
        Those of the figures.
    """

    def __init__(
        self, files: Mapping[str, Path | Sequence[Path]], neuron: tuple[int, int], folder: Path, formats: Sequence[str]
    ) -> None:
        self.files, self.neuron, self.folder, self.formats = files, neuron, folder, formats
        self._read: dict[Path, Table] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def path(self, name: str) -> Path:
        """Return the one file of a name."""
        found = self.files[name]
        assert isinstance(found, Path), f"{name} is several files"
        return found

    def paths(self, name: str) -> Sequence[Path]:
        """Return the files of a name."""
        found = self.files[name]
        return [found] if isinstance(found, Path) else found

    def table(self, name: str) -> Table:
        """Return the one table of a name."""
        return self._table(self.path(name))

    def tables(self, name: str) -> list[Table]:
        """Return the tables of a name."""
        return [self._table(path) for path in self.paths(name)]

    def link(self, path: Path) -> str:
        """Return how the page links to a file."""
        return link(path, self.folder)

    def _table(self, path: Path) -> Table:
        if path not in self._read:
            self._read[path] = hdf5.read(path)
        return self._read[path]


def links_of(results: Results) -> list[str]:
    """Return the links to all files that a page tells of."""
    return sorted({results.link(path) for name in results.files for path in results.paths(name)})
