"""Sample images of a training run: written as PNG while it goes on, listed again for its gallery."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torchvision.utils import save_image

from util.files import beside, short
from util.pages.sheet import sheet

PNG_HEAD, PNG_FOOT = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"IEND\xaeB\x60\x82"
NAME = re.compile(r"epoch_(\d+)-(.+)-([a-z]+)\.png")
ORDER = ("visible", "generated", "infrared", "mask", "fused", "cycled")  # of columns, from left to right


def _unit(images: torch.Tensor) -> torch.Tensor:
    """[N, 1 or 3, H, W] in [-1, 1] -> [N, 3, H, W] in [0, 1] on the host."""
    images = (images.float().clamp(-1, 1) + 1) / 2
    return images.expand(-1, 3, -1, -1).cpu()


def is_png(path: Path) -> bool:
    """Whether a file begins and ends as a PNG does: one cut short would end each later page."""
    try:
        with path.open("rb") as file:
            begins = file.read(len(PNG_HEAD)) == PNG_HEAD
            file.seek(-len(PNG_FOOT), os.SEEK_END)
            return begins and file.read() == PNG_FOOT
    except OSError:
        return False


class Previews:
    """Images of a few scenes, epoch after epoch, in a folder `images` beside a gallery page."""

    def __init__(self, web: Path) -> None:
        self.folder = web / "images"
        self.grids = web / "grids"

    def write(self, epoch: int, samples: Sequence[tuple[str, Mapping[str, torch.Tensor]]]) -> None:
        """Write samples, (stem, label -> [1, C, H, W] in [-1, 1]) for each scene, and one grid of all of them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.grids.mkdir(parents=True, exist_ok=True)
        rows = []
        for stem, images in samples:
            pictures = []
            for label, image in images.items():
                path = self.folder / f"epoch_{epoch:04d}-{short(stem)}-{label}.png"
                with beside(path) as part:
                    save_image(_unit(image), part, format="png")
                pictures.append(Image.open(path))
            rows.append((f"epoch {epoch}, {stem}", pictures))
        if rows:
            with beside(self.grid(epoch)) as part:
                sheet(rows, list(samples[0][1])).save(part, format="png")

    def grid(self, epoch: int) -> Path:
        """Return the file of an epoch's grid."""
        return self.grids / f"epoch_{epoch:04d}.png"

    def by_epoch(self) -> dict[int, dict[str, dict[str, Path]]]:
        """epoch -> stem -> label -> file of everything written so far that is an image."""
        named = ((NAME.fullmatch(path.name), path) for path in self.folder.glob("epoch_*.png"))
        matches = [(match, path) for match, path in named if match and is_png(path)]

        def place(item: tuple[re.Match, Path]) -> tuple[int, str, int, str]:
            label = item[0][3]
            return int(item[0][1]), item[0][2], ORDER.index(label) if label in ORDER else len(ORDER), label

        found: dict[int, dict[str, dict[str, Path]]] = {}
        for match, path in sorted(matches, key=place):
            found.setdefault(int(match[1]), {}).setdefault(match[2], {})[match[3]] = path
        return found

    def rows(self, newest: int = 500) -> list[tuple[str, dict[str, Path]]]:
        """(name, label -> file) of every scene and epoch written so far, the newest epoch first."""
        found = self.by_epoch()
        rows = [
            (f"epoch {epoch}, {stem}", files)
            for epoch in sorted(found, reverse=True)
            for stem, files in found[epoch].items()
        ]
        return rows[:newest]
