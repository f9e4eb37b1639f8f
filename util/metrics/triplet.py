"""What a fusion metric looks at: a fused image and its two sources, and what several metrics derive from them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

LEVELS = 256
KEPT_PIXELS = 3 << 19  # of a source whose derived images are kept: some 20 of 8 bytes a pixel


def histogram(values: torch.Tensor, bins: int) -> torch.Tensor:
    """[..., H, W] integers in [0, bins) -> [..., bins] float64, the share of pixels in each bin."""
    rows = values.flatten(-2).long().reshape(-1, values.shape[-2] * values.shape[-1])
    offsets = bins * torch.arange(len(rows), device=rows.device)
    places = (rows + offsets[:, None]).flatten()
    # Not torch.bincount, which makes the host wait for a GPU to tell the largest value.
    counts = torch.zeros(bins * len(rows), dtype=torch.long, device=rows.device)
    counts.scatter_add_(0, places, counts.new_ones(()).expand_as(places))
    return counts.reshape(*values.shape[:-2], bins).double() / rows.shape[-1]


def half_up(values: torch.Tensor) -> torch.Tensor:
    """Round to whole numbers, halves up: halves to even, as torch rounds, would leave a mean of two images few odd
    levels."""
    return torch.floor(values + 0.5)


def rescale(image: torch.Tensor) -> torch.Tensor:
    """[..., H, W] -> whole numbers, least value at 0 and greatest at 255; a flat image becomes 0."""
    low, high = image.amin((-2, -1), keepdim=True), image.amax((-2, -1), keepdim=True)
    span = torch.where(high > low, high - low, 1.0)
    return half_up((image - low) / span * 255)


class SourceImage:
    """A source image, [N, C, H, W] float64, and what the metrics derive from it, which is computed once."""

    def __init__(self, image: torch.Tensor) -> None:
        self.image = image
        self.known: dict[Hashable, Any] = {}

    def once(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Give function(image, *arguments), which is kept under the function: its arguments are the same each time."""
        return self._kept(function, lambda: function(self.image, *arguments))

    def changed(self, function: Callable[..., torch.Tensor], *arguments: Any) -> SourceImage:
        """Give the image function(image, *arguments) as a source, which is kept likewise."""
        return self._kept((SourceImage, function), lambda: SourceImage(function(self.image, *arguments)))

    def planes(self) -> list[list[SourceImage]]:
        """Give each channel of each image as a source, [1, 1, H, W]."""
        return self._kept(_planes, lambda: [list(map(SourceImage, planes)) for planes in _planes(self.image)])

    def _kept(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        if self.image.numel() > KEPT_PIXELS:
            return compute()
        if key not in self.known:
            self.known[key] = compute()
        return self.known[key]


def _planes(image: torch.Tensor) -> list[list[torch.Tensor]]:
    return [[plane[None, None].contiguous() for plane in channels] for channels in image]


@dataclass(frozen=True)
class Triplet:
    """Fused image and sources: [N, C, H, W] float64, whole numbers in 0..255, C alike or 1.

    The metrics score every channel by itself: [N, C]."""

    fused: torch.Tensor
    visible: SourceImage
    infrared: SourceImage

    @property
    def sources(self) -> tuple[SourceImage, SourceImage]:
        """Give the visible and the infrared image."""
        return self.visible, self.infrared

    def changed(self, function: Callable[..., torch.Tensor], *arguments: Any) -> Triplet:
        """Give the triplet of function(image, *arguments) for each image."""
        sources = (source.changed(function, *arguments) for source in self.sources)
        return Triplet(function(self.fused, *arguments), *sources)

    def planes(self) -> list[list[Triplet]]:
        """Give for each image a triplet of each of its channels, [1, 1, H, W]: what a processor's cache can hold."""
        sides = [source.planes() for source in self.sources]
        return [
            [
                Triplet(plane, *(side[number][channel % len(side[number])] for side in sides))
                for channel, plane in enumerate(planes)
            ]
            for number, planes in enumerate(_planes(self.fused))
        ]

    @cached_property
    def fused_histogram(self) -> torch.Tensor:
        return histogram(self.fused, LEVELS)

    @cached_property
    def rescaled(self) -> Triplet:
        """The same images, each channel stretched to 0..255."""
        return self.changed(rescale)
