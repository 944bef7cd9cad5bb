"""Where in a corpus a neuron is most active: the places as a table and as a page to read."""

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from an_neuron.files.atomic import write_text
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Field, Schema
from an_neuron.files.texts import neuron_and_token, visible

EXAMPLES = Schema(
    "examples/{association}.csv",
    "the places of the corpus at which an association's neuron is most active",
    {
        "rank": Field("row", "int32", "", "from 1, most active first; of signed neurons at each end"),
        "end": Field("row", "text", "", "of signed neurons: highest or lowest activations", optional=True),
        "activation": Field("row", "float32", "", "the neuron's activation"),
        "margin": Field("row", "float32", "logits", "the token's margin"),
        "prediction": Field("row", "text", "", "the model's top prediction"),
        "next": Field("row", "text", "", "the token that really follows"),
        "before": Field("row", "text", "", "the text before the token at the place"),
        "token": Field("row", "text", "", "the token at the place"),
        "after": Field("row", "text", "", "the text after it"),
        "row": Field("row", "int32", "", "row of the corpus"),
        "pos": Field("row", "int32", "", "position in the row"),
        "document": Field("row", "text", "", "the document: its file, and :line where it is a line or row of it"),
    },
)
EXAMPLES_PAGE = Schema("examples/{association}.html", "the same as a page to read")
BAR_COLOR, NEGATIVE_BAR_COLOR = "#f6b8b8", "#b8ccf6"
TOP_COLOR = "#cf222e"  # of the margin where the token is the top prediction

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 14px/1.5 sans-serif; margin: 2em; color: #1f2328; }}
h1 {{ font-size: 1.3em; }}
p {{ max-width: 60em; }}
mark {{ background: #ffd33d; border-radius: 2px; }}
</style>
{styles}
</head>
<body>
<h1>{title}</h1>
<p>{explanation}</p>
{tables}
</body>
</html>
"""
EXPLANATION = (
    "The neuron's activation is read at the <mark>marked</mark> token; a bar shows it as a share of the largest. The "
    'margin is the logit of "{token}" minus the largest other logit, for the token that comes next: above 0, in red, '
    '"{token}" is the model\'s top prediction. Real next is the token that follows in the text. ↵ is a line break.'
)
OF_SIGNED = (
    " A negative activation writes the opposite of what a positive one does: its bar is blue. Bars are shares of the "
    "largest activation of either sign."
)
HEADINGS = {"highest": "Highest activations", "lowest": "Lowest activations"}


def examples_frame(table: Table) -> pd.DataFrame:
    """Return the most activating places of an association.

    Parameters
    ----------
    table
        activations/{association}.h5, or its fields example_….

    Returns
    -------
    pandas.DataFrame
        The columns of `EXAMPLES`, most active first; of a signed neuron those of the lowest activations follow.
    """
    signed = "example_end" in table.datasets
    columns = [name for name in EXAMPLES.fields if name != "rank" and (signed or name != "end")]
    frame = pd.DataFrame({name: table[f"example_{name}"] for name in columns})
    if signed:
        lowest = frame["end"] == "lowest"
        return pd.concat([_ranked(frame[~lowest]), _ranked(frame[lowest], lowest=True)], ignore_index=True)
    return _ranked(frame)


def _ranked(frame: pd.DataFrame, lowest: bool = False) -> pd.DataFrame:
    frame = frame.sort_values("activation", ascending=lowest, kind="stable", ignore_index=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    return frame


def write_examples_html(table: Table, path: str | Path) -> None:
    """Write the most activating places of an association as a small page, the token at each place marked.

    Parameters
    ----------
    table
        As for `examples_frame`; attributes layer, index, token. A signed neuron's ends have a section each.
    path
        The page; it needs no other file and no script.
    """
    neuron, token = neuron_and_token(table.attributes)
    frame = examples_frame(table)
    parts = list(_sections(frame))
    explanation = EXPLANATION.format(token=token) + (OF_SIGNED if "end" in frame else "")
    page = PAGE.format(
        title=escape(f"Where {neuron} is most active", quote=False),
        explanation=explanation if len(frame) else "No place was recorded.",
        styles="\n".join(style for style, _ in parts),
        tables="\n".join(body for _, body in parts) if len(frame) else "",
    )
    write_text(path, page)


def _sections(frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield the style and the table of all places, or of each end under a heading."""
    largest = float(frame["activation"].abs().max() if "end" in frame else frame["activation"].max())
    ends = frame["end"].unique().tolist() if "end" in frame else [""]
    for end in ends:
        places = frame[frame["end"] == end] if end else frame
        html = _styled(places, largest).to_html(table_uuid=f"examples_{end}" if end else "examples")
        style, _, body = html.partition("</style>")
        yield f"{style}</style>", (f"<h2>{HEADINGS[end]}</h2>\n" if end else "") + body.strip()


def _styled(frame: pd.DataFrame, largest: float) -> Any:
    """Return a table with its colours; bars are shares of the largest activation."""
    shown = pd.DataFrame(
        {
            "Rank": frame["rank"],
            "Activation": frame["activation"],
            "Margin": frame["margin"],
            "Top prediction": [_quoted(text) for text in frame["prediction"]],
            "Real next": [_quoted(text) for text in frame["next"]],
            "Context": [_context(row) for row in frame.to_dict("records")],
            "Document": frame["document"],
        }
    )
    if frame["document"].nunique() < 2:  # as in a book
        shown = shown.drop(columns="Document")
    styled = shown.style.hide(axis="index").format({"Activation": "{:.3f}", "Margin": "{:+.3f}"})
    if "Document" in shown:
        styled = styled.format(visible, subset=["Document"], escape="html")
    styled = styled.apply(_bars, subset=["Activation"], largest=largest, signed="end" in frame)
    styled = styled.map(lambda margin: f"color: {TOP_COLOR}" if margin > 0 else "", subset=["Margin"])
    numbers = ", ".join(f"{cell}.col{column}" for column in range(3) for cell in ("td", "th"))
    return styled.set_table_styles(
        [
            {"selector": "", "props": "border-collapse: collapse"},
            {"selector": "th, td", "props": "padding: 0.3em 0.8em; text-align: left; vertical-align: top"},
            {"selector": "th", "props": "white-space: nowrap"},
            {"selector": "td", "props": "border-top: 1px solid #d8dee4"},
            {"selector": numbers, "props": "text-align: right; font-variant-numeric: tabular-nums"},
            {"selector": "td.col1", "props": "min-width: 7em"},
            {"selector": "td.col3, td.col4", "props": "white-space: pre"},
            {"selector": "td.col5", "props": "white-space: pre-wrap; overflow-wrap: anywhere; max-width: 46em"},
        ]
    )


def _bars(activation: pd.Series, largest: float, signed: bool) -> list[str]:
    """Return a background for each cell whose bar is as long as its share of the largest activation.

    A negative activation has a bar, of another colour, where the neuron is signed.
    """
    largest = max(largest, 0.0) or 1.0
    bars = []
    for value in activation.tolist():
        color = NEGATIVE_BAR_COLOR if signed and value < 0 else BAR_COLOR
        end = f"{100 * max(abs(value) if signed else value, 0.0) / largest:.1f}%"
        bars.append(f"background: linear-gradient(to right, {color} {end}, transparent {end})")
    return bars


def _quoted(text: str) -> str:
    """Return a token in quotes, which show its spaces; there is none at a corpus's end."""
    return f'"{visible(text)}"' if text else ""


def _context(place: Mapping[Any, Any]) -> str:
    """Return the text around a place, with the token there marked."""
    before, token, after = (visible(place[name]) for name in ("before", "token", "after"))
    return f"{before}<mark>{token}</mark>{after}"
