"""What a fusion metric looks at: a fused image and its two sources, and what several metrics derive from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

LEVELS = 256


def histogram(values: torch.Tensor, bins: int) -> torch.Tensor:
    """[..., H, W] integers in [0, bins) -> [..., bins] float64, the share of pixels in each bin."""
    rows = values.flatten(-2).long().reshape(-1, values.shape[-2] * values.shape[-1])
    offsets = bins * torch.arange(len(rows), device=rows.device)
    counts = torch.bincount((rows + offsets[:, None]).flatten(), minlength=bins * len(rows))
    return counts.reshape(*values.shape[:-2], bins).double() / rows.shape[-1]


def half_up(values: torch.Tensor) -> torch.Tensor:
    """Nearest whole numbers. Halves to even, as torch rounds, would leave a mean of two images few odd levels."""
    return torch.floor(values + 0.5)


def rescale(image: torch.Tensor) -> torch.Tensor:
    """[..., H, W] -> whole numbers, least value at 0 and greatest at 255; a flat image becomes 0."""
    low, high = image.amin((-2, -1), keepdim=True), image.amax((-2, -1), keepdim=True)
    span = torch.where(high > low, high - low, 1.0)
    return half_up((image - low) / span * 255)


@dataclass(frozen=True)
class Triplet:
    """Fused image and sources: [N, C, H, W] float64, whole numbers in 0..255, C alike or 1.

    The metrics score every channel by itself: [N, C]."""

    fused: torch.Tensor
    visible: torch.Tensor
    infrared: torch.Tensor

    @cached_property
    def sources(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.visible, self.infrared

    @cached_property
    def fused_histogram(self) -> torch.Tensor:
        return histogram(self.fused, LEVELS)

    @cached_property
    def source_histograms(self) -> list[torch.Tensor]:
        return [histogram(source, LEVELS) for source in self.sources]

    @cached_property
    def rescaled(self) -> Triplet:
        """The same images, each channel stretched to 0..255."""
        return Triplet(rescale(self.fused), rescale(self.visible), rescale(self.infrared))
