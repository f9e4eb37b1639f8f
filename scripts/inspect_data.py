"""Look at a data set before training: what is paired, what is skipped and why, and whether the pairs align.

python -m scripts.inspect_data --dataroot datasets/FLIR_ADAS_v2 --out pairs.png
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from data.first_use import ensure_sample
from data.images import ImageError, Source, ThermalRange, pixel_size, read_infrared, read_visible, write_image
from data.layouts import Listing, Split, find
from data.layouts.listing import group_reasons
from options.cli import parse, run_command
from options.data import DataOptions

CELL = (320, 256)  # width, height of one picture of the sheet
LABEL = 16
MARGIN = 4
EDGE_SHARE = 6  # per cent of the infrared pixels drawn as edges
EDGE_COLOUR = (255, 96, 0)


@dataclass(frozen=True)
class InspectOptions(DataOptions):
    """Inspect: report on a data set and draw some of its pairs."""

    out: Path | None = None
    """Contact sheet to write, such as pairs.png: visible, infrared, and infrared edges over visible."""
    count: int = 8
    """Rows of the sheet, taken evenly over all splits."""
    verify: bool = False
    """Decode every image, to find damage that headers do not show."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count < 1:
            raise ValueError(f"--count is {self.count}: give 1 or more rows")


@dataclass(frozen=True)
class Row:
    """What one row of the sheet shows."""

    label: str
    visible: Source | None
    infrared: Source | None
    paired: bool


def edges(infrared: np.ndarray) -> np.ndarray:
    """bool [H, W]: the strongest edges of uint8 [H, W], after a 3x3 mean against noise."""
    grey = np.pad(infrared.astype(np.float32), 2, mode="edge")
    rows = grey[:-2] + grey[1:-1] + grey[2:]
    mean = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
    across = mean[1:-1, 2:] - mean[1:-1, :-2]
    down = mean[2:, 1:-1] - mean[:-2, 1:-1]
    strength = np.hypot(across, down)
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


