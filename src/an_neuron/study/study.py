"""A study as an object: made once from its checked block of the configuration, it answers what the rules ask.

Snakemake reads this module at each start, so what takes long to import is imported where it is used.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from an_neuron.errors import UserError
from an_neuron.files.look import Look
from an_neuron.files.texts import group_text, neuron_name, parse_neuron
from an_neuron.model.folder import Shape, read_shape, weight_files
from an_neuron.patching.screen_sizes import SAMPLE
from an_neuron.prompts.prompt_set import HELD_OUT, MAIN, WrittenPair, written_pairs
from an_neuron.study.corpus import Corpus
from an_neuron.study.listed import Listed
from an_neuron.study.model import Model

AUTO = "auto"
SMALL_MODEL = 200_000_000
"""Bytes of weights up to which one thread per job is enough."""
MEDIUM_MODEL = 1_000_000_000
"""Bytes of weights up to which most jobs start for longer than they compute, so that two better run side by side."""
MOST_HELD_OUT = 8
"""Held-out prompt pairs on which is measured what takes long in each of them."""
UNKNOWN = Shape(n_layers=36, d_model=1280, d_mlp=5120, n_ctx=1024, d_vocab=50257)
"""Stands for a model that is not fetched yet: GPT-2 Large. Its jobs are estimated again when it is there."""


@dataclass(frozen=True)
class Prompts:
    """The texts of a clean and a corrupted prompt."""

    clean: str
    corrupted: str


@dataclass(frozen=True)
class SweepOptions:
    """How neurons are patched.

    Attributes
    ----------
    precision
        In which, auto where the device decides.
    screen, sample
        How many neurons are patched because attribution puts them first, and how many of the others, drawn at random;
        None where every neuron is patched.
    """

    precision: str
    screen: int | None = None
    sample: int | None = None

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "SweepOptions":
        """Read the key `sweep`; what a screen chooses is patched in float32."""
        if "screen" not in block:
            return cls(block["precision"])
        return cls("highest", int(block["screen"]), int(block.get("sample", SAMPLE)))


@dataclass(frozen=True)
class Study:
    """A model, prompt pairs, an answer and a foil, a neuron and a corpus.

    Attributes
    ----------
    prompts
        The main prompt pairs, on which every sweep runs.
    prompt_set, prompt_file
        Further ones, on which the neurons that stand out are patched, and the file of all; none where not given.
    neuron
        None where the best of the sweep is studied (`auto`).
    top
        How many mutually exclusive associations of the model are recorded besides.
    layers
        Whose neurons are all patched; None for all.
    sweep
        How they are.
    """

    name: str
    model: Model
    prompts: tuple[Prompts, ...]
    prompt_set: tuple[WrittenPair, ...]
    prompt_file: str | None
    further_prompts: tuple[str, ...]
    answer: str
    foil: str
    neuron: tuple[int, int] | None
    associations: tuple[Listed, ...]
    top: int
    layers: tuple[int, ...] | None
    sweep: SweepOptions
    top_k: int
    corpus: Corpus
    readout: str
    figures: Look
    published: str | None

    @classmethod
    def of(cls, name: str, block: Mapping[str, Any]) -> "Study":
        """Make a study from its block of a checked configuration, in which the schema's defaults are filled in."""
        layers, pairs = block.get("layers"), written_pairs(block)
        return cls(
            name=name,
            model=Model.of(block["model"]),
            prompts=tuple(Prompts(pair.clean, pair.corrupted) for pair in pairs if pair.part == MAIN),
            prompt_set=tuple(pair for pair in pairs if pair.part != MAIN),
            prompt_file=block["prompts"]["file"] if isinstance(block["prompts"], Mapping) else None,
            further_prompts=tuple(block["further_prompts"]),
            answer=block["answer"],
            foil=block["foil"],
            neuron=None if block["neuron"] == AUTO else parse_neuron(block["neuron"]),
            associations=tuple(map(Listed.of, block["associations"])),
            top=int(block["top"]),
            layers=None if layers is None else tuple(sorted(int(layer) for layer in layers)),
            sweep=SweepOptions.of(block["sweep"]),
            top_k=int(block["top_k"]),
            corpus=Corpus.of(block["corpus"]),
            readout=block["readout"],
            figures=Look(**block.get("figures", {})),
            published=block.get("published"),
        )

    @property
    def results(self) -> str:
        """The folder of the study's results."""
        return f"results/{self.name}"

    @property
    def model_folder(self) -> str:
        """The model's folder: a local one, or where it is fetched to."""
        return self.model.path

    @property
    def model_files(self) -> list[str]:
        """The files that stand for the model: a local folder's own, or the list that ends a fetch."""
        return self.model.files

    @property
    def sources(self) -> list[str]:
        """What the study is made of: the model's files, the corpus, and published values."""
        return [*self.model_files, *self.corpus.paths, *filter(None, [self.prompt_file, self.published])]

    # The model's sizes

    @property
    def is_small(self) -> bool:
        """Whether the weights are known to be so few that jobs better run side by side, with one thread each."""
        return 0 < self.weight_bytes_on_disk < SMALL_MODEL

    @property
    def is_medium(self) -> bool:
        """Whether they are known to be so few that two jobs better run side by side, with half of the cores each."""
        return SMALL_MODEL <= self.weight_bytes_on_disk < MEDIUM_MODEL

    @property
    def weight_bytes_on_disk(self) -> int:
        """Bytes of the model's weights; 0 for a model that is not fetched yet."""
        folder = Path(self.model_folder)
        return sum(path.stat().st_size for path in weight_files(folder) if path.is_file())

    def shape(self) -> Shape:
        """Return the sizes of the model, whose folder must be there.

        Raises
        ------
        UserError
            If the folder holds no decoder's configuration.
        """
        return read_shape(Path(self.model_folder))

    def known_shape(self) -> Shape:
        """Return the model's sizes for estimates: `UNKNOWN` while the model is not fetched."""
        try:
            return self.shape()
        except UserError:
            return UNKNOWN

    def swept_layers(self, shape: Shape) -> list[int]:
        """Return the layers that are swept, or that a screen chooses from: those that the study lists, or all."""
        return list(range(shape.n_layers) if self.layers is None else self.layers)

    def screened(self, layers: Iterable[int]) -> int | None:
        """Return how many neurons a screen of layers chooses; None where all of these layers' neurons are patched.

        The studied neuron's layer is swept as a whole where the study does not list it.
        """
        if self.sweep.screen is None or (self.layers is not None and not {*layers} <= {*self.layers}):
            return None
        return self.sweep.screen + (self.sweep.sample or 0)

    @property
    def needs_choice(self) -> bool:
        """Whether the model decides on associations: the studied neuron, or the clearest ones."""
        return self.neuron is None or self.top > 0

    def association_names(self) -> list[str]:
        """Return the names in files of the studied association and those listed, where the model has nothing to choose.

        Raises
        ------
        ValueError
            If the model has to choose some of them.
        """
        if self.neuron is None or self.top:
            raise ValueError(f"the associations of {self.name} are chosen by its model")
        listed = [(one.tokens, one.layer, one.index) for one in self.associations]
        different = dict.fromkeys([((self.answer,), *self.neuron), *listed])
        return _names((group_text(tokens), layer, index) for tokens, layer, index in different)

    def studied_association(self, layer: int, index: int) -> str:
        """Return the name in files of the association of the answer and the studied neuron."""
        return _names([(self.answer, layer, index)])[0]

    # What rules hand to their scripts: built of dictionaries, lists, texts and numbers alone

    @property
    def attributes(self) -> dict[str, str]:
        """What every result file says of its origin."""
        return {"study": self.name, **self.model.attributes, "dtype": "float32"}

    @property
    def corpus_options(self) -> dict[str, str]:
        """How the corpus is read, and what is kept of it."""
        corpus = self.corpus
        return {"readout": self.readout, "precision": corpus.precision, "keep": corpus.keep, "dtype": corpus.dtype}

    @property
    def watched_neurons(self) -> str | list[int]:
        """Of which layers the corpus pass watches every neuron: `all`, `none`, or a list."""
        return self.corpus.neurons if isinstance(self.corpus.neurons, str) else [*self.corpus.neurons]

    @property
    def watches_neurons(self) -> bool:
        """Whether it watches every neuron of some layer."""
        return self.corpus.neurons != "none"

    @property
    def look(self) -> dict[str, Any]:
        """How figures look."""
        return asdict(self.figures)

    @property
    def choice(self) -> dict[str, Any]:
        """From what associations are chosen: answer, neuron (None where the sweep decides), associations and top."""
        return {
            "answer": self.answer,
            "neuron": self.neuron and dict(zip(("layer", "index"), self.neuron, strict=True)),
            "associations": [_builtin(listed) for listed in self.associations],
            "top": self.top,
        }

    @property
    def held_out(self) -> list[dict[str, str]]:
        """The first held-out prompt pairs, for what takes long in each of them."""
        held_out = [pair for pair in self.prompt_set if pair.part == HELD_OUT]
        return [{"clean": pair.clean, "corrupted": pair.corrupted} for pair in held_out[:MOST_HELD_OUT]]

    def part(self, *keys: str) -> dict[str, Any]:
        """Return some keys of the study as the configuration spells them, all where none is named; unset ones lack.

        Equal studies give equal parts: defaults are filled in, and what has no order is sorted.
        """
        names = keys or [field.name for field in fields(self) if field.name != "name"]
        values = {key: _builtin(getattr(self, key)) for key in names}
        if not self.prompt_set:
            values.pop("prompt_set", None)
        if "neuron" in values:
            values["neuron"] = AUTO if self.neuron is None else neuron_name(*self.neuron)
        if "associations" in values:
            values["associations"] = [listed.written for listed in self.associations]
        return {key: value for key, value in values.items() if value is not None}


def _names(associations: Iterable[tuple[str, int, int]]) -> list[str]:
    from an_neuron.corpus.associations import association_names

    return association_names(associations)


def _builtin(value: Any) -> Any:
    """Return a value of dictionaries, lists, texts and numbers alone; fields that are not set are left out."""
    if is_dataclass(value):
        values = {field.name: _builtin(getattr(value, field.name)) for field in fields(value)}
        return {name: value for name, value in values.items() if value is not None}
    return [_builtin(one) for one in value] if isinstance(value, tuple) else value
