"""Compares masks made from thermal images with masks drawn by hand: IoU of each image, and a contact sheet.

python -m scripts.compare_masks --infrared DIR --masks DIR"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from data.files import image_files
from data.images import ImageError, ThermalRange, read_infrared, read_labels
from data.masks import from_thermal
from util.command_line import parse, run_command
from util.files import check_apart, check_file
from util.text import plural

TILE_WIDTH = 300
COLUMNS = 3


@dataclass(frozen=True)
class CompareMasksOptions:
    """Make salient-target masks from thermal images and compare them with given ones."""

    infrared: Path
    """Folder of thermal images."""
    masks: Path | None = None
    """Folder of masks of the same names, white on targets; without it only the sheet is made."""
    out: Path = Path("results/masks.png")
    """Contact sheet: each image, then agreement green, made only red, given only blue."""
    limit: int = 60
    """Most images shown on the sheet."""

    def __post_init__(self) -> None:
        if not self.limit >= 1:
            raise ValueError(f"--limit is {self.limit}: give a whole number of at least 1")


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> float:
    """Of two boolean masks [H, W]; 1 where both are empty."""
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0


def read_grey(path: Path) -> np.ndarray:
    """[H, W], uint8, or uint16 from darkest to brightest where the file has more than 8 bits. ImageError if
    unreadable."""
    return read_infrared(path, ThermalRange(mode="percentile", percentile_low=0, percentile_high=100))


def read_mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    """[H, W] bool; ValueError where the file is absent or of another size."""
    if not path.is_file():
        raise ValueError(f"{path}: no such mask; --masks needs one of the name of each image")
    mask = read_labels(path)
    if mask.shape != size:
        raise ValueError(f"{path}: is {mask.shape[1]}x{mask.shape[0]}, its image {size[1]}x{size[0]}")
    return mask > mask.max() / 2


def show(infrared: np.ndarray, made: np.ndarray, given: np.ndarray) -> Image.Image:
    """The thermal image, and beside it the two masks as colours."""
    grey = Image.fromarray((255.0 * infrared / max(infrared.max(), 1)).astype(np.uint8))
    colours = np.stack([made & ~given, made & given, given & ~made], -1)
    height = max(1, round(TILE_WIDTH * infrared.shape[0] / infrared.shape[1]))
    both = Image.new("RGB", (2 * TILE_WIDTH, height))
    both.paste(grey.resize((TILE_WIDTH, height)), (0, 0))
    both.paste(Image.fromarray(colours.astype(np.uint8) * 255).resize((TILE_WIDTH, height)), (TILE_WIDTH, 0))
    return both


def contact_sheet(tiles: Sequence[Image.Image]) -> Image.Image:
    """Tiles of equal width in rows of three."""
    rows = [tiles[i : i + COLUMNS] for i in range(0, len(tiles), COLUMNS)]
    heights = [max(tile.height for tile in row) for row in rows]
    sheet = Image.new("RGB", (COLUMNS * 2 * TILE_WIDTH, sum(heights)))
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            sheet.paste(tile, (j * 2 * TILE_WIDTH, sum(heights[:i])))
    return sheet


def main(options: CompareMasksOptions) -> int:
    """Print one line for each image and their mean, and write the sheet. 1 if some cannot be read, otherwise 0."""
    check_file("--out", options.out)
    if not options.infrared.is_dir():
        raise ValueError(f"--infrared {options.infrared}: no such folder")
    paths = image_files(options.infrared)
    if not paths:
        raise ValueError(f"--infrared {options.infrared}: holds no images")
    masks = [options.masks / path.name for path in paths] if options.masks else []
    check_apart("--out", [options.out], [*paths, *masks])
    scores, tiles, errors = [], [], []
    for path in paths:
        try:
            infrared = read_grey(path)
            made = from_thermal(infrared) > 0
            given = read_mask(options.masks / path.name, made.shape) if options.masks else made
        except ImageError as error:
            errors.append(error)
            continue
        if options.masks:
            scores.append(intersection_over_union(made, given))
            print(f"{path.name}  IoU {scores[-1]:.3f}  salient {made.mean():.2%}")
        if len(tiles) < options.limit:
            tiles.append(show(infrared, made, given))
    if scores:
        print(f"mean IoU of {plural(len(scores), 'image')}: {np.mean(scores):.3f}")
    for error in errors:
        print(f"skipped {error}", file=sys.stderr)
    if not tiles:
        raise ValueError(f"--infrared {options.infrared}: none of {plural(len(paths), 'image')} can be read")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(tiles).save(options.out)
    print(f"wrote {options.out}")
    return 1 if errors else 0


if __name__ == "__main__":
    run_command(lambda: main(parse(CompareMasksOptions)))
