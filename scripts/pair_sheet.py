"""A contact sheet of a data set: rows of visible, infrared and, of a pair, infrared edges over visible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from PIL import Image
from scipy import ndimage

from data.images import ImageError, Source, ThermalRange, read_infrared, read_visible
from data.layouts import Listing, Split
from util.pages.sheet import sheet

CELL = (320, 256)  # width, height of one picture of the sheet
EDGE_SHARE = 6  # per cent of the infrared pixels drawn as edges
EDGE_COLOUR = (255, 96, 0)
MOST_FAILURES = 100  # rows that cannot be drawn; a data set with more is not looked through for others


@dataclass(frozen=True)
class SheetRow:
    """What one row of the sheet shows."""

    label: str
    visible: Source | None
    infrared: Source | None
    paired: bool


@dataclass
class Sheet:
    """The rows that could be drawn, each its label and its pictures, and why others could not."""

    rows: list[tuple[str, list[Image.Image | None]]] = field(default_factory=list)
    unpaired: int = 0  # of the rows
    failures: list[ImageError] = field(default_factory=list)

    @property
    def picture(self) -> np.ndarray:
        """uint8 [H, W, 3] of all rows, of which there must be one."""
        return np.asarray(sheet(self.rows))


def edges(infrared: np.ndarray) -> np.ndarray:
    """bool [H, W]: the strongest edges of uint8 [H, W], smoothed by a pixel against noise."""
    strength = ndimage.gaussian_gradient_magnitude(infrared.astype(np.float32), 1)
    return strength >= max(float(np.percentile(strength, 100 - EDGE_SHARE)), 1.0)


def overlay(visible: np.ndarray, infrared: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3]: edges of infrared [H, W] in orange over the grey of visible [H, W, 3]."""
    grey = np.array(Image.fromarray(visible).convert("L"))
    picture = np.repeat(grey[:, :, None], 3, axis=2)
    picture[edges(infrared)] = EDGE_COLOUR
    return picture


def fit(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 or uint16 [H, W] or [H, W, 3] as uint8 at (width, height)."""
    if array.dtype == np.uint16:
        array = (array // 257).astype(np.uint8)
    return np.array(Image.fromarray(array).resize(size, Image.Resampling.LANCZOS))


def _size_in_cell(array: np.ndarray) -> tuple[int, int]:
    height, width = array.shape[:2]
    scale = min(CELL[0] / width, CELL[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def row_pictures(row: SheetRow, thermal: ThermalRange) -> list[Image.Image | None]:
    """Return the pictures of a row: visible, infrared (None where it has none) and, of a pair, the overlay; those of a
    pair have one size. ImageError if unreadable."""
    infrared = read_infrared(row.infrared, thermal) if row.infrared else None
    visible = read_visible(row.visible) if row.visible else None
    if row.paired:
        visible, infrared = (fit(array, _size_in_cell(infrared)) for array in (visible, infrared))
        arrays = [visible, infrared, overlay(visible, infrared)]
    else:
        arrays = [None if array is None else fit(array, _size_in_cell(array)) for array in (visible, infrared)]
    return [None if array is None else Image.fromarray(array) for array in arrays]


def split_rows(name: str, split: Split) -> list[SheetRow]:
    """A split's pairs; where it has none, its images side by side, which are no pairs."""
    if split.pairs:
        return [SheetRow(f"{name}  {pair.stem}", pair.visible, pair.infrared, True) for pair in split.pairs]
    sides, rows = (split.visible, split.infrared), []
    longer = max(map(len, sides))
    for i in range(longer):
        seen, warm = (side[i * len(side) // longer] if side else None for side in sides)
        stems = "  |  ".join(source.stem if source else "none" for source in (seen, warm))
        rows.append(SheetRow(f"{name}, not paired  {stems}", seen, warm, False))
    return rows


def shares(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """How many of `count` rows each split gets: equally many, those of small splits going to the others."""
    given = dict.fromkeys(sizes, 0)
    for _ in range(min(count, sum(sizes.values()))):
        open_ones = [name for name in sizes if given[name] < sizes[name]]
        given[min(open_ones, key=given.__getitem__)] += 1
    return given


def _candidates(count: int, length: int) -> Iterator[Iterator[int]]:
    """For each of `count` rows out of `length`, the places to try: evenly spread ones, then what follows each."""
    for place in (round(place) for place in np.linspace(0, length - 1, count)):
        yield chain(range(place, length), range(place - 1, -1, -1))


def _draw_split(drawn: Sheet, rows: list[SheetRow], count: int, thermal: ThermalRange) -> None:
    made: dict[int, list[Image.Image | None]] = {}
    tried: set[int] = set()
    for places in _candidates(count, len(rows)):
        for place in places:
            if len(drawn.failures) >= MOST_FAILURES:
                break
            if place in tried:
                continue
            tried.add(place)
            try:
                made[place] = row_pictures(rows[place], thermal)
                break
            except ImageError as error:
                drawn.failures.append(error)
    drawn.rows += [(rows[place].label, made[place]) for place in sorted(made)]
    drawn.unpaired += sum(not rows[place].paired for place in made)


def draw_sheet(listing: Listing, count: int, thermal: ThermalRange) -> Sheet:
    """At most `count` rows, of every split where there is room, evenly spread within each; for a row that cannot be
    drawn the next that can."""
    rows = {name: split_rows(name, split) for name, split in listing.splits.items()}
    drawn = Sheet()
    for name, share in shares({name: len(found) for name, found in rows.items()}, count).items():
        _draw_split(drawn, rows[name], share, thermal)
    return drawn
