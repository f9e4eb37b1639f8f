"""Pictures laid out in one."""

from __future__ import annotations

import pytest
from PIL import Image, ImageFont

from util.pages import sheet as sheets
from util.pages.sheet import GAP, LINE, label, lacks, sheet


def picture(colour: str, width: int = 40, height: int = 30) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def test_rows_stand_below_each_other_and_columns_are_as_wide_as_need_be() -> None:
    rows = [("", [picture("red"), picture("lime", 90)]), ("a row", [None, picture("blue", 10, 70)])]
    made = sheet(rows)
    assert made.size == (40 + 90 + 3 * GAP, 30 + GAP + LINE + 70 + GAP)
    second = 40 + 2 * GAP
    assert made.getpixel((GAP, 0)) == (255, 0, 0) and made.getpixel((second + 89, 29)) == (0, 255, 0)
    assert made.getpixel((second + 9, 30 + GAP + LINE + 69)) == (0, 0, 255)
    assert made.getpixel((GAP + 20, made.height - 20)) == (255, 255, 255), "nothing stands there"


def test_labels_of_columns_have_the_room_that_they_need() -> None:
    made = sheet([("", [picture("red", 9, 9)] * 2)], ["a long label of a column", "b"])
    assert made.width > 120 and made.height == LINE + 9 + GAP
    assert min(made.convert("L").crop((0, 0, made.width, LINE)).tobytes()) < 100


def test_labels_are_drawn_with_characters_that_the_font_has(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, font = label("train  1_a", 13)
    assert plain == "train  1_a" and not lacks(font, plain)
    monkeypatch.setattr(sheets, "_font_files", list)
    sheets._font_for.cache_clear()
    for name, spelling in (("\u4e2d 1", "\\u4e2d 1"), ("e\u0301t\u00e9", "ete"), ("a\udcff", "a\\udcff")):
        shown, font = label(name, 13)
        assert not lacks(font, shown)
        assert shown in (spelling, "\u00e9t\u00e9"), "Pillow's own font may come to have accents"
    sheets._font_for.cache_clear()


def test_a_font_that_has_all_characters_is_preferred() -> None:
    files = [file for file in sheets._font_files() if file.name == "DejaVuSans.ttf"]
    if not files:
        pytest.skip("DejaVu Sans is not installed")
    if not lacks(ImageFont.load_default(13), "\u00e9\u03c9"):
        pytest.skip("Pillow's own font has these characters")
    shown, font = label("\u00e9t\u00e9 \u03c9", 13)
    assert shown == "\u00e9t\u00e9 \u03c9" and not lacks(font, shown)
