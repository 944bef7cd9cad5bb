"""The page of all studies: what each found, where its page is, and their neurons side by side."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from an_neuron.files.atomic import write_text
from an_neuron.files.schema import Schema
from an_neuron.page.rendering import render
from an_neuron.page.results import link
from an_neuron.study.built import Built
from an_neuron.study.comparison import summary

if TYPE_CHECKING:
    import pandas as pd

PAGE = Schema(
    "results/index.html",
    "the studies that are built, their findings and neurons side by side; it also names those that are not built",
)


def write_studies_page(
    path: Path, compared: "pd.DataFrame", built: Iterable[Built], absent: Sequence[str], formats: Sequence[str]
) -> None:
    """Write the page of all studies; numbers that are not there are dashes, and quotes show tokens' spaces.

    Parameters
    ----------
    path
        The page.
    compared
        The studies' neurons side by side, as `an_neuron.study.comparison.compare_studies` gives them.
    built
        The studies that are built.
    absent
        The names of those that are not.
    formats
        Those of the figure that compares them.
    """
    studies = [
        {"name": one.study, "finding": one.finding, "page": link(Path(one.page), path.parent) if one.page else ""}
        for one in built
    ]
    rows = compared.to_dict("records")
    write_text(
        path, render("studies.html", studies=studies, rows=rows, said=summary(compared, absent), formats=formats)
    )
