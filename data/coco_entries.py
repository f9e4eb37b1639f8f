"""One check of what a COCO file says: entries have the kinds and limits that all else relies on, or one line tells
which has not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

FARTHEST = 1e7  # pixels: no image has a side, and no box an end, beyond
LARGEST = 2**28  # pixels of an image whose mask is run-length encoded
Entry = dict[str, Any]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def number(value: Any, where: str, low: float = -FARTHEST, high: float = FARTHEST) -> float:
    """A number in [low, high], which text may spell."""
    found = value
    if isinstance(value, str):
        try:
            found = float(value)
        except ValueError:
            found = None
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise ValueError(f"{where} is {_shown(value)}: give a number")
    if not low <= found <= high:
        raise ValueError(f"{where} is {_shown(value)}: give a number from {low:g} to {high:g}")
    return found


def whole(value: Any, where: str, low: float = -(2**63), high: float = 2**63) -> int:
    """A whole number, which text may spell."""
    if isinstance(value, str) and value.removeprefix("-").isdecimal():
        value = int(value) if len(value) < 20 else None
    found = number(value, where, low, high)
    if found != int(found):
        raise ValueError(f"{where} is {_shown(value)}: give a whole number")
    return int(found)


def text(value: Any, where: str) -> str:
    """Text that a file can hold and a name can have."""
    name = str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""
    if not name.strip() or "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        raise ValueError(f"{where} is {_shown(value)}: give a name")
    return name


def entries(content: Entry, key: str, where: str) -> list[tuple[str, Entry]]:
    """(how to call it, entry) of a list of objects."""
    found = content.get(key)
    if not isinstance(found, list):
        raise ValueError(f"{where}: has no list of {key}: it is no file of labels, or a damaged one: write it anew")
    named = []
    for place, entry in enumerate(found):
        name = f"{where}: {key}[{place}]"
        if not isinstance(entry, dict):
            raise ValueError(f"{name} is {_shown(entry)}: give an object")
        named.append((f"{name} (id {_shown(entry['id'])})" if "id" in entry else name, entry))
    return named


def _field(entry: Entry, key: str, name: str) -> Any:
    if key not in entry:
        raise ValueError(f"{name} lacks {key!r}: it is not a COCO file of boxes")
    return entry[key]


def _once(values: Sequence[Any], where: str, what: str) -> None:
    twice = next((value for value, count in Counter(values).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"{where}: two {what} {twice}: give each its own")


def read_images(content: Entry, where: str) -> list[Entry]:
    """The entries of images: whole ids and paths with / that no two share; width and height, where they stand there."""
    found = []
    for name, image in entries(content, "images", where):
        path = text(_field(image, "file_name", name), f"{name}: file_name").replace("\\", "/")
        sides = {
            side: whole(image[side], f"{name}: {side}", 0, FARTHEST)
            for side in ("width", "height")
            if image.get(side) is not None
        }
        number_of = whole(_field(image, "id", name), f"{name}: id")
        found.append(image | {"id": number_of, "file_name": str(PurePosixPath(path))} | sides)
    _once([image["id"] for image in found], where, "images have the id")
    _once([image["file_name"] for image in found], where, "images are called")
    return found


def read_categories(content: Entry, where: str) -> dict[int, str]:
    """Name of each category by its id."""
    found = [
        (whole(_field(entry, "id", name), f"{name}: id"), text(_field(entry, "name", name), f"{name}: name"))
        for name, entry in entries(content, "categories", where)
    ]
    _once([key for key, _ in found], where, "categories have the id")
    return dict(found)


def read_annotations(
    content: Entry, where: str, images: Sequence[Entry], categories: dict[int, str], complete: bool
) -> dict[int, list[Entry]]:
    """Image id -> its annotations: whole ids of known images and categories, a box of four numbers, area and iscrowd (0
    or 1) whether or not they stand there, outlines as of `outlines`.

    complete: whether each needs an id of its own, an image, and an outline, if any, that can be read; else those
    without an image are left out, as are such outlines."""
    found: dict[int, list[Entry]] = {image["id"]: [] for image in images}
    numbers = []
    for name, note in entries(content, "annotations", where):
        image = whole(_field(note, "image_id", name), f"{name}: image_id")
        kind = whole(_field(note, "category_id", name), f"{name}: category_id")
        if image not in found:
            if complete:
                raise ValueError(f"{name} belongs to no image of the file: there is none with the id {image}")
            continue
        if kind not in categories:
            raise ValueError(f"{name} has category {kind}, not listed")
        sides = box(_field(note, "bbox", name), name)
        area, crowd = note.get("area"), note.get("iscrowd") or 0
        changed: Entry = {"image_id": image, "category_id": kind, "bbox": sides}
        changed["area"] = sides[2] * sides[3] if area is None else number(area, f"{name}: area", 0, FARTHEST**2)
        changed["iscrowd"] = int(crowd is True) or whole(crowd, f"{name}: iscrowd", 0, 1)
        if complete:
            numbers.append(whole(_field(note, "id", name), f"{name}: id"))
            changed["id"] = numbers[-1]
        if "segmentation" in note:
            changed["segmentation"] = _segmentation(note["segmentation"], name, complete)
        found[image].append(note | changed)
    _once(numbers, where, "annotations have the id")
    _refuse_shares(found, where)
    return found


def box(value: Any, name: str) -> list[float]:
    """Left, top, width, height, pixels."""
    if not isinstance(value, list) or len(value) != 4:
        what = f"of {len(value)} numbers" if isinstance(value, list) else _shown(value)
        raise ValueError(f"{name} has a box {what}: give left, top, width, height")
    lows = (-FARTHEST, -FARTHEST, 0, 0)
    return [number(item, f"{name}: bbox[{k}]", low) for k, (item, low) in enumerate(zip(value, lows, strict=True))]


def _refuse_shares(annotations: dict[int, list[Entry]], where: str) -> None:
    """ValueError where all boxes are shares of their image, not pixels."""
    ends = [max(note["bbox"]) for notes in annotations.values() for note in notes]
    if ends and 0 < max(ends) <= 1:
        raise ValueError(f"{where}: every box lies between 0 and 1: give boxes in pixels, not shares of the image")


def _segmentation(value: Any, name: str, complete: bool) -> list[list[float]] | Entry:
    try:
        return outlines(value, f"{name}: segmentation")
    except ValueError:
        if complete:
            raise
        return []


def outlines(value: Any, where: str) -> list[list[float]] | Entry:
    """Polygons of at least three points, each (x0, y0, x1, y1, ...), or {"size": [height, width], "counts": lengths of
    the runs of 0 and 1 in turn, down the columns}, which may have been written as text."""
    if value is None:
        return []
    if isinstance(value, dict):
        return _runs(value, where)
    if not isinstance(value, list):
        raise ValueError(f"{where} is {_shown(value)}: give polygons or run lengths")
    found = []
    for polygon in value if all(isinstance(item, list) for item in value) else [value]:
        if len(polygon) % 2:
            raise ValueError(f"{where} has an outline of {len(polygon)} numbers: give points x, y")
        points = [number(item, where) for item in polygon]
        found += [points] if len(points) >= 6 else []  # less than three points enclose nothing
    return found


def _runs(value: Entry, where: str) -> Entry:
    size, counts = value.get("size"), value.get("counts")
    if not isinstance(size, list) or len(size) != 2:
        raise ValueError(f"{where}.size is {_shown(size)}: give height and width")
    height, width = (whole(side, f"{where}.size", 1, FARTHEST) for side in size)
    if isinstance(counts, str):
        runs = _unpacked(counts)
    elif isinstance(counts, list):
        runs = [whole(run, f"{where}.counts", 0, LARGEST) for run in counts]
    else:
        runs = []
    if min(runs, default=-1) < 0 or sum(runs) != height * width or sum(runs) > LARGEST:
        raise ValueError(f"{where}.counts is damaged: its runs do not make {height} x {width} pixels")
    return {"size": [height, width], "counts": runs}


def _unpacked(counts: str) -> list[int]:
    """Run lengths that pycocotools has written as text: five bits a character, low ones first; from the fourth on the
    difference to the run before the last. [] where the text is none of that."""
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            return []
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) // 16 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return [] if shift else runs
