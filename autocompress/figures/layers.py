"""A figure of a model's layers, before and after compression."""

from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go

from autocompress.figures.style import BLUE, FAINT, ORANGE, SMALL, VERMILLION, empty, panels
from autocompress.metrics.formatting import count, percent
from autocompress.results import LayerChange


def widths(layers: Sequence[LayerChange], fixed: Mapping[str, str] | None = None) -> go.Figure:
    """Draw the width, rank and parameters of each convolution and linear layer, before and after.

    Args:
        layers: of a trial, as ``TrialFiles.layers``.
        fixed: layers whose outputs could not be cut, each with the reason.
    """
    title = "layers before and after"
    layers = [layer for layer in layers if len(layer.before) > 1]  # norms follow the others
    if not layers:
        return empty(title, "no layers are stored for this trial", height=SMALL)
    made = panels(title, cols=2)
    hover = [_hover(layer) for layer in layers]
    for column, before, after in (
        (1, [layer.before[0] for layer in layers], [layer.width for layer in layers]),
        (2, [la.parameters_before for la in layers], [la.parameters_after for la in layers]),
    ):
        for name, values, colour in (("before", before, FAINT), ("after", after, BLUE)):
            made.add_bar(
                x=values,
                y=[escape(layer.name) for layer in layers],
                orientation="h",
                name=name,
                marker={"color": colour, "line": {"width": 0}},
                width=0.8 if name == "before" else 0.45,
                text=hover,
                textposition="none",
                hovertemplate="%{text}<extra></extra>",
                showlegend=column == 1,
                row=1,
                col=column,
            )
    ranks = [(layer, layer.rank, f"rank {layer.rank}") for layer in layers if layer.rank]
    kept = [(la, la.width, why) for la in layers if (why := (fixed or {}).get(la.name))]
    _add_marks(made, "rank", "diamond", ORANGE, ranks)
    _add_marks(made, "kept whole", "x-thin-open", VERMILLION, kept)
    made.update_layout(barmode="overlay", height=170 + 24 * len(layers), margin={"t": 84})
    made.update_yaxes(autorange="reversed", automargin=True)
    made.update_xaxes(title="output channels", col=1)
    made.update_xaxes(title="parameters", tickformat="~s", nticks=5, col=2)
    return made


def _add_marks(
    made: go.Figure,
    name: str,
    symbol: str,
    colour: str,
    marked: Sequence[tuple[LayerChange, int, str]],
) -> None:
    """Mark layers on their bars, each with a text."""
    if not marked:
        return
    line = 2 if symbol.endswith("open") else 0
    made.add_scatter(
        x=[at for _, at, _ in marked],
        y=[escape(layer.name) for layer, _, _ in marked],
        mode="markers",
        name=name,
        marker={"symbol": symbol, "color": colour, "size": 9, "line": {"width": line}},
        text=[f"<b>{escape(layer.name)}</b><br>{escape(why)}" for layer, _, why in marked],
        hovertemplate="%{text}<extra></extra>",
        row=1,
        col=1,
    )


def _hover(layer: LayerChange) -> str:
    def shape(sizes: Sequence[int]) -> str:
        return "x".join(map(str, sizes))

    after = " + ".join(shape(sizes) for sizes in layer.after) or "removed"
    rank = "" if layer.rank is None else f"<br>rank {layer.rank}"
    return (
        f"<b>{escape(layer.name)}</b> ({escape(layer.type)})<br>"
        f"{shape(layer.before)} to {after}{rank}<br>"
        f"{count(layer.parameters_before)} to {count(layer.parameters_after)} parameters<br>"
        f"{percent(layer.sparsity, 0)} zeros left"
    )
