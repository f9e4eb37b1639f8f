"""The run's sample images for the dashboard: one picture for each validation."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from util.pages.previews import Previews, is_png
from util.pages.sheet import sheet
from util.visdom.client import Window
from util.visdom.plots import WIDTH

FOOT = 40  # visdom's slider lies over it
KEPT = 16  # pictures under the slider
QUALITY = 88
PANE, TALLEST = 3 * WIDTH + 20, 1000  # as wide as three plots


def _nothing() -> Image.Image:
    """Keeps the place of the pictures to come."""
    return sheet([("The first images come with the first validation.", [Image.new("RGB", (PANE, 300), "white")])])


def _chosen(epochs: Sequence[int], count: int) -> list[int]:
    """At most about `count` of them, evenly spread; the newest always. Grows at its end while there are few."""
    every = 1
    while len(epochs) // every >= count:
        every *= 2
    return [*epochs[:-1:every], *epochs[-1:]]


class Samples:
    """The pictures of a run's validations; each is made once."""

    def __init__(self, folder: Path) -> None:
        self.previews = Previews(folder / "web")
        self._items: dict[int, tuple[tuple[int, int], dict[str, Any]]] = {}

    def window(self, scores: Sequence[Mapping[str, Any]]) -> Window:
        """The pane with its slider, of the validations recorded so far."""
        epochs = sorted({record["epoch"] for record in scores})
        if self._items.keys() - set(epochs):  # the run has gone back
            self._items.clear()
        chosen = _chosen(epochs, KEPT)
        if set(chosen) - self._items.keys():
            for epoch in set(chosen) - self._items.keys():
                path = self.previews.grid(epoch)
                if is_png(path):
                    with Image.open(path) as picture:
                        self._items[epoch] = _item(ImageOps.contain(picture, (PANE, TALLEST)))
        shown = [self._items[epoch] for epoch in chosen if epoch in self._items] or [_item(_nothing())]
        width, height = shown[-1][0]
        fitting = min(PANE, width)
        return Window("samples", "Samples", fitting, round(height * fitting / width) + 4, [i for _, i in shown])


def _item(picture: Image.Image) -> tuple[tuple[int, int], dict[str, Any]]:
    """Return the size of a picture with a foot, and what visdom is sent of it."""
    picture = ImageOps.expand(picture, (0, 0, 0, FOOT), "white")
    memory = io.BytesIO()
    picture.save(memory, "JPEG", quality=QUALITY)
    source = "data:image/jpeg;base64," + base64.b64encode(memory.getvalue()).decode()
    return picture.size, {"type": "image_history", "content": {"src": source}}
