"""Look at a data set before training: what is paired, what is skipped and why, and whether the pairs align.

python -m scripts.inspect_data --dataroot datasets/FLIR_ADAS_v2
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from data.images import (
    ImageError,
    Source,
    ThermalRange,
    pixel_size,
    read_classes,
    read_infrared,
    read_labels,
    read_visible,
    view_of,
    write_image,
)
from data.inputs import find_data
from data.layouts import Listing, Split
from data.layouts.listing import group_reasons
from data.threads import in_threads, of_headers
from options.data import DataOptions
from scripts.pair_sheet import MOST_FAILURES, draw_sheet
from util.command_line import parse, run_command
from util.files import check_apart, check_file
from util.text import one_line, plural

T = TypeVar("T")
Size = tuple[int, int]  # width, height
NAMED = 10  # files that are named of those of one kind
SHEET = "contact sheet of scripts.inspect_data"  # in its file, which tells it from other pictures
SIZES = 6  # sizes that are named


@dataclass(frozen=True)
class InspectOptions(DataOptions):
    """Inspect: report on a data set and draw some of its pairs."""

    out: Path | None = None
    """Contact sheet to write, such as pairs.png: visible, infrared, and infrared edges over visible; by default
    results/inspect/NAME.png, by the data set's folder. With --out, exit status 1 where a row cannot be drawn."""
    count: int = 8
    """Rows of the sheet: of every split, pairs where it has any, evenly spread."""
    verify: bool = False
    """Decode every image, to find damage that headers do not show. Exit status 1 where there is some, or where files
    are skipped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count < 1:
            raise ValueError(f"--count is {self.count}: give 1 or more rows")
        if self.out is not None and self.out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise ValueError(f"--out {self.out}: give the name of a PNG or JPEG, such as pairs.png")

    @property
    def sheet(self) -> Path:
        """Where the contact sheet goes."""
        return self.out or Path("results", "inspect", f"{self.dataroot.resolve().name or 'root'}.png")


def _failures(read: Callable[[T], np.ndarray], sources: Sequence[T]) -> list[ImageError]:
    sizes = in_threads(lambda source: read(source).size, sources, None)  # sizes, so that no picture is kept
    return [error for _, error in sizes if isinstance(error, ImageError)]


def grouped(errors: Sequence[ImageError]) -> list[str]:
    """Lines: each reason once, with how many images have it and the first of their paths; that of one beside it."""
    paths: dict[str, list[Path]] = {}
    for error in errors:
        paths.setdefault(error.reason, []).append(error.path)
    lines = []
    for reason, found in paths.items():
        if len(found) == 1:
            lines.append(f"{found[0]}: {reason}")
            continue
        lines += [f"{plural(len(found), 'image')}: {reason}", *(f"  {path}" for path in found[:NAMED])]
        lines += [f"  ... and {len(found) - NAMED} more"] if len(found) > NAMED else []
    return lines


def verify(listing: Listing, thermal: ThermalRange) -> list[ImageError]:
    """Decode every image; an error for each that cannot be read."""
    found: list[ImageError] = []
    for split in listing.splits.values():
        found += _failures(read_visible, split.visible)
        found += _failures(partial(read_infrared, thermal=thermal), split.infrared)
        found += _failures(read_labels, [pair.mask for pair in split.pairs if pair.mask])
        found += _failures(read_classes, [pair.labels for pair in split.pairs if pair.labels])
    return found


def _size_of(source: Source) -> Size:
    return pixel_size(source.path)


def _sizes(sizes: Iterable[Size]) -> str:
    counts = Counter(sizes).most_common()
    shown = ", ".join(f"{width}x{height} ({number})" for (width, height), number in counts[:SIZES])
    rest = sum(number for _, number in counts[SIZES:])
    return shown + (f", {plural(len(counts) - SIZES, 'other size')} ({rest})" if rest else "")


def _crops(sizes: Iterable[tuple[Source, Size]]) -> list[str]:
    """What of visible images the camera crop cuts, by their sizes, the most frequent first."""
    kinds = Counter((source.camera, size, source.half) for source, size in sizes).most_common()
    cut, whole = [], []
    for (camera, size, half), number in kinds:
        left, top, right, bottom = view_of(size, half, camera)
        view = (right - left, bottom - top)
        if camera == "none" or half != "whole":
            continue
        seen = f"{size[0]}x{size[1]} ({number})"
        if view == size:
            whole.append(seen)
        else:
            cut.append(f"{camera} cuts {seen} to {view[0]}x{view[1]}")
    return cut[:SIZES] + ([f"left whole: {', '.join(whole[:SIZES])}"] if whole else [])


def _split_line(name: str, split: Split) -> str:
    visible, infrared = split.unpaired()
    masks, labels = (sum(getattr(pair, kind) is not None for pair in split.pairs) for kind in ("mask", "labels"))
    columns = (len(split.pairs), len(split.visible), len(split.infrared), len(visible), len(infrared), masks, labels)
    return f"{name:<8}" + "".join(f"{number:>10}" for number in columns)


def report(listing: Listing) -> str:
    """Summary, a table of the splits, sizes, skipped files and notes, as lines of text."""
    heads = ("pairs", "visible", "infrared", "vis alone", "ir alone", "masks", "labels")
    lines = [listing.summary(), "", f"{'split':<8}" + "".join(f"{head:>10}" for head in heads)]
    lines += [_split_line(name, split) for name, split in listing.splits.items()]
    splits = listing.splits.values()
    visible, infrared = (
        [(s, size) for s, size in zip(its, of_headers(_size_of, its), strict=True) if not isinstance(size, ImageError)]
        for its in ([s for split in splits for s in split.visible], [s for split in splits for s in split.infrared])
    )
    lines += [
        "",
        f"visible sizes:  {_sizes(size for _, size in visible)}",
        f"infrared sizes: {_sizes(size for _, size in infrared)}",
        f"camera crop:    {'; '.join(_crops(visible)) or 'none'}",
    ]
    for reason, number in group_reasons(listing.skipped):
        lines += ["", f"skipped, {reason}: {number}"]
        named = [item for item in listing.skipped if item.reason.split(" (")[0] == reason]
        lines += [f"  {one_line(item.path)}" for item in named[:NAMED]]
        lines += [f"  ... and {number - NAMED} more"] if number > NAMED else []
    if listing.notes:
        lines += ["", "notes:"] + [f"  {note}" for note in listing.notes]
    return "\n".join(lines)


def draw(listing: Listing, options: InspectOptions, thermal: ThermalRange) -> bool:
    """Write the contact sheet and tell what is on it and what is not; whether every row of it could be drawn."""
    sheet = draw_sheet(listing, options.count, thermal)
    for line in grouped(sheet.failures):
        print(f"not drawn: {line}" if not line.startswith(" ") else f"           {line}")
    if len(sheet.failures) >= MOST_FAILURES:
        print(
            f"not drawn: after {plural(MOST_FAILURES, 'failure')} no further row was tried; --verify tries every image"
        )
    if not sheet.rows:
        print(f"\nnothing written to {options.sheet}: no row could be drawn")
        return False
    write_image(options.sheet, sheet.picture, SHEET)
    paired = len(sheet.rows) - sheet.unpaired
    shown = [f"{plural(paired, 'pair')} (visible, infrared, infrared edges over visible)"] if paired else []
    shown += [f"{plural(sheet.unpaired, 'row')} of images that are not paired"] if sheet.unpaired else []
    print(f"\nwrote {options.sheet}: {', '.join(shown)}")
    return not sheet.failures


def inspect(options: InspectOptions) -> int:
    """Print the report, draw, verify if asked. 1 if --verify finds damage or a row of --out cannot be drawn."""
    check_file("--out", options.sheet)
    listing = find_data(options)
    sources = (source for split in listing.splits.values() for source in (*split.visible, *split.infrared))
    check_apart("--out", [options.sheet], (source.path for source in sources))
    check_file("--out", options.sheet, SHEET if options.out else "")
    thermal = ThermalRange.from_options(options)
    print(report(listing))
    failures = verify(listing, thermal) if options.verify else []
    if options.verify:
        print(f"\nverified: {plural(len(failures), 'image')} cannot be decoded")
        print("".join(f"  {line}\n" for line in grouped(failures)), end="")
        print("".join(f"skipped {line}\n" for line in grouped(listing.skipped)), end="", file=sys.stderr)
        failures += listing.skipped
    drawn = draw(listing, options, thermal)
    return 0 if (drawn or options.out is None) and not failures else 1


def main() -> int:
    """Report on the data set that the command line names; returns the exit status."""
    return inspect(parse(InspectOptions))


if __name__ == "__main__":
    run_command(main)
