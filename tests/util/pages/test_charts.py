"""Charts: what their SVG says, and that it fits a page."""

from __future__ import annotations

import math
import re

import pytest

from util.metrics.score_sheet import ScoreSheet
from util.pages.charts import Curve, bars_panel, curve_panel, distribution_panel, stretches


def drawn(curve: Curve) -> str:
    return curve_panel(curve).render(pretty=False)


def test_curves_tell_what_is_left_out_and_where_they_end() -> None:
    series = {"G": [(1, 4.0), (2, math.nan), (3, 1.25), (4, math.inf)], "D": [(1, 0.0), (2, 0.5)], "one": [(2, 1.0)]}
    page = drawn(Curve("loss", series, "epoch"))
    assert "2 points left out: not finite." in page and "loss: G ends at 1.25; D ends at 0.5; one ends at 1" in page
    assert "<b>1.25</b>" in page and "Band" not in page
    assert {float(tick) for tick in re.findall(r">([\d.]+)</text>", page)} >= {1, 2, 3}
    assert "Nothing to draw yet." in drawn(Curve("loss", {"G": [(1, math.nan)]}, "epoch"))


def test_a_constant_curve_and_a_long_one() -> None:
    assert "flat ends at 2" in drawn(Curve("loss", {"flat": [(i, 2.0) for i in range(4)]}, "step"))
    page = drawn(Curve("loss", {"long": [(i, 2.0 + i % 2) for i in range(30_000)]}, "step"))
    assert len(page) < 30_000 and "Band: its lowest to highest" in page


def test_stretches_use_every_point_once() -> None:
    points = [(float(i), float(i % 7)) for i in range(1003)]
    found = stretches(points, 100)
    assert len(found) == 100
    assert found[0] == (4.5, sum(i % 7 for i in range(10)) / 10, 0, 6)
    assert stretches(points[:2], 100) == [(0, 0, 0, 0), (1, 1, 1, 1)]


def test_eight_series_look_different() -> None:
    page = drawn(Curve("loss", {f"loss {i}": [(0, i), (1, i)] for i in range(8)}, "step"))
    assert len(set(re.findall(r"border-top: ([^\"]+)", page))) == 8


def test_charts_have_the_colours_of_the_page_and_the_same_bytes_each_time() -> None:
    curve = Curve("loss", {f"loss {i}": [(0, i), (1, i)] for i in range(6)}, "step")
    page = drawn(curve)
    assert page == drawn(curve)
    assert not re.search(r"#[0-9a-f]{6}", page) and all(f"var(--s{i})" in page for i in range(6))
    assert "<metadata" not in page and "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", page)


@pytest.mark.parametrize("name", ["$x^2$ <b>&amp; \\frac", "a\udcff", "\u5317" * 20, "W" * 60, "\u5317 \u4eac"])
def test_any_name_can_be_drawn(name: str) -> None:
    sheet = ScoreSheet({"Q": True}, ())
    for stem in "abc":
        sheet.add(name, stem, {"Q": ord(stem)})
    panels = [distribution_panel(sheet, "Q"), curve_panel(Curve(name, {name: [(0, 1)]}, "step"))]
    pages = [panel.render(pretty=False).encode(errors="replace").decode() for panel in panels]
    assert all("<svg" in page and "<b>&amp; " not in page for page in pages)
    if name.startswith("$"):
        assert "$x^2$ &lt;b&gt;&amp;amp;" in pages[0]


def test_bars_say_their_values() -> None:
    rows = {"real": [(0.14, 0.01), (0.38, 0.0)], "generated": [(math.nan, 0.0), (0.0, 0.0)]}
    page = bars_panel("AP", rows, ["mAP", "AP50"], "a note").render(pretty=False)
    assert all(text in page for text in (">0.140 ± 0.010<", ">0.380<", ">0.000<", ">real<", "a note"))
    assert ">nan" not in page and "real: mAP 0.140" in page
