"""Runs a network on large images tile by tile, so that memory depends on the tile and not on the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch


def core_edges(length: int, core: int, multiple: int = 1) -> list[int]:
    """Edges of as few nearly equal stretches as cut `length` into at most `core` each, a multiple of `multiple`;
    all edges but the last are multiples of it too."""
    units = -(-length // multiple)
    count = -(-units // (core // multiple))
    return [i * units // count * multiple for i in range(count)] + [length]


@dataclass(frozen=True)
class Tile:
    """What a network sees, (top, bottom, left, right) in pixels of the image, and what is kept of it."""

    seen: tuple[int, int, int, int]
    kept: tuple[int, int, int, int]

    def cut(self, image: torch.Tensor) -> torch.Tensor:
        """What is seen of [..., H, W]."""
        top, bottom, left, right = self.seen
        return image[..., top:bottom, left:right]

    def inner(self, part: torch.Tensor) -> torch.Tensor:
        """What is kept of what the network made of the tile, [..., h, w]."""
        top, left = self.kept[0] - self.seen[0], self.kept[2] - self.seen[2]
        return part[..., top : top + self.kept[1] - self.kept[0], left : left + self.kept[3] - self.kept[2]]

    def paste(self, part: torch.Tensor, image: torch.Tensor) -> None:
        """Put what is kept of `part`, as the network made it, where it belongs in [..., H, W]."""
        top, bottom, left, right = self.kept
        image[..., top:bottom, left:right] = self.inner(part)


def cut_tiles(height: int, width: int, tile: int, reach: int, multiple: int = 1) -> Iterator[Tile]:
    """Tiles of at most tile x tile pixels whose kept parts cut the image, each seen with `reach` pixels around it.

    multiple: of which tiles begin, for a network that halves its input; reach must be one. ValueError if too small."""
    core = (tile - 2 * reach) // multiple * multiple
    if core < 1:
        raise ValueError(f"--tile {tile} is too small: give at least {2 * reach + multiple}")
    rows, columns = core_edges(height, core, multiple), core_edges(width, core, multiple)
    for top, bottom in zip(rows, rows[1:], strict=False):
        for left, right in zip(columns, columns[1:], strict=False):
            seen = max(0, top - reach), min(height, bottom + reach), max(0, left - reach), min(width, right + reach)
            yield Tile(seen, (top, bottom, left, right))


@torch.no_grad()
def run_local(
    network: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor], tile: int, reach: int
) -> torch.Tensor:
    """network(*inputs), each [N, C, H, W] with common N, H, W, over tiles of at most tile x tile -> [N, C', H, W].

    For a network whose output depends on pixels at most `reach` away: each tile is seen with that much around its
    core, of which the core is kept, so the result is that without tiles, up to rounding. No gradient."""
    height, width = inputs[0].shape[-2:]
    result = None
    for piece in cut_tiles(height, width, tile, reach):
        part = network(*(piece.cut(x) for x in inputs)).float()
        if result is None:
            result = part.new_empty(*part.shape[:2], height, width)
        piece.paste(part, result)
    return result
