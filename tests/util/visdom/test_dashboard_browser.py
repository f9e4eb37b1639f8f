"""A real short run's dashboard and gallery in headless Chromium: curves and images as a person sees them.

Screenshots are left in the folder that the environment variable SCREENSHOTS names, else in pytest's temporary one."""

from __future__ import annotations

import io
import os
import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.screenshots import chromium, open_dashboard
from tests.conftest import ROOT, TINY
from tests.visdom_fixtures import Server, running_server
from util.visdom.files import missing, static_folder

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
pytestmark = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="chromium is not installed (apt-get install chromium)"
)
needs_page = pytest.mark.skipif(
    bool(missing(static_folder())), reason="visdom's page lacks its files (python -m scripts.visdom_offline)"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running_server(tmp_path_factory.mktemp("visdom"))


@pytest.fixture(scope="module")
def run(server: Server, pairs_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs that was shown while it trained."""
    folder = tmp_path_factory.mktemp("seen")
    words = ["train.py", "--dataroot", pairs_root, "--name", "seen", *TINY, "--max_dataset_size", 6, "--n_epochs", 2,
             "--n_epochs_decay", 0, "--checkpoints_dir", folder, "--samples", 2, "--display", "visdom",
             "--display_server", "http://127.0.0.1", "--display_port", server.port]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(word) for word in words])
        with pytest.raises(SystemExit, match="0"):
            runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    return folder / "seen"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as made:
        yield made


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of which no error may be heard."""
    context = browser.new_context(viewport={"width": 1366, "height": 1600})
    made, complaints = context.new_page(), []
    made.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("requestfailed", lambda request: complaints.append(request.url))
    yield made
    context.close()
    assert complaints == []


def screenshot(page: Any, name: str, tmp_path: Path) -> np.ndarray:
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    picture = page.screenshot(path=folder / f"{name}.png")
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Number of pixels of about this colour."""
    return int((abs(picture - np.array(colour)).max(axis=-1) < 16).sum())


def pixels(element: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB")).astype(int)


@needs_page
def test_the_dashboard_shows_curves_and_images(run: Path, server: Server, page: Any, tmp_path: Path) -> None:
    open_dashboard(page, server.client("seen").url, 8)
    whole = screenshot(page, "dashboard", tmp_path)
    assert whole.shape[:2] == (1600, 1366)
    titles = page.locator(".js-plotly-plot .gtitle").all_text_contents()
    for wanted in (
        "Adversarial losses",
        "Content losses",
        "Self losses",
        "Learning rate",
        "Speed",
    ):
        assert wanted in titles
    assert any(title.startswith("Validation SSIM: best") for title in titles)
    plots = page.locator(".js-plotly-plot")
    for i in range(plots.count()):
        assert plots.nth(i).locator(".scatterlayer .trace path.js-line").count() >= 1, titles[i]
        assert "M" in plots.nth(i).locator(".scatterlayer .trace path.js-line").first.get_attribute("d")
    assert near(pixels(plots.first), (31, 119, 180)) > 50, "a curve is drawn in its colour"
    state = page.locator(".window", has_text="finished").first
    assert "2 of 2 done" in state.inner_text()
    samples = page.locator("img.content-image")
    width, height = samples.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    box = samples.bounding_box()
    assert width > 900 and box["width"] / box["height"] == pytest.approx(width / height, rel=0.02), "correct aspect"
    assert pixels(samples).std() > 20, "not one flat colour"
    assert page.locator(".widget input[type=range]").get_attribute("max") == "1", "a picture for each validation"
    for i in range(plots.count()):
        tools = plots.nth(i).locator(".modebar").bounding_box()
        heading = plots.nth(i).locator(".gtitle").bounding_box()
        assert heading["x"] + heading["width"] <= tools["x"], "Plotly's tools do not cover the title"


@needs_page
def test_a_resumed_run_appears_in_the_open_page(run: Path, server: Server, page: Any) -> None:
    """The page is told of what is new: nobody reloads it."""
    open_dashboard(page, server.client("seen").url, 8)
    words = ["train.py", "--name", "seen", "--continue_train", "--n_epochs", "3", "--checkpoints_dir", str(run.parent)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit, match="0"):
            runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    page.wait_for_function("[...document.querySelectorAll('.window')].some(w => w.innerText.includes('3 of 3 done'))")
    points = page.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].map(p => p.data.find(t => t.name == 'adv_infrared raw'))"
        ".find(t => t).x"
    )
    assert points == [1, 6, 12, 18], "one curve, without gaps or doubles"


def test_the_run_s_gallery_shows_curves_and_images(run: Path, page: Any, tmp_path: Path) -> None:
    page.goto((run / "web" / "index.html").as_uri())
    screenshot(page, "gallery", tmp_path)
    titles = page.locator(".chart h3").all_text_contents()
    assert "Content losses" in titles and "Validation SSIM" in titles
    assert page.locator(".chart svg").count() == len(titles)
    images = page.locator(".row img")
    assert images.count() >= 2 * 2 * 4, "two epochs, two scenes, visible, generated, infrared and cycled"
    for i in range(4):
        images.nth(i).scroll_into_view_if_needed()
        images.nth(i).evaluate("image => image.decode()")
        assert images.nth(i).evaluate("image => image.naturalWidth") > 0
    labels = page.locator(".row").first.locator(".image span").all_text_contents()
    assert labels == ["visible", "generated", "infrared", "cycled"]
    assert pixels(page.locator(".row").first.locator("img").first).std() > 10
