"""Pictures that benchmarks work on: rendered streets, 640x512, and folders that hold a few pictures many times."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data.images import write_image
from data.sample import Pair, render

SCENES = 8  # at most; more would only take longer to render
SEED = 910_000  # of the first, far from those of a sample data set


def streets(count: int) -> list[Pair]:
    """count scenes, or SCENES if those are fewer, each as both cameras see it: uint8 [512, 640, 3] and [512, 640]."""
    return [render(SEED + number) for number in range(min(count, SCENES))]


def write_files(folder: Path, pictures: Iterable[np.ndarray], count: int, suffix: str) -> None:
    """count image files, 00000.png and so on for the suffix .png, of the pictures again and again.

    A repeated picture is a hard link: files of their own would only take longer to write."""
    written: list[Path] = []
    for number, picture in zip(range(count), pictures, strict=False):
        written.append(folder / f"{number:05d}{suffix}")
        write_image(written[-1], picture)
    for number in range(len(written), count):
        os.link(written[number % len(written)], folder / f"{number:05d}{suffix}")
