"""The gallery page in headless Chromium, from file://: what a visitor sees and does."""

import math
import shutil
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from util.pages.charts import Curve, curve_panel
from util.pages.gallery import Table, write_gallery
from util.pages.image_rows import Row

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AWKWARD = "a & b <i>\"q\" 'p' #1 50% ü"
COLOURS = {"visible": (200, 40, 40), "generated": (40, 200, 40), "infrared": (40, 40, 200)}
SCORES = {"sample 2": 0.2, "sample 10": 0.9, AWKWARD: math.nan, "sample 1": 0.5, "only visible": 0.3}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """Five rows of plainly coloured 96 x 64 images, one with an awkward name, one without a second image."""
    folder = tmp_path_factory.mktemp("run #1 & 50%")
    rows = []
    for name, score in SCORES.items():
        files = {}
        for label, colour in COLOURS.items():
            files[label] = folder / f"{name} {label}.png"
            Image.new("RGB", (96, 64), colour).save(files[label])
        if name == "only visible":
            files = {"visible": files["visible"]}
        if name == "sample 1":
            del files["infrared"]
        rows.append(Row(name, files, {"SSIM": score}))
    curve = curve_panel(Curve("loss", {"a long name of a loss": [(i, 1 + i % 3) for i in range(2000)]}, "step"))
    table = Table("t", ["method", *(f"score {i}" for i in range(9))], [["ours", *range(9)]])
    facts = {"command": "python test.py --a_very_long_option " + "x" * 90}
    for file, refresh_s in (("index.html", None), ("live.html", 600)):
        write_gallery(folder / "web" / file, AWKWARD, rows, [table], [curve], facts, refresh_s)
    return folder / "web" / "index.html"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, gallery):
    """A function that opens the page; whatever is done there, no error and no failed request may follow."""
    contexts, complaints = [], []

    def opened(file: str = "index.html", **options):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}))
        contexts[-1].set_default_timeout(60_000)
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else complaints.append(r.url))
        page.goto((gallery.parent / file).as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def names(page) -> list[str]:
    return page.locator(".row:visible h3").all_text_contents()


def enlarge(page, name: str, label: str):
    page.get_by_role("button", name=f"Enlarge {label}, {name}", exact=True).click()


def pixels(page) -> np.ndarray:
    """The stage of the lightbox as [height, width, 3], without its corners."""
    shot = Image.open(BytesIO(page.locator("#stage").screenshot())).convert("RGB")
    return np.asarray(shot).astype(int)


def share(page, label: str) -> float:
    """The part of the lower third of the stage (no labels, no handle) that has the colour of a column."""
    image = pixels(page)
    image = image[-image.shape[0] // 3 : -12, 12:-12]
    return float((abs(image - np.array(COLOURS[label])).max(axis=-1) < 12).mean())


def test_every_image_shows(visit):
    page = visit()
    images = page.locator(".row img")
    assert images.count() == 12
    for i in range(images.count()):
        images.nth(i).scroll_into_view_if_needed()
        images.nth(i).evaluate("image => image.decode()")
        assert images.nth(i).evaluate("image => [image.naturalWidth, image.naturalHeight]") == [96, 64]
        box = images.nth(i).bounding_box()
        assert box["width"] / box["height"] == pytest.approx(1.5, abs=0.02)
    assert page.title() == AWKWARD
    assert names(page) == list(SCORES)


def test_the_parts_of_the_page_are_one_click_away(visit):
    page = visit()
    for part in ("Scores", "Charts", "Images"):
        page.get_by_role("navigation").get_by_role("link", name=part).click()
        box = page.get_by_role("heading", name=part, level=2).bounding_box()
        assert 0 <= box["y"] < 900


def test_filter(visit):
    page = visit()
    assert page.locator("#count").inner_text() == "5 shown"
    page.get_by_label("Filter", exact=True).fill("SAMPLE 1")
    assert names(page) == ["sample 10", "sample 1"]
    assert page.locator("#count").inner_text() == "2 of 5 shown"
    page.locator("#filter").fill("<i>")
    assert names(page) == [AWKWARD]
    page.locator("#filter").fill("no such name")
    assert names(page) == []
    assert page.locator("#nothing").is_visible()


def test_sort(visit):
    page = visit()
    page.locator("#sort").select_option("Name")
    assert names(page) == [AWKWARD, "only visible", "sample 1", "sample 2", "sample 10"]
    page.locator("#sort").select_option("SSIM")
    assert names(page) == ["sample 2", "only visible", "sample 1", "sample 10", AWKWARD]
    page.locator("#direction").click()
    assert names(page) == ["sample 10", "sample 1", "only visible", "sample 2", AWKWARD]
    page.locator("#sort").select_option("Given order")
    assert names(page) == list(SCORES)[::-1]
    page.locator("#direction").click()
    assert names(page) == list(SCORES)


def test_lightbox_by_keyboard(visit):
    page = visit()
    button = page.get_by_role("button", name="Enlarge visible, sample 2", exact=True)
    for _ in range(30):
        page.keyboard.press("Tab")
        if button.evaluate("element => element === document.activeElement"):
            break
    assert button.evaluate("element => element.matches(':focus-visible')")
    assert button.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.get_by_role("dialog", name="sample 2").is_visible()
    assert page.locator("#place").inner_text() == "1 / 5"
    for key, name, label in (
        ("ArrowRight", "sample 2", "generated"),
        ("ArrowRight", "sample 2", "infrared"),
        ("ArrowDown", "sample 10", "infrared"),
        ("ArrowRight", "sample 10", "visible"),
        ("ArrowLeft", "sample 10", "infrared"),
        ("ArrowDown", AWKWARD, "infrared"),
        ("ArrowDown", "sample 1", "visible"),  # has no infrared
        ("ArrowUp", AWKWARD, "infrared"),
    ):
        page.keyboard.press(key)
        assert page.locator("#box-name").inner_text() == name
        assert page.locator("#under-label").inner_text() == label
        assert page.locator("#under").get_attribute("alt") == f"{label}, {name}"
        assert share(page, label) > 0.99
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "close"
    page.keyboard.press("Escape")
    assert not page.locator("#lightbox").is_visible()
    left_at = page.get_by_role("button", name=f"Enlarge infrared, {AWKWARD}", exact=True)
    sync_api.expect(left_at).to_be_focused()


def test_lightbox_steps_through_what_the_filter_leaves(visit):
    page = visit()
    page.locator("#filter").fill("sample 1")
    enlarge(page, "sample 10", "visible")
    assert page.locator("#previous-row").is_disabled()
    page.get_by_role("button", name="Next row").click()
    assert page.locator("#box-name").inner_text() == "sample 1"
    assert page.locator("#next-row").is_disabled()
    page.keyboard.press("ArrowUp")  # keys still arrive after the focused button was disabled
    assert page.locator("#box-name").inner_text() == "sample 10"
    page.get_by_role("button", name="Close").click()
    assert not page.locator("#lightbox").is_visible()


def test_wipe_by_mouse_and_keys(visit):
    page = visit()
    page.get_by_role("button", name="Compare the images of sample 2", exact=True).click()
    assert share(page, "visible") == pytest.approx(0.5, abs=0.02)
    assert share(page, "generated") == pytest.approx(0.5, abs=0.02)
    box = page.locator("#stage").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.5 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], middle, steps=4)
    page.mouse.move(box["x"] + 0.25 * box["width"], middle, steps=4)
    page.mouse.up()
    page.mouse.move(box["x"] + 0.9 * box["width"], middle)
    assert share(page, "visible") == pytest.approx(0.25, abs=0.02)
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.get_by_role("slider").get_attribute("aria-valuenow") == "35"
    assert share(page, "visible") == pytest.approx(0.35, abs=0.02)
    page.keyboard.press("Home")
    assert share(page, "generated") > 0.99
    page.keyboard.press("End")
    assert share(page, "visible") > 0.99


