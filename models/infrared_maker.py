"""A trained generator on images of any size: precision, tiles for large ones, resizing, 8-bit grey levels."""

from __future__ import annotations

import copy

import torch
from torch import nn

from models.generators import ResidualBlock, UNetGenerator
from models.tile_statistics import TileNorm, measuring, with_tile_norms
from models.tiling import Tile, cut_tiles
from models.trained import OneDirection
from util.compute import Compute

TILE = 1536  # pixels; in bf16 a ResNet's activations take some 1.5 GB at this size
SAMPLES = 3  # crops along each side of an image that its statistics are taken from; together they are one tile


def locality(generator: nn.Module) -> tuple[int, int]:
    """(pixels around an output pixel that it can depend on, norms aside; the multiple that sides are padded to)."""
    if isinstance(generator, UNetGenerator):
        return 3 * generator.multiple, generator.multiple
    blocks = sum(isinstance(module, ResidualBlock) for module in generator.modules())
    return 8 * blocks + 24, 4


def in_precision(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network with its convolutions in a dtype. Its input must be in it too; no autocast is needed then, which
    on the CPU would pad in float32."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.to(dtype)
    return network


def grey_bytes(images: torch.Tensor) -> torch.Tensor:
    """[-1, 1] -> uint8, rounded, in the same place and shape; changes nothing of the input."""
    return images.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def _middle(length: int, i: int, part: int) -> slice:
    """`part` pixels in the middle of the i-th of SAMPLES equal stretches of a length, moved inside if need be."""
    start = (2 * i + 1) * length // (2 * SAMPLES) - part // 2
    start = min(max(0, start), length - part)
    return slice(start, start + part)


class InfraredMaker:
    """Visible [N, 3, H, W], uint8 or float in [-1, 1], on the CPU -> infrared [N, 1, H, W].

    Up to tile x tile pixels: float in [-1, 1] on the device, without waiting for it. Larger ones, by tiles, in
    memory that depends on the tile: uint8 on the CPU."""

    def __init__(
        self, network: nn.Module, compute: Compute, tile: int | None = None, passes: int = 0, compiled: str = "off"
    ) -> None:
        """network: as models.trained.load_network loads it. tile: side in pixels; None chooses one. passes: over the
        tiles, each of which brings their statistics nearer to the whole image's. compiled: a mode of --compile."""
        self.compute, self.passes = compute, passes
        generator = network.to_infrared
        self.reach, self.multiple = locality(generator)
        self.tile = tile or max(TILE, 2 * self.reach + 2 * self.multiple)
        next(cut_tiles(1, 1, self.tile, self.reach, self.multiple))  # a tile too small is a mistake now, not later
        self.network = in_precision(OneDirection(copy.deepcopy(generator)).eval(), compute.dtype)
        compute.place(self.network)
        self.by_tiles: nn.Module | None = None
        self.norms: list[TileNorm] = []
        compute.compile([self.network], compiled)

    def __call__(self, visible: torch.Tensor) -> torch.Tensor:
        if visible.shape[-2] * visible.shape[-1] <= self.tile**2:
            return self._run(self.network, visible)
        return torch.cat([self._tiled(image[None]) for image in visible])

    def _run(self, network: nn.Module, visible: torch.Tensor) -> torch.Tensor:
        return network(self.compute.images(visible).to(self.compute.dtype)).float()

    def _tiled(self, visible: torch.Tensor) -> torch.Tensor:
        if self.by_tiles is None:  # a copy, as the other one may be compiled
            self.by_tiles = OneDirection(copy.deepcopy(self.network.to_infrared)).eval()
            self.norms = with_tile_norms(self.by_tiles)
        height, width = visible.shape[-2:]
        tiles = list(cut_tiles(height, width, self.tile, self.reach, self.multiple))
        if self.norms:
            self._take_statistics(visible, tiles)
        made = torch.empty(1, 1, height, width, dtype=torch.uint8)
        for tile in tiles:
            tile.paste(grey_bytes(self._run(self.by_tiles, tile.cut(visible))).cpu(), made)
        return made

    def _take_statistics(self, visible: torch.Tensor, tiles: list[Tile]) -> None:
        """From a grid of crops that together are as large as a tile, then from all tiles as often as asked."""
        side = max(self.multiple, self.tile // SAMPLES // self.multiple * self.multiple)
        rows, columns = (
            [_middle(length, i, min(side, length)) for i in range(SAMPLES)] for length in visible.shape[-2:]
        )
        for norm in self.norms:
            norm.mode = "sample"
        self._run(self.by_tiles, torch.cat([visible[..., r, c] for r in rows for c in columns]))
        for norm in self.norms:
            norm.mode = "fixed"
        for _ in range(self.passes):
            with measuring(self.norms):
                for tile in tiles:
                    for norm in self.norms:
                        norm.tile = tile
                    self._run(self.by_tiles, tile.cut(visible))
