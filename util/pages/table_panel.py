"""Panel of a page: a table of text and numbers, the best of a column in bold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dominate import tags

from util.text import format_column


@dataclass(frozen=True)
class Table:
    """One table; `best` names the columns whose largest ("max") or smallest ("min") number is set in bold."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    best: Mapping[str, str] = field(default_factory=dict)


def table_panel(table: Table) -> tags.html_tag:
    """The table under its title, and its note; ValueError where a row or `best` does not fit the columns."""
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
        cells = [row[column] for row in table.rows]
        numbers = [cell for cell in cells if not isinstance(cell, str) and math.isfinite(cell)]
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
