"""plotly.js, which all pages load: once for all studies, out of plotly's package, so that no page needs the network."""

from pathlib import Path

from plotly.offline import get_plotlyjs

from an_neuron.files.atomic import write_text
from an_neuron.files.schema import Schema

PLOTLY = Schema(
    "results/assets/plotly.min.js", "plotly.js, as plotly's package holds it; the pages of all studies load it"
)


def write_plotly(path: str | Path) -> None:
    """Write plotly.js."""
    write_text(path, get_plotlyjs())
