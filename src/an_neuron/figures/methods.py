"""How well ways to estimate patches find the largest exact effects.

| function | table |
| --- | --- |
| `methods_fig` | circuit/methods.h5 |
"""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from an_neuron.figures.labels import MARGIN, Frame
from an_neuron.figures.style import REFERENCE_COLOR, TEMPLATE, add_subtitle, hover, title_of
from an_neuron.files.hdf5 import Table
from an_neuron.files.look import look

COLORS = ("#0072b2", "#e69f00", "#009e73", "#56b4e9", "#d55e00")
WIDTHS = (6, 4.5, 3.5, 2.5, 1.5)
"""A curve that lies on those before leaves their edges to be seen."""
MOST = 1000
"""Nodes looked for, at most, and no more than a third of them all: more are found by chance."""
TICKS = {100: (1, 3, 10, 30, 100), MOST: (1, 10, 100, 1000)}
"""By the most nodes that an axis holds."""
PANELS = {"post": "Neurons", "z": "Heads (z)", "v": "Values", "q": "Queries", "k": "Keys"}
POINTS = 40


def methods_fig(table: Table) -> go.Figure:
    """Draw the share of the k largest exact effects that are among each method's k largest, over k.

    Parameters
    ----------
    table
        circuit/methods.h5.
    """
    sites = [site for site in PANELS if f"{site}_exact" in table.datasets]
    figure = make_subplots(1, len(sites), subplot_titles=[PANELS[site] for site in sites], shared_yaxes=True)
    frame = Frame((0, 1), (0, 1), {**MARGIN, "t": 92, "b": 120})
    figure.update_layout(template=TEMPLATE, margin=frame.margins, font_size=look().font_size)
    figure.update_layout(title=title_of("Ways to Estimate Patches Against Exact Patching"))
    add_subtitle(figure, "Share of the k largest exact effects found among a method's k largest; dotted: by chance")
    figure.update_layout(legend={"orientation": "h", "yanchor": "top", "y": -0.22, "x": 0})
    for column, site in enumerate(sites, 1):
        _add_panel(figure, table, site, column)
    named = set[str]()
    for trace in figure.data:
        trace.showlegend = trace.name is not None and trace.name not in named
        named.add(trace.name)
    figure.update_yaxes(range=[-0.03, 1.05])
    figure.update_yaxes(title_text="Share found", col=1)
    return figure


def _add_panel(figure: go.Figure, table: Table, site: str, column: int) -> None:
    """Add the curves of a site, and what chance gives."""
    exact = np.abs(table[f"{site}_exact"].ravel())
    sizes = _sizes(exact, float(table.attributes["floor"]), min(MOST, max(1, exact.size // 3)))
    for number, method in enumerate(table["method"]):
        estimated = np.abs(table[f"{site}_estimate"][number].ravel())
        if not np.isnan(estimated).any():
            found = _found(exact, estimated, sizes)
            figure.add_trace(_curve(str(method), number, sizes, found), 1, column)
    line = {"color": REFERENCE_COLOR, "dash": "dot", "width": 1}
    chance = go.Scatter(x=sizes, y=sizes / exact.size, mode="lines", line=line, hoverinfo="skip")
    figure.add_trace(chance, 1, column)
    ticks = next(ticks for most, ticks in TICKS.items() if not len(sizes) or sizes[-1] <= most)
    figure.update_xaxes(type="log", title_text="k", tickvals=ticks, tickangle=0, row=1, col=column)
    figure.update_xaxes(ticktext=[f"{tick:,}" for tick in ticks], row=1, col=column)


def _sizes(exact: np.ndarray, floor: float, most: int) -> np.ndarray:
    """Return numbers of nodes to be looked for, evenly on a logarithmic axis: no more than are above the floor."""
    last = min(most, int((exact > floor).sum()))
    return np.unique(np.geomspace(1, last, POINTS).round().astype(int)) if last else np.empty(0, int)


def _found(exact: np.ndarray, estimated: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return for each k the share of the k largest of one that are among the k largest of the other."""
    orders = [np.argsort(-values, kind="stable") for values in (exact, estimated)]
    return np.array([len(np.intersect1d(orders[0][:size], orders[1][:size])) / size for size in sizes])


def _curve(method: str, number: int, sizes: np.ndarray, found: np.ndarray) -> go.Scatter:
    """Return a method's curve."""
    return go.Scatter(
        x=sizes,
        y=found,
        mode="lines" if len(sizes) > 1 else "markers",
        name=method,
        legendgroup=method,
        legendrank=number,
        line={"color": COLORS[number], "width": WIDTHS[number]},
        hovertemplate=hover(f"{method}: %{{y:.2f}} of %{{x}}"),
    )
