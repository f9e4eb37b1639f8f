"""Panels with charts: curves, distributions of scores, ranks, bars. matplotlib draws them as SVG that stands in the
page itself and takes the page's colours, light or dark."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, median
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width
from xml.sax.saxutils import quoteattr

from dominate import tags
from dominate.util import raw

from util.metrics.score_sheet import ScoreSheet
from util.text import format_number, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = ("#0072b2", "#d55e00", "#00876a", "#b8508f", "#a87900", "#3d4656")
TEXT, SOFT, LINE = "#1a1f29", "#596273", "#dfe3e9"
# Drawn colour -> the variable of gallery.css that stands in its place.
VARIABLES = {colour: f"--s{k}" for k, colour in enumerate(SERIES)} | {TEXT: "--text", SOFT: "--soft", LINE: "--line"}
DASHES = ("solid", "dashed", "dotted")  # of series that share a colour
WIDTH, CURVE_HEIGHT, ROW, FOOT = 440, 250, 38, 40  # of a chart, in points; ROW of each name, BAR of each bar
BAR = 15
MAX_POINTS, STRETCHES = 500, 100  # a longer series is drawn as the mean and the range of so many stretches
MAX_DOTS = 150  # drawn for a method; of more images evenly spread ones of the sorted values
APART = (0, 0.14, -0.14, 0.07, -0.07)  # rows by which neighbouring dots lie off their row's middle
LETTERS = 24  # of a line of a name
STYLE = {
    "font.size": 12,
    "grid.color": LINE,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), SOFT),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor"), "none"),
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    **dict.fromkeys(("axes.spines.left", "axes.spines.right", "axes.spines.top", "ytick.left"), False),
    **dict.fromkeys(("path.simplify", "text.parse_math"), False),
}


@dataclass(frozen=True)
class Curve:
    """One chart: series name -> [(x, y), ...]. Points that are not finite are not drawn."""

    title: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    x_label: str


def _panel(
    draw: Callable[[Axes], None], height: float, title: str, about: str, aside: str = "", below: Sequence[Any] = ()
) -> tags.html_tag:
    """Return a panel with a chart of `height` points that `draw` draws, under its title and a small aside.

    about: what the chart says, for whoever does not see it. below: a legend, notes (empty ones are left out)."""
    import matplotlib  # takes 0.4 s, which a page without charts need not
    from matplotlib.figure import Figure

    memory = io.StringIO()
    with warnings.catch_warnings(), matplotlib.rc_context(STYLE | {"svg.hashsalt": ascii(title)}):
        warnings.simplefilter("ignore")  # of letters that matplotlib's font lacks and the browser's has
        figure = Figure((WIDTH / 72, height / 72), layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(memory, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    drawn = memory.getvalue()
    for colour, variable in VARIABLES.items():
        drawn = drawn.replace(colour, f"var({variable})")
    drawn = drawn[drawn.index("<svg ") :].replace("<svg ", f'<svg role="img" aria-label={quoteattr(about)} ', 1)
    heading = tags.h3(title, tags.small(aside)) if aside else tags.h3(title)
    under = (tags.p(part, cls="note") if isinstance(part, str) else part for part in below if part)
    return tags.section(heading, raw(drawn), *under, cls="panel chart")


def _look(index: int) -> dict[str, Any]:
    return {"color": SERIES[index % len(SERIES)], "linestyle": DASHES[index // len(SERIES) % len(DASHES)]}


def _legend(series: Mapping[str, str]) -> tags.html_tag:
    """Return the names of series, each beside a piece of its line and before a value."""
    legend = tags.ul(cls="legend")
    for index, (name, value) in enumerate(series.items()):
        look = _look(index)
        style = f"border-top: 3px {look['linestyle']} var({VARIABLES[look['color']]})"
        legend.add(tags.li(tags.span(cls="swatch", style=style), name, tags.b(value)))
    return legend


def stretches(points: Sequence[tuple[float, float]], count: int = STRETCHES) -> list[tuple[float, ...]]:
    """Return (mean x, mean y, lowest y, highest y) of each of `count` stretches of equally many points."""
    bounds = [i * len(points) // count for i in range(count + 1)]
    parts = [list(zip(*points[a:b], strict=True)) for a, b in zip(bounds, bounds[1:], strict=False) if b > a]
    return [(fmean(x), fmean(y), min(y), max(y)) for x, y in parts]


def curve_panel(curve: Curve) -> tags.html_tag:
    """Return the chart under its title, a legend with last values, and what was left out."""
    kept = {name: [p for p in points if all(map(math.isfinite, p))] for name, points in curve.series.items()}
    left_out = sum(map(len, curve.series.values())) - sum(map(len, kept.values()))
    series = {name: points for name, points in kept.items() if points}

    def draw(axes: Axes) -> None:
        for index, points in enumerate(series.values()):
            if len(points) > MAX_POINTS:
                x, y, low, high = zip(*stretches(points), strict=True)
                axes.fill_between(x, low, high, color=_look(index)["color"], alpha=0.15, linewidth=0)
            else:
                x, y = zip(*points, strict=True)
            axes.plot(x, y, marker="" if points[1:] else "o", **_look(index))
        low, high = (end(y for points in series.values() for _, y in points) for end in (min, max))
        if 0 < low < high / 2:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(curve.x_label)
        axes.xaxis.grid(visible=False)
        axes.locator_params(axis="x", nbins=6, integer=True)  # there is no step 1.5
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_major_formatter("{x:.4g}")

    lost = f"{plural(left_out, 'point')} left out: not finite." if left_out else ""
    if not series:
        notes = [tags.p(text, cls="note") for text in ("Nothing to draw yet.", lost) if text]
        return tags.section(tags.h3(curve.title), *notes, cls="panel chart")
    ends = {name: format_number(points[-1][1]) for name, points in series.items()}
    about = f"{curve.title}: " + "; ".join(f"{name} ends at {value}" for name, value in ends.items())
    long = any(len(points) > MAX_POINTS for points in series.values())
    note = f"Line: the mean of each {STRETCHES}th part. Band: its lowest to highest. Number: the last value." * long
    return _panel(draw, CURVE_HEIGHT, curve.title, about, below=[_legend(ends), note, lost])


def _name(name: str) -> str:
    """Return a name in one line or two; what does not fit ends in an ellipsis. Wide letters count twice."""
    name = name.encode(errors="replace").decode()
    if _wide(name):
        return textwrap.shorten(name, LETTERS // 2, placeholder="…") if " " in name else name[: LETTERS // 2]
    return "\n".join(textwrap.wrap(name, LETTERS, max_lines=2, placeholder="…"))


def _wide(text: str) -> int:
    return sum(east_asian_width(letter) in "WF" for letter in text)


def _named_rows(axes: Axes, names: Iterable[str]) -> None:
    """Put names at the left of rows 0, 1, ... from the top, and a grid of values behind them."""
    labels = [_name(name) for name in names]
    axes.set_yticks(range(len(labels)), labels, color=TEXT)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.yaxis.grid(visible=False)
    axes.xaxis.set_major_formatter("{x:.4g}")
    # matplotlib's font lacks wide letters, whose places it takes for half as wide.
    missing = 6.5 * max(map(_wide, labels)) / WIDTH
    axes.figure.get_layout_engine().set(rect=(missing, 0, 1 - missing, 1))


def _colours(sheet: ScoreSheet) -> dict[str, str]:
    """Return method -> its colour; trivial rows are grey."""
    colours = {name: str(_look(index)["color"]) for index, name in enumerate(sheet.methods)}
    return {name: colours.get(name, SOFT) for name in sheet.rows}


def _dots(axes: Axes, row: int, values: Sequence[float], colour: str) -> None:
    """Draw a dot for each value beside the middle of a row: as a line to itself, which is a tenth of a marker's SVG."""
    heights = [row + APART[i % len(APART)] for i in range(len(values))]
    places = ([(value, value, math.nan) for value in values], [(y, y, math.nan) for y in heights])
    axes.plot(*(list(chain(*place)) for place in places), color=colour, alpha=0.4, linewidth=5)