def test_wipe_between_any_two_columns(visit):
    page = visit()
    enlarge(page, "sample 2", "infrared")
    page.keyboard.press("c")
    assert [page.locator(f"#{s}").input_value() for s in ("first", "second")] == ["visible", "infrared"]
    page.locator("#first").select_option("generated")
    assert share(page, "generated") == pytest.approx(0.5, abs=0.02)
    assert share(page, "infrared") == pytest.approx(0.5, abs=0.02)
    page.locator("#second").select_option("generated")  # the other one changes places
    assert [page.locator(f"#{s}").input_value() for s in ("first", "second")] == ["infrared", "generated"]
    page.get_by_role("button", name="Swap the two columns").click()
    assert [page.locator(f"#{s}").input_value() for s in ("first", "second")] == ["generated", "infrared"]
    page.locator("#handle").focus()
    for name, left, right in (
        ("sample 10", "generated", "infrared"),
        (AWKWARD, "generated", "infrared"),
        ("sample 1", "generated", "visible"),
    ):
        page.keyboard.press("ArrowDown")
        assert page.locator("#box-name").inner_text() == name
        labels = page.locator("#under-label").inner_text(), page.locator("#over-label").inner_text()
        assert labels == (left, right)
    page.keyboard.press("ArrowDown")  # one image only: nothing to compare
    assert page.locator("#wipe").is_disabled()
    assert share(page, "visible") > 0.99
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.locator("#over-label").inner_text() == "infrared"


def test_wipe_by_touch_on_a_phone(visit):
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page.get_by_role("button", name="Compare the images of sample 2", exact=True).tap()
    box = page.locator("#stage").bounding_box()
    page.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    assert share(page, "visible") == pytest.approx(0.8, abs=0.04)
    for part in (".box-head", "#stage", ".box-foot"):
        box = page.locator(part).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert box["y"] + box["height"] <= 740


