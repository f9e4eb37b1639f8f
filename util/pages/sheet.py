"""Pictures laid out in one: rows below each other, columns under their labels. Labels are written in a font of this
machine that has their characters, else those that it lacks are spelt otherwise."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, zip_longest
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

GAP, LINE, LETTERS = 6, 24, 15  # pixels: between pictures, of a line of text, of its letters
INK = "#343a40"
FOLDERS = (
    "/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts",  # Linux
    "/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts", "C:/Windows/Fonts",
)  # fmt: skip
SUFFIXES = (".ttf", ".otf", ".ttc")
UNUSUAL = ("bold", "italic", "oblique", "mono", "serif", "light", "thin", "condensed", "black", "math", "emoji")
NO_CHARACTER = "\U0010ffff"  # drawn as what a font draws for all that it lacks

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=1)
def _font_files() -> list[Path]:
    """Every font of the machine, plain ones first."""
    found = [
        Path(folder) / name
        for top in FOLDERS
        for folder, _, names in os.walk(Path(top).expanduser())
        for name in names
        if name.lower().endswith(SUFFIXES)
    ]
    return sorted(found, key=lambda file: (sum(word in file.stem.lower() for word in UNUSUAL), file))


@lru_cache(maxsize=4096)
def _has(font: Font, character: str) -> bool:
    if character.isspace():
        return True
    try:
        drawn, none = (font.getmask(text) for text in (character, NO_CHARACTER))
    except UnicodeEncodeError:  # Pillow's small bitmap font has Latin-1 only, and no font has half a surrogate pair
        return not isinstance(font, ImageFont.FreeTypeFont) and ord(character) < 256
    return drawn.getbbox() is not None and (drawn.size, bytes(drawn)) != (none.size, bytes(none))


def lacks(font: Font, text: str) -> set[str]:
    """Characters of the text that the font has no picture of."""
    return {character for character in text if not _has(font, character)}


@lru_cache(maxsize=256)
def _font_for(characters: frozenset[str], size: int) -> Font:
    """The font that has most of the characters, Pillow's own if it has all."""
    best = ImageFont.load_default(size)
    least = len(lacks(best, "".join(characters)))
    for file in _font_files():
        if not least:
            break
        try:
            font = ImageFont.truetype(str(file), size)
        except OSError:  # no font that Pillow can read
            continue
        missing = len(lacks(font, "".join(characters)))
        if missing < least:
            best, least = font, missing
    return best


def spelt(character: str) -> str:
    """A character in ASCII: without its accents, else as an escape such as \\u4e2d."""
    bare = "".join(part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part))
    return (bare if bare.isascii() and bare else character).encode("ascii", "backslashreplace").decode()


def label(text: str, size: int) -> tuple[str, Font]:
    """Text as it can be drawn, and the font to draw it with, of a size in pixels."""
    text = unicodedata.normalize("NFC", text)
    font = _font_for(frozenset(text), size)
    missing = lacks(font, text)
    return "".join(spelt(character) if character in missing else character for character in text), font


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