def row_pictures(row: Row, thermal: ThermalRange) -> list[np.ndarray]:
    """uint8 pictures of one size: visible, infrared and, of a pair, the overlay. ImageError if unreadable."""
    infrared = read_infrared(row.infrared, thermal) if row.infrared else None
    visible = read_visible(row.visible) if row.visible else None
    height, width = (infrared if infrared is not None else visible).shape[:2]
    scale = min(CELL[0] / width, CELL[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pictures = [fit(array, size) for array in (visible, infrared) if array is not None]
    return [*pictures, overlay(*pictures)] if row.paired else pictures


def choose_rows(listing: Listing, count: int) -> list[Row]:
    """Pairs taken evenly over the splits; where there are none, images side by side that are no pairs."""
    rows = [
        Row(f"{name}  {pair.stem}", pair.visible, pair.infrared, True)
        for name, split in listing.splits.items()
        for pair in split.pairs
    ]
    if not rows:
        visible = [(name, source) for name, split in listing.splits.items() for source in split.visible]
        infrared = [(name, source) for name, split in listing.splits.items() for source in split.infrared]
        for (left, seen), (right, warm) in zip_longest(visible, infrared, fillvalue=("", None)):
            rows.append(Row(f"{left or '-'} / {right or '-'}  no pair", seen, warm, False))
    places = np.linspace(0, len(rows) - 1, min(count, len(rows)))
    return [rows[round(place)] for place in places]


def _strip(label: str, pictures: list[np.ndarray]) -> np.ndarray:
    height = max(picture.shape[0] for picture in pictures) + LABEL + MARGIN
    strip = Image.new("RGB", (3 * (CELL[0] + MARGIN) + MARGIN, height), (24, 24, 24))
    ImageDraw.Draw(strip).text((MARGIN, 0), label, fill=(220, 220, 220))
    for column, picture in enumerate(pictures):
        strip.paste(Image.fromarray(picture), (MARGIN + column * (CELL[0] + MARGIN), LABEL))
    return np.array(strip)


def contact_sheet(rows: list[Row], thermal: ThermalRange) -> tuple[np.ndarray | None, list[str]]:
    """(uint8 [H, W, 3] picture of all rows, None without any; messages on rows that cannot be read)."""
    strips, failures = [], []
    for row in rows:
        try:
            strips.append(_strip(row.label, row_pictures(row, thermal)))
        except ImageError as error:
            failures.append(str(error))
    return (np.concatenate(strips) if strips else None), failures


def _failures(read: Callable[[Source], np.ndarray], sources: Iterable[Source]) -> list[str]:
    def attempt(source: Source) -> str | None:
        try:
            read(source)
        except ImageError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        return [message for message in pool.map(attempt, sources) if message]


def verify(listing: Listing, thermal: ThermalRange) -> list[str]:
    """Decode every image; one message for each that cannot be read."""
    found = []
    for split in listing.splits.values():
        masks = [Source(pair.mask, pair.stem) for pair in split.pairs if pair.mask]
        found += _failures(read_visible, split.visible)
        found += _failures(partial(read_infrared, thermal=thermal), [*split.infrared, *masks])
    return found


def _sizes(sources: Iterable[Source]) -> str:
    counts = Counter(pixel_size(source.path) for source in sources).most_common()
    shown = ", ".join(f"{width}x{height} ({number})" for (width, height), number in counts[:6])
    rest = sum(number for _, number in counts[6:])
    return shown + (f", {len(counts) - 6} other sizes ({rest})" if rest else "")


def _split_line(name: str, split: Split) -> str:
    visible, infrared = split.unpaired()
    masks = sum(pair.mask is not None for pair in split.pairs)
    columns = (len(split.pairs), len(split.visible), len(split.infrared), len(visible), len(infrared), masks)
    return f"{name:<8}" + "".join(f"{number:>10}" for number in columns)


def report(listing: Listing) -> str:
    """Summary, a table of the splits, sizes, skipped files and notes, as lines of text."""
    heads = ("pairs", "visible", "infrared", "vis alone", "ir alone", "masks")
    lines = [listing.summary(), "", f"{'split':<8}" + "".join(f"{head:>10}" for head in heads)]
    lines += [_split_line(name, split) for name, split in listing.splits.items()]
    splits = listing.splits.values()
    lines += [
        "",
        f"visible sizes:  {_sizes(source for split in splits for source in split.visible)}",
        f"infrared sizes: {_sizes(source for split in splits for source in split.infrared)}",
    ]
    for reason, number in group_reasons(listing.skipped):
        lines += ["", f"skipped, {reason}: {number}"]
        named = [item for item in listing.skipped if item.reason.split(" (")[0] == reason]
        lines += [f"  {item.path}" for item in named[:10]]
        lines += [f"  ... and {number - 10} more"] if number > 10 else []
    if listing.notes:
        lines += ["", "notes:"] + [f"  {note}" for note in listing.notes]
    return "\n".join(lines)


def inspect(options: InspectOptions) -> int:
    """Print the report, verify and draw as asked. 1 if --verify finds damage, otherwise 0."""
    ensure_sample(options.dataroot)
    listing = find(options)
    thermal = ThermalRange.from_options(options)
    print(report(listing))
    failures = verify(listing, thermal) if options.verify else []
    if options.verify:
        print(f"\nverified: {len(failures)} images cannot be decoded")
        print("".join(f"  {message}\n" for message in failures), end="")
    if options.out is not None:
        sheet, unreadable = contact_sheet(choose_rows(listing, options.count), thermal)
        print("".join(f"not drawn: {message}\n" for message in unreadable), end="")
        if sheet is not None:
            write_image(options.out, sheet)
            print(f"\nwrote {options.out}: visible, infrared, infrared edges over visible")
    return 1 if failures else 0


def main() -> int:
    """The command."""
    return inspect(parse(InspectOptions))


if __name__ == "__main__":
    run_command(main)
