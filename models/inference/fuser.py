"""A trained fusion network on images of any size: tiles, precision, range of grey levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from models.blocks import as_luminance
from models.inference.joined import join
from models.inference.tiling import run_local
from options.fuse import NetworkOptions
from util.device import Device
from util.images import standard_exposure

# Pixels. On the CPU a tile's activations stay in the cache, which is twice as fast; on CUDA they take some 3 GB.
LARGEST_TILE = {"cpu": 184, "cuda": 1024}
NEWEST = 0.05
"""Weight of a video's newest frame in the mean range of its frames."""


class Fuser:
    """The network with its tiles and its range: visible uint8 [N, 3, H, W], infrared uint8 [N, 1, H, W] on the CPU
    -> luminance [N, 1, H, W] in [-1, 1], and the grey levels that the network's raw output spans, [N, 2]."""

    def __init__(
        self,
        network: Any,
        device: Device,
        opts: NetworkOptions,
        policy: str,
        local: bool = True,
        standard: bool = False,
    ) -> None:
        """local: whether a pixel depends on its neighbourhood alone; if not, images are only cut when asked.
        standard: whether the network sees infrared images in the standard exposure, which they are brought to here."""
        self.network, self.device, self.policy = join(device.place(network), device), device, policy
        self.standard, self.in_video = standard, False
        self.tile = opts.tile if opts.tile is not None else (LARGEST_TILE[device.device.type] if local else 0)
        if self.tile and self.tile <= 2 * network.REACH:
            raise ValueError(f"--tile {self.tile} is too small: give at least {2 * network.REACH + 1}")

    def __call__(self, visible: torch.Tensor, infrared: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        height, width = visible.shape[-2:]
        if self.standard:
            infrared = standard_exposure(self.device.images(infrared))
        side = self.tile or max(height, width)
        together = max(1, LARGEST_TILE[self.device.device.type] ** 2 // min(side * side, height * width))
        parts = zip(visible.split(together), infrared.split(together), strict=True)
        made = torch.cat([self._tiles(part, side) for part in parts])
        low, high = made.amin((1, 2, 3), keepdim=True), made.amax((1, 2, 3), keepdim=True)
        span = torch.cat([low, high], 1)
        if self.policy == "minmax":
            low, high = (self._over_time(span) if self.in_video else span).split(1, 1)
            stretched = ((made - low) / (high - low).clamp(min=1e-12) * 2 - 1).clamp(-1, 1)
            made = torch.where(high > low, stretched, made)
        return made, (span.flatten(1) + 1) * 127.5

    def begin_video(self) -> None:
        """Take what follows for frames of one video, in order: they are stretched by the mean range of the last frames,
        since that of each by itself would make brightness flicker."""
        self.in_video, self.mean_span = True, None

    def _over_time(self, spans: torch.Tensor) -> torch.Tensor:
        """Average ranges [N, 2, 1, 1] of the next frames exponentially over all frames so far; the same shape."""
        averaged = []
        for span in spans:
            self.mean_span = span if self.mean_span is None else torch.lerp(self.mean_span, span, NEWEST)
            averaged.append(self.mean_span)
        return torch.stack(averaged)

    def _tiles(self, images: Sequence[torch.Tensor], side: int) -> torch.Tensor:
        """Run the network on images that fit into a tile at once, on others tile by tile."""
        if max(images[0].shape[-2:]) <= side:
            return self._whole(*images)
        return run_local(self._whole, images, side, self.network.REACH, self.device.device.type)

    def _whole(self, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
        with self.device.autocast():
            return self.network(as_luminance(self.device.images(visible)), self.device.images(infrared)).float()
