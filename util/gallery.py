"""The gallery: one HTML page of image rows, score tables and loss curves, for file:// and no network."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from dominate import svg, tags
from dominate.util import raw
from PIL import Image, UnidentifiedImageError

SHOWN_BY_BROWSERS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF")
EXIF_ORIENTATION, EXIF_TRANSPOSED = 0x0112, 5
MAX_POINTS = 500  # per drawn series; a longer one gets a line of means over it
MEANS = 100
COLOURS = 6  # .s0 to .s5 in gallery.css; later series repeat them dashed
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 480, 270, 50, 14, 10, 42  # of a plot, in SVG units
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Crect width='32' height='32' rx='7' fill='%23203a5c'/%3E"
    "%3Cpath d='M16 0h9a7 7 0 0 1 7 7v18a7 7 0 0 1-7 7h-9z' fill='%23f28a3c'/%3E%3C/svg%3E"
)


@dataclass(frozen=True)
class Row:
    """One sample: column label ("visible", "generated", ...) -> image file in column order, and scores."""

    name: str
    images: Mapping[str, Path | str]
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Curve:
    """One plot: series name -> [(x, y), ...]. Points that are not finite, or <= 0 if log, are not drawn."""

    title: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    x_label: str
    log: bool = False


@dataclass(frozen=True)
class Table:
    """One table; `best` names the columns whose largest ("max") or smallest ("min") number is set in bold."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    note: str = ""
    best: Mapping[str, Literal["max", "min"]] = field(default_factory=dict)


def format_number(value: float) -> str:
    """Four significant digits, or n/a, ∞, -∞."""
    if not math.isfinite(value):
        return "n/a" if math.isnan(value) else "∞" if value > 0 else "-∞"
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e6 else f"{value:.4g}"


def format_column(cells: Sequence[str | float]) -> list[str]:
    """Text as it is; numbers as by format_number, then with equally many decimals."""
    texts = [cell if isinstance(cell, str) else format_number(cell) for cell in cells]
    plain = [not isinstance(cell, str) and math.isfinite(cell) for cell in cells]
    plain = [p and "e" not in text for p, text in zip(plain, texts, strict=True)]
    decimals = max((len(t.partition(".")[2]) for t, p in zip(texts, plain, strict=True) if p), default=0)
    return [f"{c:.{decimals}f}" if p else t for c, t, p in zip(cells, texts, plain, strict=True)]


