"""Runs a network on large images tile by tile, so that memory depends on the tile and not on the image; instance norms
use statistics of the whole image, fixed before the first tile is made.

With statistics of its own, each tile would be normalised by itself, and no overlap hides the steps between tiles that
this makes. With fixed ones, an output pixel depends on its neighbourhood alone, so tiles that are seen with enough
around them join without any seam, whatever the statistics are; and the nearer these are to the whole image's, the
nearer the result is to that without tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks import normalises_images
from models.generators import UNetLevel
from util.device import processors

T = TypeVar("T")
AT_ONCE = 1536**2  # pixels of the tiles that are worked on at a time, unless one has more: memory depends on them


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


def each_tile(work: Callable[[Tile], T], tiles: Sequence[Tile], device: str) -> Iterator[tuple[Tile, T]]:
    """(tile, work(tile)) of all tiles in their order, without gradient. device: where the work is done, cpu or cuda.

    On the CPU PyTorch's threads work on tiles of AT_ONCE pixels at a time, best each on one of its own: threads that
    share a tile wait for each other at every layer, which takes many times as long as soon as one of them does not get
    its processor. Where they have all processors there are twice as many: beside other processes, which take their
    turns, the last tiles are done sooner, and more of the processors' time is theirs."""
    threads, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()
    largest = max((bottom - top) * (right - left) for top, bottom, left, right in (tile.seen for tile in tiles))
    most = 2 * threads if 1 < threads == processors() else threads
    workers = min(most, len(tiles), AT_ONCE // largest) if device == "cpu" else 1
    if workers < 2:
        yield from ((tile, work(tile)) for tile in tiles)
        return

    def in_thread(tile: Tile) -> T:
        with torch.inference_mode(inference), torch.no_grad():  # which a thread does not have from its maker
            return work(tile)

    each = max(1, threads // workers)
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(each,)) as pool:
            yield from zip(tiles, pool.map(in_thread, tiles), strict=True)
    finally:
        torch.set_num_threads(threads)  # for threads that begin from now on; this one's number has not changed


@torch.no_grad()
def run_local(
    network: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor], tile: int, reach: int, device: str = "cpu"
) -> torch.Tensor:
    """network(*inputs), each [N, C, H, W] with common N, H, W, over tiles of at most tile x tile -> [N, C', H, W].

    For a network whose output depends on pixels at most `reach` away: each tile is seen with that much around its
    core, of which the core is kept, so the result is that without tiles, up to rounding. No gradient. device: as of
    each_tile."""
    height, width = inputs[0].shape[-2:]
    result, tiles = None, list(cut_tiles(height, width, tile, reach))
    for piece, part in each_tile(lambda piece: network(*(piece.cut(x) for x in inputs)).float(), tiles, device):
        if result is None:
            result = part.new_empty(*part.shape[:2], height, width)
        piece.paste(part, result)
    return result


class TileNorm(nn.Module):
    """Instance norm of [N, C, H, W] by statistics that are taken from a sample, then fixed.

    sample: those of the inner part of all N images together, which are crops of one image; the norm then enters
    itself in `order`. fixed: as before. measure: the moments of what a tile keeps are added up for `adopt`, and an
    empty batch goes on, so that the rest of the network costs nothing."""

    def __init__(self, norm: nn.InstanceNorm2d | nn.BatchNorm2d, order: list[TileNorm], joins: bool) -> None:
        """norm: in whose place it is put. joins: whether the network joins what goes on to images from before, which
        an empty batch does not fit."""
        super().__init__()
        self.joins = joins
        self.eps, self.weight, self.bias, self.order = norm.eps, norm.weight, norm.bias, order
        self.mode: Literal["sample", "fixed", "measure"] = "sample"
        self.tile: Tile | None = None
        self.mean: torch.Tensor | None = None
        self.variance: torch.Tensor | None = None
        self.moments: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> the same shape."""
        if self.mode == "sample":
            # What lies near the edge of a crop has seen the mirrored edge, of which the image has little.
            down, right = x.shape[-2] // 8, x.shape[-1] // 8
            inner = x[..., down : x.shape[-2] - down, right : x.shape[-1] - right].float()
            self.variance, self.mean = torch.var_mean(inner, (0, 2, 3), correction=0)
            self.order.append(self)
        elif self.mode == "measure":
            self.moments.append(self._moments(x))
            return x if self.joins else x[:0]
        return F.batch_norm(x, self.mean, self.variance, self.weight, self.bias, training=False, eps=self.eps)

    def _moments(self, x: torch.Tensor) -> torch.Tensor:
        """[3, C]: count, sum and sum of squares of what the tile keeps, at this layer's resolution."""
        assert self.tile is not None and len(x) == 1
        (rows, columns), (top, bottom, left, right) = x.shape[-2:], self.tile.seen
        kept = self.tile.kept
        # The network halves the sides of what it sees, mirrored to a multiple at the image's end.
        down = 2 ** math.ceil(math.log2((bottom - top) / rows))
        across = 2 ** math.ceil(math.log2((right - left) / columns))
        below = rows if kept[1] == bottom else (kept[1] - top) // down
        behind = columns if kept[3] == right else (kept[3] - left) // across
        inner = x[0, :, (kept[0] - top) // down : below, (kept[2] - left) // across : behind].double()
        count = torch.full_like(inner[:, 0, 0], inner[0].numel())
        return torch.stack([count, inner.sum((1, 2)), inner.square().sum((1, 2))])

    def adopt(self) -> None:
        """Take the statistics that were measured since the last call, and be fixed."""
        count, total, squares = torch.stack(self.moments).sum(0)
        mean = total / count
        self.mean, self.variance = mean.float(), (squares / count - mean.square()).clamp(min=0).float()
        self.moments, self.mode = [], "fixed"


def with_tile_norms(network: nn.Module) -> list[TileNorm]:
    """Put a TileNorm in the place of each norm of a network that normalises each image by itself.

    The list returned is filled, in the order in which the norms run, when the network runs with them on a sample."""
    order: list[TileNorm] = []
    joins = any(isinstance(module, UNetLevel) for module in network.modules())
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if normalises_images(child):
                module.add_module(name, TileNorm(child, order, joins))
    return order


def take_sample(run: Callable[[], object], norms: list[TileNorm]) -> None:
    """Fix the norms' statistics to those of a sample. run: the network on crops [N, C, h, w] of one image."""
    for norm in norms:
        norm.mode = "sample"
    norms.clear()
    run()
    for norm in norms:
        norm.mode = "fixed"


def take_exact(run: Callable[[Tile], object], norms: list[TileNorm], tiles: Sequence[Tile]) -> None:
    """Fix the norms' statistics to those of the whole image: first norm, second norm, ..., each with one run over all
    tiles, in which only what comes before that norm counts, with the earlier ones' statistics. run: the network on a
    tile, alone."""
    for norm in norms:
        norm.mode = "measure"
        for norm.tile in tiles:
            run(norm.tile)
        norm.adopt()
