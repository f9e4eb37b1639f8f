"""The run's sample images for the dashboard: one picture for each validation, its columns named."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from util.training.previews import Previews
from util.visdom.client import Window
from util.visdom.plots import WIDTH

TILE = 240  # width of an image, in pixels; its height follows
GAP, HEAD, FOOT = 6, 34, 40  # visdom's slider lies over the foot
PAPER, INK, PALE = "#ffffff", "#343a40", "#868e96"
BESIDE = 8  # images beside each other, at most, where scenes stand two in a row
KEPT = 16  # pictures under the slider
QUALITY = 88
PANE = 3 * WIDTH + 20  # as wide as three plots


def _tile(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image = image.convert("RGB")
    height = max(1, round(image.height * TILE / image.width))
    return image.resize((TILE, height), Image.Resampling.BICUBIC)


def sheet(scenes: Sequence[Mapping[str, Path]], heading: str = "") -> Image.Image:
    """Scenes below each other, or two in a row, label -> file each; the labels stand above the columns, the heading
    at the right. Aspects are kept."""
    labels = list(dict.fromkeys(label for scene in scenes for label in scene))
    in_row = 2 if len(scenes) > 1 and 2 * len(labels) <= BESIDE else 1
    rows = [scenes[i : i + in_row] for i in range(0, len(scenes), in_row)]
    tiles = [[{label: _tile(path) for label, path in scene.items()} for scene in row] for row in rows]
    heights = [max(tile.height for scene in row for tile in scene.values()) for row in tiles]
    group = len(labels) * (TILE + GAP) + GAP
    picture = Image.new("RGB", (in_row * group, HEAD + sum(heights) + GAP * len(rows) + FOOT), PAPER)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(22)
    for place in range(in_row):
        for column, label in enumerate(labels):
            left, top = place * group + GAP + column * (TILE + GAP), HEAD
            draw.text((left, 4), label, INK, font)
            for row, height in zip(tiles, heights, strict=True):
                if place < len(row) and label in row[place]:
                    picture.paste(row[place][label], (left, top))
                top += height + GAP
    draw.text((picture.width - GAP, 4), heading, PALE, font, anchor="ra")
    return picture


def _nothing() -> Image.Image:
    """Keeps the place of the pictures to come."""
    picture = Image.new("RGB", (PANE, 300), PAPER)
    text = "The first images come with the first validation."
    ImageDraw.Draw(picture).text((GAP, 4), text, PALE, ImageFont.load_default(16))
    return picture


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
            found = self.previews.by_epoch()
            for epoch in set(chosen) - self._items.keys():
                if epoch in found:
                    self._items[epoch] = _item(sheet(list(found[epoch].values()), f"epoch {epoch}"))
        shown = [self._items[epoch] for epoch in chosen if epoch in self._items] or [_item(_nothing())]
        width, height = shown[-1][0]
        fitting = min(PANE, width)
        return Window("samples", "Samples", fitting, round(height * fitting / width) + 4, [i for _, i in shown])


def _item(picture: Image.Image) -> tuple[tuple[int, int], dict[str, Any]]:
    memory = io.BytesIO()
    picture.save(memory, "JPEG", quality=QUALITY)
    source = "data:image/jpeg;base64," + base64.b64encode(memory.getvalue()).decode()
    return picture.size, {"type": "image_history", "content": {"src": source}}
