"""Panel of a page: curves as inline SVG, of any number of points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dominate import svg, tags

from util.pages.plot_parts import linear_ticks, log_ticks, series_class, spread, tick_label
from util.text import format_number, plural

MAX_POINTS = 500  # per drawn series; a longer one gets a line of means over it
MEANS = 100
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 480, 270, 50, 14, 10, 42  # of a plot, in SVG units


@dataclass(frozen=True)
class Curve:
    """One plot: series name -> [(x, y), ...]. Points that are not finite, or <= 0 if log, are not drawn."""

    title: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    x_label: str
    log: bool = False


def downsample(points: Sequence[tuple[float, float]], limit: int = MAX_POINTS) -> list[tuple[float, float]]:
    """At most `limit` (>= 4) points, in order: first, last, and each stretch's lowest and highest."""
    if len(points) <= limit:
        return list(points)
    inner, stretches = len(points) - 2, (limit - 2) // 2
    kept = {0, len(points) - 1}
    for i in range(stretches):
        stretch = range(1 + i * inner // stretches, 1 + (i + 1) * inner // stretches)
        kept.add(min(stretch, key=lambda k: points[k][1]))
        kept.add(max(stretch, key=lambda k: points[k][1]))
    return [points[k] for k in sorted(kept)]


def means(points: Sequence[tuple[float, float]], stretches: int = MEANS) -> list[tuple[float, float]]:
    """The mean x and y of each of `stretches` stretches, at most one a point, of equally many points."""
    bounds = [i * len(points) // stretches for i in range(stretches + 1)]
    parts = [points[a:b] for a, b in zip(bounds, bounds[1:], strict=False) if b > a]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def _plot(curve: Curve, series: Mapping[str, Sequence[tuple[float, float]]]) -> tags.html_tag:
    """The SVG of series that hold drawable points only."""
    x_low, x_high = spread(x for points in series.values() for x, _ in points)
    y_low, y_high = spread(y for points in series.values() for _, y in points)
    if not curve.log and 0 < y_low < y_high / 2:
        y_low = 0.0

    def height(y: float) -> float:
        return math.log10(y) if curve.log else y

    def right(x: float) -> float:
        return round(LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def down(y: float) -> float:
        part = (height(y) - height(y_low)) / (height(y_high) - height(y_low))
        return round(HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM), 1)

    summary = "; ".join(f"{name} ends at {format_number(points[-1][1])}" for name, points in series.items())
    plot = svg.svg(viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=f"{curve.title}: {summary}")
    for tick in (log_ticks if curve.log else linear_ticks)(y_low, y_high):
        plot.add(svg.line(cls="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=down(tick), y2=down(tick)))
        plot.add(svg.text(tick_label(tick), cls="tick end", x=LEFT - 8, y=down(tick) + 4))
    foot = HEIGHT - BOTTOM
    whole = all(float(x).is_integer() for points in series.values() for x, _ in points)
    for tick in linear_ticks(x_low, x_high):
        if whole and not round(tick, 6).is_integer():
            continue  # there is no epoch 1.5
        plot.add(svg.line(cls="axis", x1=right(tick), x2=right(tick), y1=foot, y2=foot + 4))
        plot.add(svg.text(tick_label(tick), cls="tick middle", x=right(tick), y=foot + 17))
    plot.add(svg.line(cls="axis", x1=LEFT, x2=WIDTH - RIGHT, y1=foot, y2=foot))
    plot.add(svg.text(curve.x_label, cls="tick middle", x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 6))

    def draw(points: Sequence[tuple[float, float]], style: str) -> None:
        path = " ".join(f"{right(x)},{down(y)}" for x, y in points)
        if len(points) == 1:
            # A round-capped line to itself is a dot.
            path, style = f"{path} {path}", f"{style} point"
        plot.add(svg.path(cls=f"series {style}", d=f"M{path}"))

    long = [len(points) > MAX_POINTS for points in series.values()]
    for index, points in enumerate(series.values()):
        draw(downsample(points), series_class(index) + " faint" * long[index])
    for index, points in enumerate(series.values()):
        if long[index]:
            draw(means(points), series_class(index))
    return plot


def curve_panel(curve: Curve) -> tags.html_tag:
    """The plot under its title, a legend with last values, and what was left out."""

    def drawable(x: float, y: float) -> bool:
        return math.isfinite(x) and math.isfinite(y) and (y > 0 or not curve.log)

    kept = {name: [p for p in points if drawable(*p)] for name, points in curve.series.items()}
    left_out = sum(map(len, curve.series.values())) - sum(map(len, kept.values()))
    series = {name: points for name, points in kept.items() if points}
    heading = tags.h3(curve.title, tags.small("log scale")) if curve.log else tags.h3(curve.title)
    panel = tags.section(heading, cls="panel curve")
    if series:
        legend = tags.ul(cls="legend")
        for index, (name, points) in enumerate(series.items()):
            line = svg.path(cls=f"series {series_class(index)}", d="M2,6 26,6")
            swatch = svg.svg(line, viewBox="0 0 28 12", cls="swatch", aria_hidden="true")
            legend.add(tags.li(swatch, name, tags.b(format_number(points[-1][1]))))
        panel.add(_plot(curve, series), legend)
        if any(len(points) > MAX_POINTS for points in series.values()):
            note = f"Faint: lowest to highest. Line: the mean of each {MEANS}th part. Number: the last value."
            panel.add(tags.p(note, cls="note"))
    else:
        panel.add(tags.p("Nothing to draw yet.", cls="note"))
    if left_out:
        why = "not finite or not above zero" if curve.log else "not finite"
        panel.add(tags.p(f"{plural(left_out, 'point')} left out: {why}.", cls="note"))
    return panel