def distribution_panel(sheet: ScoreSheet, metric: str) -> tags.html_tag | None:
    """Return the panel of a metric: a row for each method and trivial row with a dot for each image, the box of the
    middle half and its median. None where no image has a value."""
    finite = {name: sorted(v for v in sheet.values(name, metric) if math.isfinite(v)) for name in sheet.rows}
    finite = {name: values for name, values in finite.items() if values}
    if not finite:
        return None
    colours = _colours(sheet)

    def draw(axes: Axes) -> None:
        for row, (name, values) in enumerate(finite.items()):
            count = min(len(values), MAX_DOTS)
            shown = [values[round(i * (len(values) - 1) / max(1, count - 1))] for i in range(count)]
            _dots(axes, row, shown, colours[name])
            line, middle = ({"color": colours[name], "linewidth": width} for width in (1.5, 3.5))
            style: dict[str, Any] = {"boxprops": line, "whiskerprops": line, "medianprops": middle}
            place: dict[str, Any] = {"positions": [row], "widths": 0.5, "orientation": "horizontal"}
            axes.boxplot(values, whis=(0, 100), showcaps=False, manage_ticks=False, **place, **style)
        _named_rows(axes, finite)

    medians = (f"median of {name} {format_number(median(values))}" for name, values in finite.items())
    better = "higher is better" if sheet.higher[metric] else "lower is better"
    note = f"Not scored: {sheet.why_none[metric]}." if metric in sheet.why_none else ""
    return _panel(draw, ROW * len(finite) + FOOT, metric, f"{metric}: " + "; ".join(medians), better, [note])


