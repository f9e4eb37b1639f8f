"""Pictures laid out in one."""

from __future__ import annotations

from PIL import Image

from util.pages.sheet import GAP, LINE, sheet


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
