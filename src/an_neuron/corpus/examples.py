"""Where in a corpus a neuron is most active: the places as a table and as a page to read."""

from collections.abc import Mapping
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
        "rank": Field("row", "int32", "", "from 1, most active first"),
        "activation": Field("row", "float32", "", "the neuron's activation"),
        "margin": Field("row", "float32", "logits", "the token's margin"),
        "prediction": Field("row", "text", "", "the model's top prediction"),
        "next": Field("row", "text", "", "the token that really follows"),
        "before": Field("row", "text", "", "the text before the token at the place"),
        "token": Field("row", "text", "", "the token at the place"),
        "after": Field("row", "text", "", "the text after it"),
        "row": Field("row", "int32", "", "row of the corpus"),
        "pos": Field("row", "int32", "", "position in the row"),
    },
)
EXAMPLES_PAGE = Schema("examples/{association}.html", "the same as a page to read")
BAR_COLOR = "#f6b8b8"
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
{style}
</head>
<body>
<h1>{title}</h1>
<p>{explanation}</p>
{table}
</body>
</html>
"""
EXPLANATION = (
    "The neuron's activation is read at the <mark>marked</mark> token; a bar shows it as a share of the largest. The "
    'margin is the logit of "{token}" minus the largest other logit, for the token that comes next: above 0, in red, '
    '"{token}" is the model\'s top prediction. Real next is the token that follows in the text. ↵ is a line break.'
)


def examples_frame(table: Table) -> pd.DataFrame:
    """Return the most activating places of an association.

    Parameters
    ----------
    table
        activations/{association}.h5, or its fields example_….

    Returns
    -------
    pandas.DataFrame
        The columns of `EXAMPLES`, most active first.
    """
    frame = pd.DataFrame({name: table[f"example_{name}"] for name in EXAMPLES.fields if name != "rank"})
    frame = frame.sort_values("activation", ascending=False, kind="stable", ignore_index=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    return frame


def write_examples_html(table: Table, path: str | Path) -> None:
    """Write the most activating places of an association as a small page, the token at each place marked.

    Parameters
    ----------
    table
        As for `examples_frame`; attributes layer, index, token.
    path
        The page; it needs no other file and no script.
    """
    neuron, token = neuron_and_token(table.attributes)
    frame = examples_frame(table)
    style, _, body = _styled(frame).to_html(table_uuid="examples").partition("</style>")
    page = PAGE.format(
        title=escape(f"Where {neuron} is most active", quote=False),
        explanation=EXPLANATION.format(token=token) if len(frame) else "No place was recorded.",
        style=f"{style}</style>",
        table=body.strip() if len(frame) else "",
    )
    write_text(path, page)


def _styled(frame: pd.DataFrame) -> Any:
    """Return the page's table with its colours."""
    shown = pd.DataFrame(
        {
            "Rank": frame["rank"],
            "Activation": frame["activation"],
            "Margin": frame["margin"],
            "Top prediction": [_quoted(text) for text in frame["prediction"]],
            "Real next": [_quoted(text) for text in frame["next"]],
            "Context": [_context(row) for row in frame.to_dict("records")],
        }
    )
    styled = shown.style.hide(axis="index").format({"Activation": "{:.3f}", "Margin": "{:+.3f}"})
    styled = styled.apply(_bars, subset=["Activation"])
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


def _bars(activation: pd.Series) -> list[str]:
    """Return a background for each cell whose bar is as long as its share of the largest activation."""
    largest = max(float(activation.max()), 0.0) or 1.0
    ends = [f"{100 * max(float(value), 0.0) / largest:.1f}%" for value in activation]
    return [f"background: linear-gradient(to right, {BAR_COLOR} {end}, transparent {end})" for end in ends]


def _quoted(text: str) -> str:
    """Return a token in quotes, which show its spaces; there is none at a corpus's end."""
    return f'"{visible(text)}"' if text else ""


def _context(place: Mapping[Any, Any]) -> str:
    """Return the text around a place, with the token there marked."""
    before, token, after = (visible(place[name]) for name in ("before", "token", "after"))
    return f"{before}<mark>{token}</mark>{after}"
