"""Plots of scores as inline SVG: how each method's images spread over a metric, and the ranks of several methods."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import quantiles
from unicodedata import east_asian_width

from dominate import svg, tags

from util.metrics.score_sheet import ScoreSheet, ranks
from util.pages.plot_parts import COLOURS, linear_ticks
from util.text import format_number

WIDTH, RIGHT, TOP, ROW, FOOT = 480, 16, 6, 30, 26  # SVG units
LEAST, LETTER = 72, 8.2  # room for the names, at least and for each letter
LINE = 25  # letters of a line of a name, at most
MAX_DOTS = 150  # drawn for a method; of more images evenly spread ones of the sorted values
SPREAD = (0, 5, -5, 2.5, -2.5)  # heights at which neighbouring dots lie about their row's middle


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; of one value that value."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _styles(sheet: ScoreSheet) -> dict[str, str]:
    """Method -> its colour's class; trivial rows are grey."""
    colours = {name: f"s{index % COLOURS}" for index, name in enumerate(sheet.methods)}
    return {name: colours.get(name, "plain") for name in sheet.rows}


def _letters(text: str) -> float:
    """How wide a text is, in letters: some are wide, and those of Chinese twice as wide as the others."""
    return sum(1.8 if letter in "MWmw@%" or east_asian_width(letter) in "WF" else 1 for letter in text)


def _fitting(text: str, room: float = LINE) -> str:
    """The beginning of a text that fits into a line."""
    return next(text[:i] for i in range(len(text), -1, -1) if _letters(text[:i]) <= room)


def name_lines(name: str) -> list[str]:
    """A name in one line, or in two, parted after a space, hyphen or the like where there is one; what does not fit
    into two ends in an ellipsis."""
    first = _fitting(name)
    if first == name:
        return [name]
    parted = max((i + 1 for i, letter in enumerate(first) if not letter.isalnum()), default=len(first))
    first, second = name[:parted].rstrip(), name[parted:].lstrip()
    return [first, second if _fitting(second) == second else _fitting(second, LINE - 1).rstrip() + "…"]


def room_for(names: Iterable[str]) -> int:
    """Width of the names' column, in SVG units."""
    longest = max(_letters(line) for name in names for line in name_lines(name))
    return round(max(LEAST, 18 + LETTER * longest))


class _Canvas:
    """Rows of names on the left, a horizontal axis of values."""

    def __init__(self, low: float, high: float, names: Sequence[str], about: str) -> None:
        if high - low <= 1e-9 * max(abs(low), abs(high), 1e-3):
            apart = 0.1 * abs(low) or 1.0
            low, high = low - apart, high + apart
        rows, self.left = len(names), room_for(names)
        self.low, self.high, self.height = low, high, TOP + rows * ROW + FOOT
        self.drawing = svg.svg(viewBox=f"0 0 {WIDTH} {self.height}", role="img", aria_label=about)
        foot = TOP + rows * ROW
        for tick in linear_ticks(low, high):
            x = self.right(tick)
            self.drawing.add(svg.line(cls="grid", x1=x, x2=x, y1=TOP, y2=foot))
            self.drawing.add(svg.text(f"{tick:.4g}", cls="tick middle", x=x, y=foot + 18))
        self.drawing.add(svg.line(cls="axis", x1=self.left, x2=WIDTH - RIGHT, y1=foot, y2=foot))
        for row, name in enumerate(names):
            self._name(row, name)

    def right(self, value: float) -> float:
        return round(self.left + (value - self.low) / (self.high - self.low) * (WIDTH - self.left - RIGHT), 1)

    def middle(self, row: int) -> float:
        return TOP + (row + 0.5) * ROW

    def _name(self, row: int, name: str) -> None:
        lines = name_lines(name)
        for i, line in enumerate(lines):
            y = self.middle(row) + 4 + 14 * (i - (len(lines) - 1) / 2)
            text = self.drawing.add(svg.text(line, cls="name end", x=self.left - 10, y=y))
            if line.endswith("…"):
                text.add(svg.title(name))

    def path(self, style: str, d: str, about: str = "") -> None:
        line = self.drawing.add(svg.path(cls=f"series {style}", d=d))
        if about:
            line.add(svg.title(about))

    def dots(self, row: int, style: str, values: Sequence[float]) -> None:
        """A round-capped line to itself is a dot."""
        y = self.middle(row)
        places = [(self.right(v), y + SPREAD[i % len(SPREAD)]) for i, v in enumerate(values)]
        self.path(f"{style} dots", " ".join(f"M{x},{y}h0" for x, y in places))


