"""Pictures of detections for a page: boxes drawn on images, and bars of precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from dominate import svg, tags
from PIL import Image, ImageDraw, ImageFont

from util.metrics.detection import Boxes

COLOURS = ((255, 140, 40), (70, 190, 255), (130, 220, 90), (240, 110, 200), (250, 220, 70), (170, 140, 255))
IGNORED = (150, 150, 150)
SHOWN_SCORE = 0.3  # detections below are not drawn
BAR = 14  # height of a bar, SVG units


def draw_boxes(grey: np.ndarray, boxes: Boxes, classes: Sequence[str]) -> Image.Image:
    """uint8 [H, W] with boxes drawn: detections of a score of at least SHOWN_SCORE, or the truth (ignored boxes in
    grey). Each class has its colour, named in the upper left corner; scores stand over their boxes where there is
    room."""
    image = Image.fromarray(grey).convert("RGB")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    edge = {"stroke_width": 1, "stroke_fill": (0, 0, 0)}
    x = 6
    for number, name in enumerate(classes):
        draw.text((x, 4), name, fill=COLOURS[number % len(COLOURS)], font=font, **edge)
        x += int(font.getlength(name)) + 12
    of_truth, written = boxes.what.dtype == bool, [(0, 0, x, 20)]
    for corners, label, what in zip(boxes.boxes, boxes.labels, boxes.what, strict=True):
        if not of_truth and what < SHOWN_SCORE:
            continue
        colour = IGNORED if of_truth and what else COLOURS[int(label) % len(COLOURS)]
        left, top, right, bottom = (float(number) for number in corners)
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=2)
        place = (left, top - 16, left + 28, top)
        if not of_truth and not any(_overlap(place, other) for other in written):
            draw.text(place[:2], f"{what:.2f}", fill=colour, font=font, **edge)
            written.append(place)
    return image


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def bars_panel(
    title: str, rows: Mapping[str, Sequence[tuple[float, float]]], labels: Sequence[str], note: str = ""
) -> tags.html_tag:
    """Panel with a group of horizontal bars for each row: for each label (mean, standard deviation), in [0, 1]; nan
    draws none. Values are written behind the bars, deviations are drawn as whiskers."""
    left = 16 + round(6.4 * max(len(name) for name in rows))
    width, right, top, group = max(480, left + 320), 96, 6, BAR * len(labels) + 12
    foot = top + group * len(rows)
    most = max((m + s for values in rows.values() for m, s in values if m == m), default=0.0)
    limit = next((step for step in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8) if most <= step), 1.0)
    about = "; ".join(f"{name}: {labels[0]} {values[0][0]:.3f}" for name, values in rows.items())
    plot = svg.svg(viewBox=f"0 0 {width} {foot + 26}", role="img", aria_label=about)

    def across(value: float) -> float:
        return round(left + (width - left - right) * value / limit, 1)

    for k in range(5):
        x = across(limit * k / 4)
        plot.add(svg.line(cls="grid", x1=x, x2=x, y1=top, y2=foot))
        plot.add(svg.text(f"{limit * k / 4:.3g}", cls="tick middle", x=x, y=foot + 18))
    for row, (name, values) in enumerate(rows.items()):
        start = top + row * group + 6
        plot.add(svg.text(name, cls="tick end", x=left - 8, y=start + BAR * len(labels) / 2 + 4))
        for k, (mean, deviation) in enumerate(values):
            if mean != mean:
                continue
            y, end = start + BAR * (k + 0.5), mean + deviation
            line = f"M{left},{y}H{max(left + 1.0, across(mean))}"
            plot.add(svg.path(cls=f"series s{k}", d=line, style=f"stroke-width:{BAR - 3};stroke-linecap:butt"))
            if deviation > 0:
                plot.add(svg.path(cls="axis", d=f"M{across(max(0.0, mean - deviation))},{y}H{across(end)}"))
            text = f"{mean:.3f}" + (f" ± {deviation:.3f}" if deviation > 0 else "")
            plot.add(svg.text(text, cls="tick", x=across(end) + 6, y=y + 4))
    legend = tags.ul(cls="legend")
    for k, label in enumerate(labels):
        line = svg.path(cls=f"series s{k}", d="M2,6 26,6")
        legend.add(tags.li(svg.svg(line, viewBox="0 0 28 12", cls="swatch", aria_hidden="true"), label))
    panel = tags.section(tags.h3(title), plot, legend, cls="panel curve")
    if note:
        panel.add(tags.p(note, cls="note"))
    return panel


def save(image: Image.Image, path: Path) -> Path:
    """Write a PNG, making its folder; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, compress_level=3)
    return path
