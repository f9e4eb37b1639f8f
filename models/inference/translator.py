"""A trained generator on images of any size: precision, tiles for large ones, resizing, 8-bit grey levels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from models.blocks import normalises_images
from models.generators import EfficientNetUNetGenerator, OneDirection, exposure
from models.inference.tiling import cut_tiles, each_tile, take_exact, take_sample, with_tile_norms
from util.colour import grey_bytes
from util.device import Device

TILE = 1536  # pixels; in bf16 a ResNet's activations take some 1.5 GB at this size
SAMPLES = 6  # crops along each side of an image that its statistics are taken from; together they are one tile


def in_precision(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network with its convolutions in a dtype. Its input must be in it too; no autocast is needed then, which
    on the CPU would pad in float32."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.to(dtype)
    return network


def _middle(length: int, i: int, part: int) -> slice:
    """`part` pixels in the middle of the i-th of SAMPLES equal stretches of a length, moved inside if need be."""
    start = (2 * i + 1) * length // (2 * SAMPLES) - part // 2
    start = min(max(0, start), length - part)
    return slice(start, start + part)


def _crops(image: torch.Tensor, side: int) -> torch.Tensor:
    """[1, C, H, W] -> [SAMPLES^2, C, h, w], a grid of crops, side x side where the image is as large."""
    rows, columns = ([_middle(length, i, min(side, length)) for i in range(SAMPLES)] for length in image.shape[-2:])
    return torch.cat([image[..., row, column] for row in rows for column in columns])


class Translator:
    """Visible [N, 3, H, W], uint8 or float in [-1, 1], on the CPU -> infrared [N, 1, H, W].

    Up to tile x tile pixels: float in [-1, 1] on the device, without waiting for it. Larger ones, by tiles, in
    memory that depends on the tile: uint8 on the CPU."""

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
        padless = isinstance(generator, EfficientNetUNetGenerator)
        if padless and device.device.type == "cpu" and device.dtype == torch.bfloat16:
            # Without padding layers between its convolutions it is faster in this layout.
            device = replace(device, memory_format=torch.channels_last)
        self.device, self.statistics = device, statistics
        self.reach, self.multiple = generator.reach, generator.multiple
        self.tile = tile or max(TILE, 4 * self.reach)
        next(cut_tiles(1, 1, self.tile, self.reach, self.multiple))  # a tile too small is a mistake now, not later
        self.network = in_precision(OneDirection(copy.deepcopy(generator)).eval(), device.dtype)
        device.place(self.network)
        # Over tiles a copy runs: the network itself may be compiled, and its norms are other ones.
        self.by_tiles = OneDirection(copy.deepcopy(self.network.to_infrared)).eval()
        self.normalises = any(map(normalises_images, generator.modules()))
        self.norms = with_tile_norms(self.by_tiles)
        device.compile([self.network], compiled)

    def __call__(self, visible: torch.Tensor) -> torch.Tensor:
        if visible.shape[-2] * visible.shape[-1] <= self.tile**2:
            return self._run(self.network, visible)
        return torch.cat([self.in_tiles(image[None]) for image in visible])

    def _run(self, network: nn.Module, visible: torch.Tensor, whole: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        return network(self.device.images(visible).to(self.device.dtype), *whole).float()

    def in_tiles(self, visible: torch.Tensor) -> torch.Tensor:
        """One image, whatever its size, by tiles: [1, 3, H, W] -> uint8 [1, 1, H, W] on the CPU."""
        height, width = visible.shape[-2:]
        tiles = list(cut_tiles(height, width, self.tile, self.reach, self.multiple))
        brightens = self.by_tiles.to_infrared.brightens
        whole = [exposure(visible).to(self.device.device)] if brightens else []
        run = partial(self._run, self.by_tiles, whole=whole)
        if self.normalises:
            take_sample(run, self.norms, _crops(visible, self.tile // SAMPLES // self.multiple * self.multiple))
            if self.statistics == "exact":
                take_exact(run, self.norms, visible, tiles)
        made = torch.empty(1, 1, height, width, dtype=torch.uint8)
        seen_by = self.device.device.type
        for tile, part in each_tile(lambda tile: grey_bytes(run(tile.cut(visible))).cpu(), tiles, seen_by):
            tile.paste(part, made)
        return made