def column_order(rows: Iterable[Row]) -> list[str]:
    """All labels of the rows; one that earlier rows lack stands after the label it follows in its own row."""
    order: list[str] = []
    for row in rows:
        place = 0
        for label in row.images:
            if label not in order:
                order.insert(place, label)
            place = order.index(label) + 1
    return order


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


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], low < high."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough * (1 - 1e-9))
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within [low, high], 0 < low < high; 1-2-5 or linear ticks where they are fewer than 3."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        ticks = [factor * 10.0**k for k in exponents for factor in factors]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) >= 3:
            return ticks[:: 1 + (len(ticks) - 1) // 7]
    return [tick for tick in linear_ticks(low, high) if tick > 0]


def _tick_label(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if size * (1 if unit == "M" else 10) <= abs(value) < 1e9:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def _spread(values: Iterable[float]) -> tuple[float, float]:
    """Lowest and highest value, moved apart where they are (nearly) the same."""
    values = list(values)
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        apart = 0.1 * abs(low) or 1.0
        return low - apart, high + apart
    return low, high


def _series_class(index: int) -> str:
    return f"s{index % COLOURS} d{index // COLOURS % 3}"


def _plot(curve: Curve, series: Mapping[str, Sequence[tuple[float, float]]]) -> tags.html_tag:
    """The SVG of series that hold drawable points only."""
    x_low, x_high = _spread(x for points in series.values() for x, _ in points)
    y_low, y_high = _spread(y for points in series.values() for _, y in points)
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
        plot.add(svg.text(_tick_label(tick), cls="tick end", x=LEFT - 8, y=down(tick) + 4))
    foot = HEIGHT - BOTTOM
    whole = all(float(x).is_integer() for points in series.values() for x, _ in points)
    for tick in linear_ticks(x_low, x_high):
        if whole and not round(tick, 6).is_integer():
            continue  # there is no epoch 1.5
        plot.add(svg.line(cls="axis", x1=right(tick), x2=right(tick), y1=foot, y2=foot + 4))
        plot.add(svg.text(_tick_label(tick), cls="tick middle", x=right(tick), y=foot + 17))
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
        draw(downsample(points), _series_class(index) + " faint" * long[index])
    for index, points in enumerate(series.values()):
        if long[index]:
            draw(means(points), _series_class(index))
    return plot


def _curve_panel(curve: Curve) -> tags.html_tag:
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
            line = svg.path(cls=f"series {_series_class(index)}", d="M2,6 26,6")
            swatch = svg.svg(line, viewBox="0 0 28 12", cls="swatch", aria_hidden="true")
            legend.add(tags.li(swatch, name, tags.b(format_number(points[-1][1]))))
        panel.add(_plot(curve, series), legend)
        if any(len(points) > MAX_POINTS for points in series.values()):
            note = f"Faint: lowest to highest. Line: the mean of each {MEANS}th part. Number: the last value."
            panel.add(tags.p(note, cls="note"))
    else:
        panel.add(tags.p("Nothing to draw yet.", cls="note"))
    if left_out:
        points_left_out = "1 point" if left_out == 1 else f"{left_out} points"
        why = "not finite or not above zero" if curve.log else "not finite"
        panel.add(tags.p(f"{points_left_out} left out: {why}.", cls="note"))
    return panel


def _table_panel(table: Table) -> tags.html_tag:
    for cells in table.rows:
        if len(cells) != len(table.columns):
            raise ValueError(
                f"table {table.title!r}: a row has {len(cells)} cells, {list(cells)!r}; "
                f"give it one for each of the {len(table.columns)} columns"
            )
    best = {}
    for label, direction in table.best.items():
        if label not in table.columns:
            raise ValueError(f"table {table.title!r}: best names {label!r}; choose from {list(table.columns)}")
        column = table.columns.index(label)
        numbers = [c[column] for c in table.rows if not isinstance(c[column], str) and math.isfinite(c[column])]
        best[column] = (max if direction == "max" else min)(numbers, default=None)
    numeric = {i for i in range(len(table.columns)) if any(not isinstance(c[i], str) for c in table.rows)}
    columns = [format_column([cells[i] for cells in table.rows]) for i in range(len(table.columns))]
    head = tags.tr(tags.th(c, scope="col", cls="number" * (i in numeric)) for i, c in enumerate(table.columns))
    body = tags.tbody()
    for k, cells in enumerate(table.rows):
        line = body.add(tags.tr())
        for i, cell in enumerate(cells):
            bold = not isinstance(cell, str) and cell == best.get(i)
            text = columns[i][k]
            line.add(tags.td(tags.b(text) if bold else text, cls="number" * (i in numeric)))
    # A table wider than its panel scrolls there; tabindex lets a keyboard scroll it.
    scroller = tags.div(tags.table(tags.thead(head), body), cls="scroller", tabindex="0", role="region")
    scroller["aria-label"] = table.title
    panel = tags.section(tags.h3(table.title), scroller, cls="panel")
    if table.note:
        panel.add(tags.p(table.note, cls="note"))
    return panel


def _facts(facts: Mapping[str, str]) -> tags.html_tag:
    pairs = (
        tags.div(tags.dt(name), tags.dd(str(value)), cls="wide" * (len(str(value)) > 24))
        for name, value in facts.items()
    )
    panel = tags.details(tags.summary("About this run"), tags.dl(pairs), cls="panel facts")
    if len(facts) <= 12:
        panel["open"] = "open"
    return panel


def _image_size(row: Row, label: str, file: Path) -> tuple[int, int]:
    """Width and height as a browser shows the file. Reads the header only."""
    where = f"gallery row {row.name!r}, column {label!r}"
    try:
        with Image.open(file) as image:
            kind, (width, height) = image.format, image.size
            turned = kind == "JPEG" and image.getexif().get(EXIF_ORIENTATION, 1) >= EXIF_TRANSPOSED
    except FileNotFoundError:
        raise FileNotFoundError(f"{where}: there is no image {file}; write it before the page") from None
    except UnidentifiedImageError:
        raise ValueError(f"{where}: {file} is not an image; write it as PNG") from None
    if kind not in SHOWN_BY_BROWSERS:
        raise ValueError(f"{where}: browsers do not show {kind} ({file}); write it as PNG")
    return (height, width) if turned else (width, height)


def _card(row: Row, columns: Sequence[str], folder: Path) -> tags.html_tag:
    strip = tags.div(cls="strip")
    for label in columns:
        if label not in row.images:
            strip.add(tags.div(tags.span(label), tags.span("none", cls="none"), cls="image missing"))
            continue
        file = Path(row.images[label])
        width, height = _image_size(row, label, file)
        # fsencode keeps names that are not valid UTF-8; quoting ":" keeps "a:b.png" from reading as a scheme.
        link = quote(os.fsencode(Path(os.path.relpath(file.absolute(), folder)).as_posix()), safe="/")
        picture = tags.img(src=link, alt=f"{label}, {row.name}", width=width, height=height)
        picture["loading"], picture["decoding"] = "lazy", "async"
        button = tags.button(picture, type="button", data_column=label)
        button["aria-label"] = f"Enlarge {label}, {row.name}"
        strip.add(tags.div(tags.span(label), button, cls="image"))
    caption = tags.div(tags.h3(row.name), cls="caption")
    if len(row.images) > 1:
        name = f"Compare the images of {row.name}"
        caption.add(tags.button("Compare", type="button", cls="quiet compare", aria_label=name))
    scores = {name: float(value) for name, value in row.scores.items()}
    card = tags.li(strip, caption, cls="row", data_name=row.name)
    # JSON has no NaN and no infinity: as strings they pass, and Number() reads them back.
    readable = {k: v if math.isfinite(v) else str(v).replace("inf", "Infinity") for k, v in scores.items()}
    card["data-scores"] = json.dumps(readable, ensure_ascii=False)
    if scores:
        pairs = (tags.div(tags.dt(k), tags.dd(format_number(v)), data_score=k) for k, v in scores.items())
        card.add(tags.dl(pairs, cls="scores"))
    return card


def _toolbar(rows: Sequence[Row]) -> tags.html_tag:
    sort = tags.select(tags.option("Given order", value=""), tags.option("Name", value="name"), id="sort")
    for score in dict.fromkeys(score for row in rows for score in row.scores):
        sort.add(tags.option(score, value=f"score:{score}"))
    return tags.div(
        tags.label(tags.span("Filter"), tags.input_(id="filter", type="search", placeholder="part of a name")),
        tags.label(tags.span("Sort by"), sort),
        tags.button("Ascending", id="direction", type="button"),
        tags.output(id="count", aria_live="polite"),
        cls="toolbar",
        role="search",
        aria_label="Filter and sort the images",
    )


def _images(rows: Sequence[Row], folder: Path) -> tags.html_tag:
    columns = column_order(rows)
    cards = tags.ol((_card(row, columns, folder) for row in rows), id="rows", style=f"--columns: {len(columns)}")
    section = tags.section(tags.h2("Images"), cls="images", id="images")
    if rows:
        nothing = tags.p("No name matches the filter.", id="nothing", cls="note", hidden=True)
        section.add(_toolbar(rows), cards, nothing)
    else:
        section.add(tags.p("No images yet.", cls="note"))
    return section


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _page_head(title: str, refresh_s: int | None) -> tags.html_tag:
    head = tags.head(tags.meta(charset="utf-8"))
    head.add(tags.meta(name="viewport", content="width=device-width, initial-scale=1"))
    head.add(tags.meta(name="color-scheme", content="light dark"))
    if refresh_s is not None:
        head.add(tags.meta(http_equiv="refresh", content=str(refresh_s)))
    head.add(tags.title(title), tags.link(rel="icon", href=ICON))
    head.add(tags.style(raw(_asset("gallery.css"))))
    return head


def write_gallery(
    path: Path,
    title: str,
    rows: Sequence[Row],
    tables: Sequence[Table] = (),
    curves: Sequence[Curve] = (),
    facts: Mapping[str, str] | None = None,
    refresh_s: int | None = None,
    plots: Sequence[tags.html_tag] = (),
) -> None:
    """Write the page at `path` in one step; images are linked relative to its folder, so move them together.

    `plots`: panels drawn elsewhere, as by util.score_plots; they stand below the tables.
    `refresh_s`: the page reloads itself after that many seconds.
    A bad image, table or `refresh_s` is a FileNotFoundError or ValueError that names it.
    """
    if refresh_s is not None and not refresh_s >= 1:
        raise ValueError(f"refresh_s is {refresh_s}; give whole seconds, at least 1, or None")
    path = Path(path)
    columns = column_order(rows)
    about = [f"{len(rows):,} {'sample' if len(rows) == 1 else 'samples'}", " · ".join(columns)]
    if refresh_s is not None:
        about.append(f"reloads every {refresh_s} s")
    top = tags.header(tags.h1(title), tags.p((tags.span(part) for part in about if part), cls="about"))
    kinds = (("Scores", tables), ("Plots", plots), ("Curves", curves), ("Images", rows))
    parts = [name for name, there in kinds if there]
    if len(parts) > 1:  # a long page: its parts are one click away
        top.add(tags.nav((tags.a(name, href=f"#{name.lower()}") for name in parts), aria_label="Parts of this page"))
    main = tags.main()
    if facts:
        main.add(_facts(facts))
    if tables:
        panels = tags.div((_table_panel(table) for table in tables), cls="tables")
        main.add(tags.section(tags.h2("Scores"), panels, id="scores"))
    if plots:
        main.add(tags.section(tags.h2("Plots"), tags.div(plots, cls="panels"), id="plots"))
    if curves:
        panels = tags.div((_curve_panel(curve) for curve in curves), cls="panels")
        main.add(tags.section(tags.h2("Curves"), panels, id="curves"))
    main.add(_images(rows, path.parent.absolute()))
    body = tags.body(top, main, raw(_asset("gallery.html")), tags.script(raw(_asset("gallery.js"))))
    page = tags.html(_page_head(title, refresh_s), body, lang="en")

    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # "replace": a file name that is not valid UTF-8 shows "?" there; its link was quoted from the bytes.
        text = "<!DOCTYPE html>\n" + page.render(pretty=False) + "\n"
        beside.write_text(text, encoding="utf-8", errors="replace")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
