"""The gallery: one HTML page of image rows, score tables and charts, for file:// and no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dominate import tags
from dominate.util import raw

from util.files import beside
from util.pages.image_rows import Row, column_order, images_section
from util.text import format_column, plural

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Crect width='32' height='32' rx='7' fill='%23203a5c'/%3E"
    "%3Cpath d='M16 0h9a7 7 0 0 1 7 7v18a7 7 0 0 1-7 7h-9z' fill='%23f28a3c'/%3E%3C/svg%3E"
)


@dataclass(frozen=True)
class Table:
    """Holds one table; `best` names the columns whose largest ("max") or smallest ("min") number is set in bold."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    best: Mapping[str, str] = field(default_factory=dict)


def table_panel(table: Table) -> tags.html_tag:
    """Return the table under its title, and its note."""
    best = {}
    for label, direction in table.best.items():
        column = table.columns.index(label)
        values = [row[column] for row in table.rows]
        numbers = [value for value in values if not isinstance(value, str) and math.isfinite(value)]
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
    charts: Sequence[tags.html_tag] = (),
    facts: Mapping[str, str] | None = None,
    refresh_s: int | None = None,
) -> None:
    """Write the page at `path` in one step; images are linked relative to its folder, so move them together.

    `charts`: panels of util.pages.charts; they stand below the tables.
    `refresh_s`: the page reloads itself after that many seconds.
    An image that is gone or broken is an OSError that names it.
    """
    path = Path(path)
    columns = column_order(rows)
    about = [plural(len(rows), "sample"), " · ".join(columns)]
    if refresh_s is not None:
        about.append(f"reloads every {refresh_s} s")
    top = tags.header(tags.h1(title), tags.p((tags.span(part) for part in about if part), cls="about"))
    kinds = (("Scores", tables), ("Charts", charts), ("Images", rows))
    parts = [name for name, there in kinds if there]
    if len(parts) > 1:  # a long page: its parts are one click away
        top.add(tags.nav((tags.a(name, href=f"#{name.lower()}") for name in parts), aria_label="Parts of this page"))
    main = tags.main()
    if facts:
        main.add(_facts(facts))
    if tables:
        panels = tags.div((table_panel(table) for table in tables), cls="tables")
        main.add(tags.section(tags.h2("Scores"), panels, id="scores"))
    if charts:
        main.add(tags.section(tags.h2("Charts"), tags.div(charts, cls="panels"), id="charts"))
    main.add(images_section(rows, path.parent.absolute()))
    body = tags.body(top, main, raw(_asset("gallery.html")), tags.script(raw(_asset("gallery.js"))))
    page = tags.html(_page_head(title, refresh_s), body, lang="en")

    with beside(path) as part:
        # "replace": a file name that is not valid UTF-8 shows "?" there; its link was quoted from the bytes.
        text = "<!DOCTYPE html>\n" + page.render(pretty=False) + "\n"
        part.write_text(text, encoding="utf-8", errors="replace")
