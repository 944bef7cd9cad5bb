"""The neurons below that drive the studied one."""

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import MARGIN, Frame, Labels, annotate, padded
from an_neuron.figures.style import MARK_COLOR, add_subtitle, empty_figure, hover, markers
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_name

LABELLED, LEAST = 6, 0.02


def driving_neurons_fig(table: Table) -> go.Figure:
    """Draw the recovery of the studied neuron's activation by each measured neuron below it, by layer.

    Parameters
    ----------
    table
        drivers/neurons.h5.
    """
    studied = neuron_name(table.attributes["neuron_layer"], table.attributes["neuron_index"])
    layers, recovery = table["layer"].astype(float), table["recovery"]
    layers_shown = -0.8, int(table.attributes["neuron_layer"]) + 0.8
    frame = Frame(layers_shown, padded(np.append(recovery, [0, 0.1]), 0.12), {**MARGIN, "t": 72})
    figure = empty_figure(
        f"Recovery of the Activation of {studied} From Patched Neurons Below It", "Layer", "Recovery", frame
    )
    names = [neuron_name(layer, index) for layer, index in zip(table["layer"], table["index"], strict=True)]
    figure.add_trace(
        markers(
            layers,
            recovery,
            static=True,
            marker={"color": MARK_COLOR, "size": 6, "opacity": 0.7},
            hovertext=names,
            customdata=table["estimate"],
            hovertemplate=hover("%{hovertext}", "Recovery=%{y:.4f}", "By attribution=%{customdata:.4f}"),
        )
    )
    largest = np.argsort(-np.abs(recovery), kind="stable")[:LABELLED]
    marks = [(layers[row], float(recovery[row]), names[row]) for row in largest if abs(recovery[row]) >= LEAST]
    annotate(figure, Labels(frame, frame.pixels(layers, recovery)), marks)
    below, left_out = table.attributes["neurons_below"], table.attributes["largest_estimate_left_out"]
    add_subtitle(
        figure,
        f"{len(recovery):,} of {below:,} neurons below, those of the largest estimate by attribution, patched exactly; "
        f"the others' estimates are at most {left_out:.2g}",
    )
    return figure