def distribution_plot(sheet: ScoreSheet, metric: str) -> tags.html_tag | None:
    """Panel of a metric: a row for each method and trivial row with a dot for each image, the box of the middle half
    and its median. None where no image has a value."""
    finite = {name: sorted(v for v in sheet.values(name, metric) if math.isfinite(v)) for name in sheet.rows}
    finite = {name: values for name, values in finite.items() if values}
    if not finite:
        return None
    every = [value for values in finite.values() for value in values]
    medians = {name: quartiles(values)[1] for name, values in finite.items()}
    about = f"{metric}: " + "; ".join(f"median of {name} {format_number(value)}" for name, value in medians.items())
    canvas, styles = _Canvas(min(every), max(every), list(finite), about), _styles(sheet)
    for row, (name, values) in enumerate(finite.items()):
        low, middle, high = quartiles(values)
        shown = values if len(values) <= MAX_DOTS else [
            values[round(i * (len(values) - 1) / (MAX_DOTS - 1))] for i in range(MAX_DOTS)
        ]  # fmt: skip
        canvas.dots(row, styles[name], shown)
        y, left, right = canvas.middle(row), canvas.right(low), canvas.right(high)
        said = f"{name}: median {format_number(middle)}, middle half {format_number(low)} to {format_number(high)}"
        if len(values) > 2:
            ends = f"M{canvas.right(values[0])},{y}H{left}M{right},{y}H{canvas.right(values[-1])}"
            canvas.path(f"{styles[name]} box", f"M{left},{y - 9}H{right}V{y + 9}H{left}Z{ends}", said)
        x = canvas.right(middle)
        canvas.path(f"{styles[name]} middle-line", f"M{x},{y - 9}V{y + 9}", said)
    better = "higher is better" if sheet.higher[metric] else "lower is better"
    panel = tags.section(tags.h3(metric, tags.small(better)), canvas.drawing, cls="panel curve")
    if metric in sheet.why_none:
        panel.add(tags.p(f"Not scored: {sheet.why_none[metric]}.", cls="note"))
    return panel


def ranking_plot(sheet: ScoreSheet) -> tags.html_tag:
    """Panel of several methods, best first: a dot for its rank in each metric, a bar at their mean."""
    ranking, means, styles = sheet.ranking(), sheet.means(), _styles(sheet)
    places: dict[str, list[float]] = {name: [] for name in ranking}
    for metric, up in sheet.higher.items():
        for name, place in ranks({name: means[name][metric] for name in ranking}, up).items():
            places[name].append(place)
    about = "Mean ranks: " + "; ".join(f"{name} {format_number(place)}" for name, place in ranking.items())
    canvas = _Canvas(1, max(2, len(ranking)), list(ranking), about)
    for row, (name, place) in enumerate(ranking.items()):
        if math.isnan(place):
            continue
        canvas.dots(row, styles[name], sorted(places[name]))
        x, y = canvas.right(place), canvas.middle(row)
        canvas.path(f"{styles[name]} middle-line", f"M{x},{y - 11}V{y + 11}", f"{name}: mean rank {place:.3g}")
    panel = tags.section(tags.h3("Ranks", tags.small("1 is the best")), canvas.drawing, cls="panel curve")
    panel.add(
        tags.p("A dot is the rank in one metric, among the methods; the bar is the mean of the ranks.", cls="note")
    )
    return panel


def plots(sheet: ScoreSheet) -> list[tags.html_tag]:
    """The ranks, if there are several methods, then each metric's distribution."""
    found: list[tags.html_tag] = [ranking_plot(sheet)] if len(sheet.methods) > 1 else []
    return found + [panel for metric in sheet.higher if (panel := distribution_plot(sheet, metric)) is not None]


def extremes(sheet: ScoreSheet, method: str, count: int) -> Mapping[str, str]:
    """Label ("best 1", ..., "worst 1", ...) -> stem, by mean rank over the metrics among the method's images."""
    stems = list(sheet.image_ranks(method))
    best = min(count, (len(stems) + 1) // 2)
    worst = min(count, len(stems) - best)
    found = {f"best {i + 1}": stems[i] for i in range(best)}
    return found | {f"worst {i + 1}": stems[-1 - i] for i in range(worst)}
