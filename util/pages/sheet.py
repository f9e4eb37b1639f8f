"""Pictures laid out in one: rows below each other, columns under their labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, zip_longest

from PIL import Image, ImageDraw

from util.pages.label_font import label

GAP, LINE, LETTERS = 6, 24, 15  # pixels: between pictures, of a line of text, of its letters
INK = "#343a40"


def sheet(rows: Sequence[tuple[str, Sequence[Image.Image | None]]], columns: Sequence[str] = ()) -> Image.Image:
    """Return one picture of rows, (its label or "", its pictures) each, which stand in columns as wide as need be.

    columns: their labels, if any. None leaves a gap; a row has at least one picture."""
    heads = [label(text, LETTERS) for text in columns]
    in_columns = zip_longest(*(pictures for _, pictures in rows))
    widths = [max((picture.width for picture in column if picture), default=0) for column in in_columns]
    for k, (text, font) in enumerate(heads):
        widths[k] = max(widths[k], round(font.getlength(text)))
    lefts = list(accumulate((width + GAP for width in widths), initial=GAP))
    tall = [LINE * bool(text) + max(p.height for p in pictures if p) + GAP for text, pictures in rows]
    top = LINE * bool(columns)
    paper = Image.new("RGB", (lefts[-1], top + sum(tall)), "white")
    draw = ImageDraw.Draw(paper)
    for left, (text, font) in zip(lefts, heads, strict=False):
        draw.text((left, 2), text, INK, font)
    for (text, pictures), height in zip(rows, tall, strict=True):
        shown, font = label(text, LETTERS)
        draw.text((GAP, top + 2), shown, INK, font)
        for left, picture in zip(lefts, pictures, strict=False):
            if picture:
                paper.paste(picture, (left, top + LINE * bool(text)))
        top += height
    return paper
