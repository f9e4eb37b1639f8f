"""What a fusion metric looks at: a fused image and its two sources, and what several metrics derive from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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
    """Nearest whole numbers. Halves to even, as torch rounds, would leave a mean of two images few odd levels."""
    return torch.floor(values + 0.5)


def rescale(image: torch.Tensor) -> torch.Tensor:
    """[..., H, W] -> whole numbers, least value at 0 and greatest at 255; a flat image becomes 0."""
    low, high = image.amin((-2, -1), keepdim=True), image.amax((-2, -1), keepdim=True)
    span = torch.where(high > low, high - low, 1.0)
    return half_up((image - low) / span * 255)


def _planes(image: torch.Tensor) -> list[list[torch.Tensor]]:
    return [[plane[None, None].contiguous() for plane in channels] for channels in image]


@dataclass(frozen=True)
class Triplet:
    """Fused image and sources: [N, C, H, W] float64, whole numbers in 0..255, C alike or 1.

    The metrics score every channel by itself: [N, C]. What they derive from the sources alone is kept in `known`,
    which triplets of the same source tensors may share."""

    fused: torch.Tensor
    visible: torch.Tensor
    infrared: torch.Tensor
    known: dict[tuple[Any, ...], tuple[Any, ...]] = field(default_factory=dict, repr=False, compare=False)

    def once(self, function: Callable[..., Any], source: torch.Tensor, *arguments: Any) -> Any:
        """function(source, *arguments), computed once for each source, unless that is too large to keep."""
        if source.numel() > KEPT_PIXELS:
            return function(source, *arguments)
        key = function, id(source), *(id(item) if isinstance(item, torch.Tensor) else item for item in arguments)
        if key not in self.known:
            self.known[key] = function(source, *arguments), source, arguments  # held, so that their ids stay theirs
        return self.known[key][0]

    def of_sources(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """once() of the visible and of the infrared image."""
        return [self.once(function, source, *arguments) for source in self.sources]

    def planes(self) -> list[list[Triplet]]:
        """For each image a triplet of each of its channels, [1, 1, H, W]: what a processor's cache can hold."""
        sources = [self.once(_planes, source) for source in self.sources]
        return [
            [
                Triplet(plane, *(side[number][channel % len(side[number])] for side in sources), known)
                for channel, plane in enumerate(planes)
            ]
            for number, planes in enumerate(_planes(self.fused))
            for known in [self.known if len(self.fused) == 1 else {}]
        ]

    @cached_property
    def sources(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.visible, self.infrared

    @cached_property
    def fused_histogram(self) -> torch.Tensor:
        return histogram(self.fused, LEVELS)

    @cached_property
    def source_histograms(self) -> list[torch.Tensor]:
        return self.of_sources(histogram, LEVELS)

    @cached_property
    def rescaled(self) -> Triplet:
        """The same images, each channel stretched to 0..255."""
        return Triplet(rescale(self.fused), *self.of_sources(rescale), self.known)
