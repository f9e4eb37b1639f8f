"""Section of a page: rows of images with their scores, to sort, filter, enlarge and compare."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from dominate import tags
from PIL import Image

from util.text import format_number


@dataclass(frozen=True)
class Row:
    """One sample: column label ("visible", "generated", ...) -> image file in column order, and scores."""

    name: str
    images: Mapping[str, Path | str]
    scores: Mapping[str, float] = field(default_factory=dict)


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


def _card(row: Row, columns: Sequence[str], folder: Path) -> tags.html_tag:
    strip = tags.div(cls="strip")
    for label in columns:
        if label not in row.images:
            strip.add(tags.div(tags.span(label), tags.span("none", cls="none"), cls="image missing"))
            continue
        file = Path(row.images[label])
        with Image.open(file) as image:  # which reads its header only
            width, height = image.size
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


def images_section(rows: Sequence[Row], folder: Path) -> tags.html_tag:
    """All rows, with the means to sort and filter them; files are linked relative to `folder`, the page's own."""
    columns = column_order(rows)
    cards = tags.ol((_card(row, columns, folder) for row in rows), id="rows", style=f"--columns: {len(columns)}")
    section = tags.section(tags.h2("Images"), cls="images", id="images")
    if rows:
        nothing = tags.p("No name matches the filter.", id="nothing", cls="note", hidden=True)
        section.add(_toolbar(rows), cards, nothing)
    else:
        section.add(tags.p("No images yet.", cls="note"))
    return section
