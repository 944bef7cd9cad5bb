"""What the figures of one association over a corpus share: room, sentences, the base rate, the margin's axes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import (
    BOX_LARGER,
    LABEL_BACKGROUND,
    MARGIN,
    Frame,
    Labels,
    along,
)
from an_neuron.figures.style import add_reference, empty_figure
from an_neuron.files.look import look, named
from an_neuron.files.texts import neuron_and_token

ROOM = {**MARGIN, "t": 72, "r": 120}  # for a subtitle and a legend
FEW = 10
"""A share of fewer tokens is marked, since it says little."""


def few(totals: np.ndarray) -> np.ndarray:
    """Say which shares are of fewer tokens than `FEW`."""
    return totals < FEW


def share_symbols(totals: np.ndarray) -> np.ndarray:
    """Return the symbol of each share: hollow where it is of few tokens."""
    return np.where(few(totals), "circle-open", "circle")


def is_signed(attributes: Mapping[str, Any]) -> bool:
    """Say whether the neuron's negative activations write as positive ones do."""
    return bool(attributes.get("signed", 0))


def never_active(attributes: Mapping[str, Any]) -> str:
    """Return the sentence for a neuron that has nothing to show."""
    what = "every activation is 0" if is_signed(attributes) else "no activation is positive"
    return f"The neuron is never active: {what}."


def active_tokens(attributes: Mapping[str, Any], number: int) -> str:
    """Return how many tokens a figure counts, and which."""
    what = "an activation of either sign" if is_signed(attributes) else "positive activation"
    return f"{number:,} tokens with {what}"


def margin_figure(attributes: Mapping[str, Any], frame: Frame) -> go.Figure:
    """Return an empty figure of a token's margin against a neuron's activation."""
    neuron, token = neuron_and_token(attributes)
    shown = "" if is_signed(attributes) else " (>=0)"
    original = f'{neuron} activations{shown} vs. "{token}" Logit subtract Top Other Logit'
    title = named(f'Margin of "{token}" by {neuron} activation', original)
    margin = named(f'Margin: logit of "{token}" − largest other', f'"{token}" Logit - Max Other Logit')
    return empty_figure(title, f"{neuron} activation", margin, frame)


def prediction_counts(attributes: Mapping[str, Any]) -> str:
    """Return the text of the box that compares predictions with occurrences."""
    return f"Top predictions: {attributes['top_predictions']}<br>Actual occurrences: {attributes['occurrences']}"


def say(figure: go.Figure, sentence: str) -> go.Figure:
    """Put a sentence into a figure that has nothing to show."""
    place = {"xref": "x domain", "yref": "y domain", "x": 0.5, "y": 0.5}
    figure.add_annotation(text=sentence, font_size=BOX_LARGER * look().font_size, showarrow=False, **place)
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False)
    figure.update_yaxes(showticklabels=False, showgrid=False, zeroline=False)
    return figure


def add_base_rate(figure: go.Figure, layout: Labels, attributes: Mapping[str, Any]) -> None:
    """Add the proportion of top predictions among all tokens as a dashed line."""
    counts = f"{attributes['top_predictions']:,} of {attributes['n_tokens']:,} tokens"
    rate = int(attributes["top_predictions"]) / int(attributes["n_tokens"])
    add_reference(figure, layout, rate, f"Base rate: {rate:.2g} ({counts})", bgcolor=LABEL_BACKGROUND)


def traced(frame: Frame, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return points along a curve, as far as it has values."""
    known = np.isfinite(y)
    points = frame.pixels(x[known], y[known])
    return along(points) if len(points) > 1 else points
