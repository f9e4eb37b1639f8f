"""Pictures of a run's dashboard and gallery for README, taken in headless Chromium."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from util.command_line import parse, run_command
from util.files import ROOT, check_file, check_folder
from util.visdom.client import VisdomClient
from util.visdom.display import RunView
from util.visdom.files import missing, static_folder
from util.visdom.server import free_port, start_server

PICTURE = "picture of scripts.screenshots"  # in its file, which tells it from others
HEIGHT = 1330  # of the browser's window, pixels
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


@dataclass(frozen=True)
class ScreenshotOptions:
    """Take the pictures of README: a run's dashboard and its gallery. Needs chromium and playwright."""

    name: str = "quickstart"
    """Name of the run. Take one of the sample data set: pictures of real data sets are not ours to publish."""
    checkpoints_dir: Path = Path("checkpoints")
    """Folder of all runs."""
    gallery: Path | None = None
    """Gallery page to show; by default the run's own. test.py and fuse.py write results/NAME/index.html."""
    out: Path = Path("result_images")
    """Folder of the pictures, dashboard.png and gallery.png."""

    def __post_init__(self) -> None:
        if not (self.checkpoints_dir / self.name / "losses.jsonl").is_file():
            raise ValueError(f"{self.checkpoints_dir / self.name}: no run; bash scripts/quickstart.sh makes one")
        if self.gallery is not None and not self.gallery.is_file():
            raise ValueError(f"--gallery {self.gallery}: no such file")


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's browser, headless, driven by playwright; ValueError where either is missing."""
    path = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise ValueError("playwright is not installed: python -m pip install playwright") from None
    if path is None:
        raise ValueError("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


def open_dashboard(page: Any, url: str, plots: int) -> None:
    """Open a visdom environment and wait until this many plots and all images are drawn."""
    page.goto(url)
    page.wait_for_function(
        "wanted => document.querySelectorAll('.js-plotly-plot .main-svg .trace').length > 0"
        " && document.querySelectorAll('.js-plotly-plot').length >= wanted"
        " && [...document.images].every(image => image.complete)",
        arg=plots,
        timeout=30_000,
    )
    page.wait_for_timeout(1500)  # panes move to their places


def save(picture: bytes, path: Path) -> None:
    """A screenshot as a small PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = PngInfo()
    text.add_text("Software", PICTURE)
    Image.open(io.BytesIO(picture)).convert("RGB").save(path, optimize=True, pnginfo=text)
    print(path)


def main() -> int:
    """Take the screenshots that the command line asks for; returns the exit status."""
    options = parse(ScreenshotOptions)
    check_folder("--out", options.out)
    for name in ("dashboard.png", "gallery.png") if options.out.resolve() != (ROOT / "result_images").resolve() else ():
        check_file("--out", options.out / name, PICTURE)
    if missing(static_folder()):
        raise ValueError("visdom's page lacks its files: python -m scripts.visdom_offline")
    run = options.checkpoints_dir / options.name
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        process = start_server(port, folder=Path(folder))
        try:
            client = VisdomClient("http://127.0.0.1", port, options.name)
            RunView(run, client).update()
            page = browser.new_page(viewport={"width": 1366, "height": HEIGHT})
            open_dashboard(page, client.url, 6)
            save(page.screenshot(), options.out / "dashboard.png")
        finally:
            process.terminate()
            process.wait()
        page = browser.new_page(viewport={"width": 1280, "height": HEIGHT})
        page.goto((options.gallery or run / "web" / "index.html").absolute().as_uri())
        if options.gallery is None:
            page.locator(".images").evaluate("section => section.scrollIntoView()")
        page.wait_for_function("[...document.querySelectorAll('.row img')].some(image => image.complete)")
        page.wait_for_timeout(1000)
        save(page.screenshot(), options.out / "gallery.png")
    return 0


if __name__ == "__main__":
    run_command(main)