def ranking_panel(sheet: ScoreSheet) -> tags.html_tag:
    """Return the panel of several methods, best first: a dot for its rank in each metric, a bar at their mean."""
    ranking, places, colours = sheet.ranking(), sheet.places(), _colours(sheet)

    def draw(axes: Axes) -> None:
        for row, (name, place) in enumerate(ranking.items()):
            _dots(axes, row, sorted(places[name].values()), colours[name])
            axes.vlines(place, row - 0.3, row + 0.3, color=colours[name], linewidth=3.5)
        _named_rows(axes, ranking)
        axes.set_xlim(0.9, max(2, len(ranking)) + 0.1)
        axes.locator_params(axis="x", nbins=6, integer=True)

    about = "Mean ranks: " + "; ".join(f"{name} {format_number(place)}" for name, place in ranking.items())
    note = "A dot is the rank in one metric, among the methods; the bar is the mean of the ranks."
    return _panel(draw, ROW * len(ranking) + FOOT, "Ranks", about, "1 is the best", [note])


def score_panels(sheet: ScoreSheet) -> list[tags.html_tag]:
    """Return the ranks, if there are several methods, then each metric's distribution."""
    found: list[tags.html_tag] = [ranking_panel(sheet)] if len(sheet.methods) > 1 else []
    return found + [panel for metric in sheet.higher if (panel := distribution_panel(sheet, metric)) is not None]


def bars_panel(
    title: str, rows: Mapping[str, Sequence[tuple[float, float]]], labels: Sequence[str], note: str = ""
) -> tags.html_tag:
    """Return a panel with a group of horizontal bars for each row: for each label (mean, standard deviation), in
    [0, 1]; nan draws none. Values are written behind the bars, deviations are drawn as whiskers."""
    wide = 0.85 / len(labels)

    def draw(axes: Axes) -> None:
        for row, values in enumerate(rows.values()):
            for k, (mean, deviation) in enumerate(values):
                if mean != mean:
                    continue
                y, known = row + wide * (k + 0.5) - 0.425, deviation > 0
                axes.barh(y, mean, 0.8 * wide, color=_look(k)["color"], xerr=deviation if known else None, ecolor=SOFT)
                text = f"{mean:.3f}" + f" ± {deviation:.3f}" * known
                place: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "verticalalignment": "center"}
                axes.annotate(text, (mean + deviation * known, y), fontsize=10, **place)
        _named_rows(axes, rows)
        axes.set_xlim(0, max((m + s for values in rows.values() for m, s in values if m == m), default=0) or 1)

    about = "; ".join(f"{name}: {labels[0]} {values[0][0]:.3f}" for name, values in rows.items())
    height = (BAR * len(labels) + 10) * len(rows) + FOOT
    return _panel(draw, height, title, about, below=[_legend(dict.fromkeys(labels, "")), note])
