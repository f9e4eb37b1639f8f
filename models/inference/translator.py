"""A trained generator on images of any size: precision, tiles for large ones, resizing, 8-bit grey levels."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from models.blocks import normalises_images
from models.generators import EfficientNetUNetGenerator, OneDirection, brightened, exposure
from models.inference.tiling import AT_ONCE, Tile, cut_tiles, each_tile, take_exact, take_sample, with_tile_norms
from util.colour import grey_bytes
from util.device import Device

TILE = 1536  # pixels; in bf16 a ResNet's activations take some 1.5 GB at this size
LIGHTER = 4  # times less memory than a whole generator its encoder takes, at least
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


def _to_multiple(image: torch.Tensor, multiple: int) -> torch.Tensor:
    """Images [N, C, H, W] of any type as run_padded would show them to a network: sides are multiples."""
    height, width = image.shape[-2:]
    mirrors = -height % multiple < height and -width % multiple < width
    for dim, length in ((-2, height), (-1, width)):
        if length % multiple:
            places = torch.arange(length + -length % multiple)
            beyond = 2 * (length - 1) - places if mirrors else torch.full_like(places, length - 1)
            image = image.index_select(dim, torch.where(places < length, places, beyond))
    return image


class Translator:
    """Visible [N, 3, H, W], uint8 or float in [-1, 1], on the CPU -> infrared [N, 1, H, W].

    Up to tile x tile pixels, or TILE x TILE where no tile is given: float in [-1, 1] on the device, without waiting for
    it. Larger ones, by tiles, in memory that depends on the tile, besides the context that some generators need of the
    whole image, some thirty bytes a pixel: uint8 on the CPU."""

    def __init__(
        self,
        network: nn.Module,
        device: Device,
        tile: int | None = None,
        statistics: str = "sample",
        compiled: str = "off",
    ) -> None:
        """network: as models.inference.trained.load_network loads it. tile: side in pixels; None chooses one.
        statistics: of the norms over tiles, from a "sample" of crops or "exact". compiled: a mode of --compile."""
        generator: Any = network.to_infrared
        has_context = isinstance(generator, EfficientNetUNetGenerator)
        if has_context and device.device.type == "cpu" and device.dtype == torch.bfloat16:
            # Without padding layers between its convolutions it is faster in this layout.
            device = replace(device, memory_format=torch.channels_last)
        self.device, self.statistics = device, statistics
        self.reach, self.multiple = generator.reach, generator.context_strides[0] if has_context else generator.multiple
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
        if visible.shape[-2] * visible.shape[-1] <= self.whole:
            return self._run(self.network, visible)
        return torch.cat([self.in_tiles(image[None]) for image in visible])

    def _run(self, network: nn.Module, visible: torch.Tensor, whole: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        return network(self.device.images(visible).to(self.device.dtype), *whole).float()

    def _own_tile(self) -> int:
        """So large that each thread can work on one of its own; but of a smaller one more is margin than core."""
        threads = torch.get_num_threads() if self.device.device.type == "cpu" else 1
        least = min(8 * self.reach, max(TILE, 4 * self.reach))
        return max(least, math.isqrt(AT_ONCE // threads) // self.multiple * self.multiple)

    def in_tiles(self, visible: torch.Tensor) -> torch.Tensor:
        """One image, whatever its size, by tiles: [1, 3, H, W] -> uint8 [1, 1, H, W] on the CPU."""
        size = visible.shape[-2:]
        generator, where = self.by_tiles.to_infrared, self.device.device.type
        whole = [exposure(visible).to(self.device.device)] if generator.brightens else []
        contexts = []
        if isinstance(generator, EfficientNetUNetGenerator):
            visible = _to_multiple(visible, generator.multiple)
            contexts = [self._context(visible, *whole)]
        height, width = visible.shape[-2:]
        tiles = list(cut_tiles(height, width, self.tile, self.reach, self.multiple))

        def run(*seen: Tile) -> torch.Tensor:
            around = [torch.cat([tile.at(self.multiple).cut(context) for tile in seen]) for context in contexts]
            return self._run(self.by_tiles, torch.cat([tile.cut(visible) for tile in seen]), [*whole, *around])

        if self.normalises:
            rows, columns = (_grid(length, self.sample, self.multiple) for length in (height, width))
            crops = [Tile((*row, *column), (*row, *column)) for row in rows for column in columns]
            take_sample(lambda: run(*crops), self.norms)
            if self.statistics == "exact":
                take_exact(run, self.norms, tiles)
        made = torch.empty(1, 1, height, width, dtype=torch.uint8)
        for tile, part in each_tile(lambda tile: grey_bytes(run(tile)).cpu(), tiles, where):
            tile.paste(part, made)
        return made[..., : size[0], : size[1]]

    def _context(self, visible: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
        """The whole image's context, [1, C, H / 8, W / 8] on the device, of [1, 3, H, W], sides multiples of 32. The
        encoder, which sees far and is cheap, has tiles of its own."""
        generator: Any = self.network.to_infrared
        reach, (height, width) = generator.context_reach, visible.shape[-2:]

        def features(tile: Tile) -> list[torch.Tensor]:
            shown = self.network.shown(self.device.images(tile.cut(visible))).to(self.device.dtype)
            return generator.encoder(brightened(shown, power))[2:]

        strides, joined = generator.context_strides, []
        tiles = list(cut_tiles(height, width, 4 * reach, reach, generator.multiple))
        for tile, parts in each_tile(features, tiles, self.device.device.type, LIGHTER * AT_ONCE):
            if not joined:
                shapes = [(part.shape[1], height // s, width // s) for part, s in zip(parts, strides, strict=True)]
                joined = [parts[0].new_empty(1, *shape) for shape in shapes]
            for stride, part, whole in zip(strides, parts, joined, strict=True):
                tile.at(stride).paste(part, whole)
        return generator.context([whole.contiguous(memory_format=self.device.memory_format) for whole in joined])
