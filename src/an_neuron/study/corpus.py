"""Where a study's text comes from, how it is read, and what is kept of the pass over it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from an_neuron.corpus.sources import DATASET_LIST, book_name, corpus_files, dataset_name

BOOKS, DATASETS = "downloads/books", "downloads/datasets"


@dataclass(frozen=True)
class Dataset:
    """A split of a dataset on the hub, and the column of its texts."""

    name: str
    revision: str
    config: str | None
    split: str
    column: str

    @property
    def source(self) -> dict[str, str | None]:
        """What is fetched: name, revision, configuration and split."""
        return {key: value for key, value in asdict(self).items() if key != "column"}

    @property
    def key(self) -> str:
        """The name of its folder under downloads/datasets; studies of one split share it."""
        return dataset_name(self.source)


@dataclass(frozen=True)
class Corpus:
    """A corpus as the configuration describes it.

    Attributes
    ----------
    url, file
        Of a book, one of the two where it is one.
    files
        Else paths and patterns of files of documents, and `column` where in these texts are.
    dataset
        Else a dataset.
    neurons
        Whose statistics are kept besides: all, none, or those of some layers.
    """

    url: str | None
    sha256: str | None
    file: str | None
    files: tuple[str, ...] | None
    dataset: Dataset | None
    column: str
    on_bad_line: str
    packing: str
    encoding: str | None
    boilerplate: str
    n_ctx: int | None
    rows: int | None
    precision: str
    keep: str
    dtype: str
    neurons: str | tuple[int, ...]

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "Corpus":
        """Make a corpus from its block; keys without a default may lack."""
        values: dict[str, Any] = {field.name: block.get(field.name) for field in fields(cls)}
        if (files := values["files"]) is not None:
            values["files"] = (files,) if isinstance(files, str) else tuple(files)
        if (dataset := values["dataset"]) is not None:
            values["dataset"] = Dataset(**{field.name: dataset.get(field.name) for field in fields(Dataset)})
        if isinstance(neurons := values["neurons"], list):
            values["neurons"] = tuple(sorted(neurons))
        return cls(**values)

    @property
    def is_book(self) -> bool:
        """Whether it is a book, whose text is extracted; else it is files of documents, or a dataset."""
        return self.url is not None or self.file is not None

    @property
    def book_key(self) -> str:
        """The name of a downloaded book under downloads/books; studies of one address and checksum share it."""
        if self.url is None:
            raise ValueError("the book is a local file")
        return book_name(self.url, self.sha256)

    @property
    def book_file(self) -> str:
        """The file with a book's text, HTML or plain: a local one, or where it is downloaded to."""
        return self.file if self.file is not None else f"{BOOKS}/{self.book_key}"

    @property
    def book_source(self) -> dict[str, str | None]:
        """Address and checksum of a book that is downloaded."""
        return {"url": self.url, "sha256": self.sha256}

    @property
    def paths(self) -> list[str]:
        """The files that the corpus is read from: a book, files of documents, or the list of a dataset's files.

        Raises
        ------
        UserError
            If a pattern means no file.
        """
        if self.dataset is not None:
            return [f"{DATASETS}/{self.dataset.key}/{DATASET_LIST}"]
        return [self.book_file] if self.files is None else corpus_files(self.files)

    @property
    def documents(self) -> dict[str, Any]:
        """How it is read and tokenized; the length of rows is left out where that does not depend on it."""
        column = self.column if self.dataset is None else self.dataset.column
        return {
            "book": self.book_file if self.is_book else None,
            "how": {"column": column, "encoding": self.encoding, "boilerplate": self.boilerplate},
            "on_bad_line": self.on_bad_line,
            "packing": self.packing,
            "n_ctx": self.n_ctx if self.rows or self.packing != "rows" else None,
            "rows": self.rows,
        }
