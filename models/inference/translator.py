"""A trained generator on images of any size: precision, tiles for large ones, resizing, 8-bit grey levels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks import normalises_images, to_multiple
from models.generators import EfficientNetUNetGenerator, OneDirection, exposure
from models.inference.tiling import AT_ONCE, Tile, cut_tiles, each_tile, take_exact, take_sample, with_tile_norms
from util.device import Device
from util.images import grey_bytes, resize

TILE = 1536  # pixels; in bf16 a ResNet's activations take some 1.5 GB at this size
SMALL = 512  # pixels; a scene is not enlarged beyond SMALL x SMALL for being seen
SAMPLES = 6  # crops along each side of an image that its statistics are taken from; together they are one tile


def in_precision(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network with its convolutions in a dtype. Its input must be in it too; no autocast is needed then, which
    on the CPU would pad in float32."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.to(dtype)
    return network


def _grid(length: int, side: int, multiple: int) -> list[tuple[int, int]]:
    """(start, end) of `side` pixels in the middle of each of SAMPLES equal stretches of a length, moved inside if need
    be; starts are multiples of `multiple`."""
    side = min(side, length)
    starts = ((2 * i + 1) * length // (2 * SAMPLES) - side // 2 for i in range(SAMPLES))
    inside = (min(max(0, start), length - side) // multiple * multiple for start in starts)
    return [(start, start + side) for start in inside]


@dataclass(frozen=True)
class Scene:
    """What a generator with a context knows of whole images, whatever part of them it draws: the power that brightens
    them, [N, 1, 1, 1], and their context, float32 [N, C, h, w], as it sees them, `scale` times as high and wide."""

    power: torch.Tensor
    context: torch.Tensor
    scale: tuple[float, float]

    def around(self, tiles: Sequence[Tile], stride: int) -> torch.Tensor:
        """The context at tiles of the images, [N x tiles, C, H / stride, W / stride]; N or their number is 1."""
        grids = []
        for tile in tiles:
            places = []
            for cells, scale, (start, end) in zip(
                self.context.shape[-2:], self.scale, (tile.seen[:2], tile.seen[2:]), strict=True
            ):
                middles = torch.arange(start, end, stride, device=self.context.device) + stride / 2
                places.append(middles * (scale * 2 / (cells * stride)) - 1)
            rows, columns = torch.meshgrid(*places, indexing="ij")
            grids.append(torch.stack([columns, rows], -1))
        grid = torch.stack(grids).repeat_interleave(len(self.context), 0)
        context = self.context.expand(len(grid), -1, -1, -1)  # of one image, or at one tile
        return F.grid_sample(context, grid, padding_mode="border", align_corners=False)


class Translator:
    """Visible [N, 3, H, W], uint8 or float in [-1, 1], on the CPU -> infrared [N, 1, H, W].

    Up to tile x tile pixels, or TILE x TILE where no tile is given: float in [-1, 1] on the device, without waiting for
    it. Larger ones, by tiles, in memory that depends on the tile: uint8 on the CPU.

    A generator with a context sees what a scene is at the size that images had in training, as far as memory goes, and
    draws at theirs."""

    def __init__(
        self,
        network: nn.Module,
        device: Device,
        tile: int | None = None,
        statistics: str = "sample",
        compiled: str = "off",
        seen_at: Callable[[int, int], tuple[int, int]] | None = None,
    ) -> None:
        """network: as models.inference.trained.load_network loads it. tile: side in pixels; None chooses one.
        statistics: of the norms over tiles, from a "sample" of crops or "exact". compiled: a mode of --compile.
        seen_at: (height, width) in training of an image of that size; None where that is not known."""
        generator: Any = network.to_infrared
        self.has_context = isinstance(generator, EfficientNetUNetGenerator)
        if self.has_context and device.device.type == "cpu" and device.dtype == torch.bfloat16:
            # Without padding layers between its convolutions it is faster in this layout.
            device = replace(device, memory_format=torch.channels_last)
        self.device, self.statistics, self.seen_at = device, statistics, seen_at
        self.reach, self.multiple = generator.reach, generator.stride if self.has_context else generator.multiple
        self.tile = tile or self._own_tile()
        self.whole = max(self.tile, tile or TILE) ** 2
        self.sample = max(self.multiple, (tile or TILE) // SAMPLES // self.multiple * self.multiple)
        next(cut_tiles(1, 1, self.tile, self.reach, self.multiple))  # a tile too small is a mistake now, not later
        self.network = in_precision(OneDirection(copy.deepcopy(generator)).eval(), device.dtype)
        device.place(self.network)
        # Over tiles a copy runs: the network itself may be compiled, and its norms are other ones.
        self.by_tiles = OneDirection(copy.deepcopy(self.network.to_infrared)).eval()
        self.normalises = any(map(normalises_images, generator.modules()))
        self.norms = with_tile_norms(self.by_tiles)
        device.compile([self.network], compiled)

    def __call__(self, visible: torch.Tensor) -> torch.Tensor:
        height, width = visible.shape[-2:]
        if height * width > self.whole:
            return torch.cat([self.in_tiles(image[None]) for image in visible])
        if not self.has_context or self._seen(height, width) == (height, width):
            return self._run(self.network, visible)
        if self.device.device.type != "cpu":
            visible = self.device.images(visible)
        scene, visible = self._scene(visible)
        down, right = visible.shape[-2:]
        everything = Tile((0, down, 0, right), (0, height, 0, width))
        return everything.inner(self._run(self.network, visible, scene, [everything]))

    def _run(
        self, network: nn.Module, visible: torch.Tensor, scene: Scene | None = None, tiles: Sequence[Tile] = ()
    ) -> torch.Tensor:
        """tiles: of the scene, that visible is."""
        whole = []
        if scene is not None:
            around = scene.around(tiles, self.multiple).to(self.device.dtype)
            whole = [scene.power, around.contiguous(memory_format=self.device.memory_format)]
        return network(self.device.images(visible).to(self.device.dtype), *whole).float()

    def _own_tile(self) -> int:
        """So large that each thread can work on one of its own; but of a smaller one more is margin than core."""
        threads = torch.get_num_threads() if self.device.device.type == "cpu" else 1
        least = min(8 * self.reach, max(TILE, 4 * self.reach))
        return max(least, math.isqrt(AT_ONCE // threads) // self.multiple * self.multiple)

    def in_tiles(self, visible: torch.Tensor) -> torch.Tensor:
        """One image, whatever its size, by tiles: [1, 3, H, W] -> uint8 [1, 1, H, W] on the CPU."""
        size, scene = visible.shape[-2:], None
        if self.has_context:
            scene, visible = self._scene(visible)
        height, width = visible.shape[-2:]
        tiles = list(cut_tiles(height, width, self.tile, self.reach, self.multiple))

        def run(*seen: Tile) -> torch.Tensor:
            return self._run(self.by_tiles, torch.cat([tile.cut(visible) for tile in seen]), scene, seen)

        if self.normalises:
            rows, columns = (_grid(length, self.sample, self.multiple) for length in (height, width))
            crops = [Tile((*row, *column), (*row, *column)) for row in rows for column in columns]
            take_sample(lambda: run(*crops), self.norms)
            if self.statistics == "exact":
                take_exact(run, self.norms, tiles)
        made = torch.empty(1, 1, height, width, dtype=torch.uint8)
        for tile, part in each_tile(lambda tile: grey_bytes(run(tile)).cpu(), tiles, self.device.device.type):
            tile.paste(part, made)
        return made[..., : size[0], : size[1]]

    def _seen(self, height: int, width: int) -> tuple[int, int]:
        """The size at which the scene of an image is seen: as in training, but no larger than what needs no tiles, nor
        enlarged beyond SMALL x SMALL."""
        most = min(max(self.whole, TILE**2), max(height * width, SMALL**2))
        height, width = self.seen_at(height, width) if self.seen_at else (height, width)
        shrink = min(1.0, math.sqrt(most / (height * width)))
        return max(1, int(height * shrink)), max(1, int(width * shrink))

    def _scene(self, visible: torch.Tensor) -> tuple[Scene, torch.Tensor]:
        """The scene of images, and these with sides that the generator takes."""
        generator: Any = self.network.to_infrared
        height, width = visible.shape[-2:]
        size = self._seen(height, width)
        powers = exposure(visible).to(self.device.device, non_blocking=True)
        together, contexts = max(1, TILE**2 // (size[0] * size[1])), []
        for part, power in zip(visible.split(together), powers.split(together), strict=True):
            seen = to_multiple(resize(part, size), generator.multiple, generator.least(*size))
            shown = self.network.shown(self.device.images(seen)).to(self.device.dtype)
            contexts.append(generator.scene(shown, power).float())
        scene = Scene(powers, torch.cat(contexts), (size[0] / height, size[1] / width))
        return scene, to_multiple(visible, generator.multiple, generator.least(height, width))