@pytest.mark.parametrize("width", [320, 390, 768, 1920])
def test_no_sideways_scrolling(visit, width):
    page = visit(viewport={"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for box in (element.bounding_box() for element in page.locator(".row, .panel, .toolbar label").all()):
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(visit, scheme):
    page = visit(color_scheme=scheme)
    luminances = page.evaluate(
        """() => ["color", "backgroundColor"].map((what) => {
            const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
            const [r, g, b] = getComputedStyle(document.body)[what].match(/\\d+/g).map((v) => part(+v));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        })"""
    )
    text, background = luminances
    assert (text > background) == (scheme == "dark")
    assert (max(luminances) + 0.05) / (min(luminances) + 0.05) > 7
    shot = np.asarray(Image.open(BytesIO(page.screenshot())).convert("L"))
    assert (np.median(shot) < 60) == (scheme == "dark")


def test_a_page_that_reloads_keeps_its_place(visit):
    page = visit("live.html")
    page.locator("#filter").fill("sample")
    page.locator("#sort").select_option("SSIM")
    page.locator("#direction").click()
    enlarge(page, "sample 2", "infrared")
    page.keyboard.press("c")
    page.keyboard.press("ArrowRight")
    page.reload()
    assert page.get_by_role("dialog", name="sample 2").is_visible()
    assert page.locator("#over-label").inner_text() == "infrared"
    assert page.get_by_role("slider").get_attribute("aria-valuenow") == "52"
    page.keyboard.press("Escape")
    assert names(page) == ["sample 10", "sample 1", "sample 2"]


def test_a_thousand_rows_open(visit, tmp_path):
    memory = BytesIO()
    Image.new("RGB", (96, 64), COLOURS["visible"]).save(memory, "PNG")
    rows = []
    for i in range(1000):
        files = {label: tmp_path / f"{i} {label}.png" for label in COLOURS}
        for file in files.values():
            file.write_bytes(memory.getvalue())
        rows.append(Row(f"sample {i}", files, {"SSIM": -i}))
    write_gallery(tmp_path / "index.html", "many", rows)
    page = visit(str(tmp_path / "index.html"))
    assert page.locator("#count").inner_text() == "1000 shown"
    loaded = page.evaluate("[...document.querySelectorAll('.row img')].filter(image => image.complete).length")
    assert 3 <= loaded <= 300, "of three thousand, those near the window"
    page.locator("#sort").select_option("SSIM")
    assert names(page)[:2] == ["sample 999", "sample 998"]
    page.locator("#filter").fill("sample 77")
    assert page.locator("#count").inner_text() == "11 of 1000 shown"


def edge(page, left: bool) -> float:
    """How bright an edge of the table's background is, beside the middle of its first line."""
    box = page.locator(".scroller").bounding_box()
    cell = page.locator(".scroller td").first.bounding_box()
    x = cell["x"] + cell["width"] + 2 if left else box["x"] + box["width"] - 3
    clip = {"x": x, "y": cell["y"] + 2, "width": 2, "height": 3}
    return float(np.asarray(Image.open(BytesIO(page.screenshot(clip=clip))).convert("L")).mean())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_wide_table_shows_that_there_is_more(visit, scheme):
    page = visit(viewport={"width": 500, "height": 900}, color_scheme=scheme)
    scroller, first = page.locator(".scroller"), page.locator(".scroller td").first
    assert scroller.evaluate("s => s.scrollWidth > s.clientWidth + 50")
    at = first.bounding_box()["x"]
    shaded = edge(page, left=False)
    scroller.evaluate("s => s.scrollTo(1e6, 0)")
    page.wait_for_selector(".scroller.moved")
    assert first.bounding_box()["x"] == pytest.approx(at, abs=1), "the first column stands still"
    plain = edge(page, left=False)
    assert shaded < plain - 10, "a shadow at the right, gone at the end"
    assert edge(page, left=True) < plain - 10, "and one at the left, then"
    scroller.evaluate("s => s.scrollTo(0, 0)")
    page.wait_for_selector(".scroller:not(.moved)")
    assert edge(page, left=True) == pytest.approx(plain, abs=3)


def test_a_narrow_table_has_no_shadow(visit):
    page = visit(viewport={"width": 1920, "height": 900}, color_scheme="light")
    assert page.locator(".scroller").evaluate("s => s.scrollWidth <= s.clientWidth")
    assert edge(page, left=False) == pytest.approx(255, abs=1)


def test_on_paper_every_image_is_there(visit, tmp_path):
    files = []
    for i in range(60):
        files.append(tmp_path / f"{i}.png")
        Image.new("RGB", (96, 64), (4 * i, 90, 90)).save(files[-1])
    write_gallery(tmp_path / "index.html", "many", [Row(file.stem, {"visible": file}) for file in files])
    loaded = "[...document.querySelectorAll('.row img')].filter(image => image.naturalWidth > 0).length"
    for ways in ("emulate", "event"):
        page = visit(str(tmp_path / "index.html"), viewport={"width": 400, "height": 700})
        assert page.evaluate(loaded) < 60, "on a screen those near the window"
        if ways == "emulate":
            page.emulate_media(media="print")
        else:
            page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.wait_for_function(f"{loaded} === 60")
