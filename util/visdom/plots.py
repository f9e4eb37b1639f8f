"""Line plots for visdom as Plotly takes them: raw and smoothed curves, few enough points, a quiet layout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from util.training.run_reader import Points
from util.visdom.client import Window

SMOOTH = 0.9  # weight of the past in a smoothed curve, for each record
MAX_POINTS = 600  # of a curve; more are not seen, and make a browser slow
COLOURS = ("#1f77b4", "#e8590c", "#2b8a3e", "#9c36b5", "#c92a2a", "#0b7285", "#866118", "#5f3dc4")
GREYS = ("#868e96", "#495057", "#adb5bd", "#343a40")
WIDTH, HEIGHT = 430, 280  # of a plot's pane, in pixels


def smooth(values: Sequence[float]) -> np.ndarray:
    """Running mean with weights falling by SMOOTH; unbiased from the first value on."""
    from scipy.signal import lfilter  # takes half a second, which a run without a dashboard need not

    found = np.asarray(values, dtype=float)
    found = np.where(np.isfinite(found), found, 0.0)
    weights = 1 - SMOOTH ** np.arange(1, len(found) + 1)
    return lfilter([1 - SMOOTH], [1, -SMOOTH], found) / weights


def thin(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, limit: int = MAX_POINTS) -> Points:
    """At most `limit` points, in order: first, last, and each stretch's lowest and highest."""
    steps, values = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(y) > limit:
        edges = np.linspace(1, len(y) - 1, (limit - 2) // 2 + 1).astype(int)
        kept = {0, len(y) - 1}
        for start, end in zip(edges[:-1], edges[1:], strict=True):
            kept |= {start + int(np.argmin(values[start:end])), start + int(np.argmax(values[start:end]))}
        order = sorted(kept)
        steps, values = steps[order], values[order]
    return steps.tolist(), values.tolist()


def _short(values: Sequence[float]) -> list[float | None]:
    """Six digits are enough for a plot; JSON for browsers has no NaN."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def _faint(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def line(name: str, x: Sequence[float], y: Sequence[float], colour: str, **style: Any) -> dict[str, Any]:
    """Make one Plotly trace. style: fields of it that differ from a plain line."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": _short(x),
        "y": _short(y),
        "line": {"color": colour, "width": 2},
        "marker": {"color": colour, "line": {"width": 0}},  # visdom's own smoothing asks for it
    } | style


def raw_and_smooth(name: str, points: Points, colour: str) -> list[dict[str, Any]]:
    """A faint curve of the values, and over it a smooth one; the legend shows and hides them together."""
    steps, values = points
    raw = line(f"{name} raw", *thin(steps, values), colour, legendgroup=name, showlegend=False, hoverinfo="skip")
    raw["line"] = {"color": _faint(colour, 0.28), "width": 1}  # visdom overwrites a trace's opacity
    return [raw, line(name, *thin(steps, smooth(values)), colour, legendgroup=name)]


def layout(title: str, y_title: str = "", x_title: str = "step") -> dict[str, Any]:
    """Title at the left and Plotly's tools below each other, so that they do not cover it; legend below."""
    grid = {
        "gridcolor": "#e9ecef",
        "zerolinecolor": "#ced4da",
        "linecolor": "#ced4da",
        "automargin": True,
        "exponentformat": "e",
    }
    return {
        "title": {"text": title, "x": 0.02, "xanchor": "left", "y": 0.97, "yanchor": "top", "font": {"size": 14}},
        "xaxis": grid | {"title": {"text": x_title, "font": {"size": 11}, "standoff": 4}, "autorange": True},
        "yaxis": grid | {"title": {"text": y_title, "font": {"size": 11}}, "autorange": True},
        "margin": {"l": 50, "r": 16, "t": 38, "b": 30},
        "legend": {"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top", "font": {"size": 11}},
        "modebar": {"orientation": "v"},
        "hovermode": "x unified",
        "showlegend": True,
        "font": {"family": "system-ui, sans-serif", "size": 11, "color": "#343a40"},
    }


def plot(
    name: str, title: str, traces: list[dict[str, Any]], y_title: str = "", heading: str = "", width: int = WIDTH
) -> Window:
    """A pane with a plot. title: of the pane; heading: over the plot, by default the same."""
    return Window(name, title, width, HEIGHT, traces, layout(heading or title, y_title))


def loss_plot(name: str, title: str, terms: Mapping[str, Points]) -> Window:
    """Terms in one plot, each raw and smoothed."""
    traces = []
    for index, (term, points) in enumerate(terms.items()):
        traces += raw_and_smooth(term, points, COLOURS[index % len(COLOURS)])
    return plot(name, title, traces)
