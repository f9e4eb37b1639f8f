"""The evaluation page: where its plots put values, and what a visitor sees in headless Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import write_pairs
from util.metrics.score_sheet import ScoreSheet
from util.pages.evaluation_page import best_and_worst_table, ranking_table
from util.pages.score_plots import LINE, RIGHT, WIDTH, distribution_plot, name_lines, plots, ranking_plot, room_for

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


def test_values_are_where_the_axis_says(sheet: ScoreSheet) -> None:
    page = distribution_plot(sheet, "Q").render(pretty=False)
    left = room_for(sheet.rows)
    bars = [float(x) for x in re.findall(r'middle-line" d="M([\d.]+),', page)]
    span = WIDTH - left - RIGHT  # from 2, the least value, to 10
    assert bars == pytest.approx([left + span * (median - 2) / 8 for median in (6, 4, 8)], abs=0.1)
    dots = [float(x) for x in re.findall(r"M([\d.]+),[\d.]+h0", page)]
    assert len(dots) == 15 and min(dots) == left and max(dots) == WIDTH - RIGHT
    assert "higher is better" in page and ">a method of a very long<" in page and ">name<" in page
    assert distribution_plot(sheet, "none") is None and len(plots(sheet)) == 3


def test_names_have_the_room_that_they_need() -> None:
    assert name_lines("inverted luminance") == ["inverted luminance"]
    assert name_lines("cyclegan_resnet_9blocks_flir_v2_epoch200") == ["cyclegan_resnet_9blocks_", "flir_v2_epoch200"]
    assert name_lines("a" * 30) == ["a" * LINE, "a" * (30 - LINE)]
    assert name_lines("of a name that has very many words of which not all fit") == [
        "of a name that has very", "many words of which n…"
    ]  # fmt: skip
    assert name_lines("\u5317" * 20)[0] == "\u5317" * 13, "they are twice as wide"
    assert room_for(["constant"]) < room_for(["inverted luminance"]) < room_for(["a" * 90]) < WIDTH / 2


def test_ranking(sheet: ScoreSheet) -> None:
    table = ranking_table(sheet)
    assert [row[:3] for row in table.rows] == [["good", 1.0, 1], ["a method of a very long name", 2.0, 1]]
    assert sheet.beaten("good") == ["Q"]
    bars = re.findall(r'middle-line" d="M([\d.]+),', ranking_plot(sheet).render(pretty=False))
    assert [float(bar) for bar in bars] == [room_for(sheet.methods), WIDTH - RIGHT]
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
            tab.set_default_timeout(10_000)
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
        assert tab.locator("#plots .panel").count() == 5
        inside = """() => [...document.querySelectorAll('#plots svg')].every(s => {
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
