"""The evaluation page: its tables, and what a visitor sees in headless Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import write_pairs
from util.metrics.score_sheet import ScoreSheet
from util.pages.charts import distribution_panel, ranking_panel, score_panels
from util.pages.evaluation_page import best_and_worst_table, ranking_table

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture
def sheet() -> ScoreSheet:
    """Two methods and a trivial row: good is best in both metrics, the trivial row better still in Q."""
    made = ScoreSheet({"Q": True, "E": False, "none": True}, ("average",))
    for name, quality in (("good", 4.0), ("a method of a very long name", 2.0), ("average", 6.0)):
        for i in range(5):
            made.add(
                name, f"{i}", {"Q": quality + i, "E": 10 - quality if name != "average" else 99, "none": float("nan")}
            )
    return made


def numbers(page: str, colour: str) -> list[list[tuple[float, float]]]:
    """The points of each path of a chart that has a colour."""
    paths = re.findall(r'<path d="([^"]*)"[^>]*style="[^"]*stroke: var\(--(\w+)\)', page)
    points = [re.findall(r"[ML] ([\d.]+) ([\d.]+)", path) for path, found in paths if found == colour]
    return [[(float(x), float(y)) for x, y in path] for path in points]


def test_values_are_where_the_axis_says(sheet: ScoreSheet) -> None:
    page = distribution_panel(sheet, "Q").render(pretty=False)
    dots, *_, median = numbers(page, "s0")  # of "good": 4, 5, 6, 7, 8
    apart = [b[0] - a[0] for a, b in zip(dots[::2], dots[2::2], strict=False)]
    assert len(dots) == 10 and apart == pytest.approx([apart[0]] * 4, abs=0.01) and apart[0] > 5
    assert median[0][0] == pytest.approx(dots[4][0], abs=0.01), "6 in the middle"
    grey = numbers(page, "soft")
    assert any(path[0][0] == pytest.approx(median[0][0] + 2 * apart[0], abs=0.01) for path in grey), (
        "8 two to the right"
    )
    assert "higher is better" in page and ">a method of a very long<" in page and ">name<" in page
    assert "median of good 6;" in page
    assert distribution_panel(sheet, "none") is None and len(score_panels(sheet)) == 3


def test_ranking(sheet: ScoreSheet) -> None:
    table = ranking_table(sheet)
    assert [row[:3] for row in table.rows] == [["good", 1.0, 1], ["a method of a very long name", 2.0, 1]]
    assert sheet.beaten("good") == ["Q"]
    page = ranking_panel(sheet).render(pretty=False)
    (left, _), (right, _) = (numbers(page, colour)[-1][0] for colour in ("s0", "s1"))
    assert left < right - 100 and "Mean ranks: good 1; a method of a very long name 2" in page
    assert best_and_worst_table(sheet).rows[0][:3] == ["Q", "4 (8)", "0 (4)"]


@pytest.fixture
def page(command: Callable, tmp_path: Path) -> Path:
    """The page of two methods, as the command writes it."""
    root = write_pairs(tmp_path / "data", 7, (48, 64))
    for name, side in (("one method", "visible"), ("two", "infrared")):
        shutil.copytree(root / side, tmp_path / name)
    command(
        "scripts.evaluate", "fusion", "--fused", f"one method={tmp_path / 'one method'}", f"two={tmp_path / 'two'}",
        "--visible", root / "visible", "--infrared", root / "infrared", "--metrics", "EN,SD,MI,Nabf", "--out",
        "a b/s #1.json", "--num_threads", 0, "--device", "cpu",
    )  # fmt: skip
    return tmp_path / "a b" / "s #1.html"


@pytest.fixture
def visit(page: Path) -> Iterator[Callable]:
    """Opens the page; no error and no failed or outside request may follow."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    complaints: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)

        def opened(**options: object):
            tab = browser.new_context(**options).new_page()
            tab.set_default_timeout(60_000)
            tab.on("console", lambda message: complaints.append(message.text))
            tab.on("pageerror", lambda error: complaints.append(str(error)))
            tab.on("requestfailed", lambda request: complaints.append(request.url))
            tab.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else complaints.append(r.url))
            tab.goto(page.as_uri())
            return tab

        yield opened
        browser.close()
    assert not complaints


def test_in_a_browser(visit: Callable) -> None:
    for options in (
        {"viewport": {"width": 1280, "height": 900}},
        {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"},
    ):
        tab = visit(**options)
        assert tab.evaluate("document.documentElement.scrollWidth") <= options["viewport"]["width"]
        assert tab.locator("#charts .panel").count() == 5
        inside = """() => [...document.querySelectorAll('#charts svg')].every(s => {
            const o = s.getBoundingClientRect();
            return [...s.querySelectorAll('text')].every(t => {
                const b = t.getBoundingClientRect();
                return b.left >= o.left - 1 && b.right <= o.right + 1 && b.bottom <= o.bottom + 1;
            });
        })"""
        assert tab.evaluate(inside), "no text is cut off"
        first = tab.locator("#rows img").first
        first.scroll_into_view_if_needed()
        tab.wait_for_function("document.querySelector('#rows img').naturalWidth > 0")
        assert tab.locator("#rows .row").count() >= 6
        assert "best 1 of" in tab.locator("#rows .row h3").first.inner_text()
        tab.locator("#sort").select_option("score:mean rank in two")
        tab.locator("#rows .compare").first.click()
        assert tab.locator("#lightbox").is_visible()
