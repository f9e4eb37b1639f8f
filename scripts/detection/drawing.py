"""Boxes drawn on images: what is there, or what a detector found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.detection import Labelled
from data.images import write_image
from util.files import short
from util.metrics.detection import Boxes

COLOURS = ((255, 140, 40), (70, 190, 255), (130, 220, 90), (240, 110, 200), (250, 220, 70), (170, 140, 255))
IGNORED = (150, 150, 150)
SHOWN_SCORE = 0.3  # detections below are not drawn


def draw_boxes(folder: Path, classes: Sequence[str], data: Labelled, k: int, boxes: Boxes, name: str) -> Path:
    """Write the k-th image of a data set with boxes, at twice the detector's size; returns the file in the folder.

    Drawn are detections of a score of at least SHOWN_SCORE, or the truth (ignored boxes in grey). Each class has its
    colour, named in the upper left corner; scores stand over their boxes where there is room."""
    height, width = data.images.shape[-2:]
    across, down = 2 * width / data.sizes[k][1], 2 * height / data.sizes[k][0]
    image = Image.fromarray(data.images[k, 0].numpy()).resize((2 * width, 2 * height), Image.Resampling.NEAREST)
    image = image.convert("RGB")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    edge: dict[str, Any] = {"stroke_width": 1, "stroke_fill": (0, 0, 0)}
    x = 6
    for number, kind in enumerate(classes):
        draw.text((x, 4), kind, fill=COLOURS[number % len(COLOURS)], font=font, **edge)
        x += int(font.getlength(kind)) + 12
    of_truth, written = boxes.what.dtype == bool, [(0.0, 0.0, float(x), 20.0)]
    moved = boxes.boxes * [across, down, across, down]
    for corners, label, what in zip(moved, boxes.labels, boxes.what, strict=True):
        if not of_truth and what < SHOWN_SCORE:
            continue
        colour = IGNORED if of_truth and what else COLOURS[int(label) % len(COLOURS)]
        left, top, right, bottom = (float(number) for number in corners)
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=2)
        place = (left, top - 16, left + 28, top)
        if not of_truth and not any(_overlap(place, other) for other in written):
            draw.text(place[:2], f"{what:.2f}", fill=colour, font=font, **edge)
            written.append(place)
    path = folder / f"{k:05d}_{short(data.names[k])}-{''.join(c if c.isalnum() else '_' for c in name)}.png"
    write_image(path, np.asarray(image))
    return path


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
