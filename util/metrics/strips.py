"""Large images by strips of rows: the memory that a metric takes does not grow with the image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

STRIP_PIXELS = 1 << 21  # of a strip; SSIM takes some 200 MB for so many


def strips(height: int, width: int, pixels: int) -> list[slice]:
    """Rows that follow each other, in parts of about the same height and of some `pixels` at most; all begin at an
    even row. One part where the image has no more."""
    pairs = height // 2
    count = max(1, min(pairs, math.ceil(height * width / pixels)))
    edges = [2 * (pairs * i // count) for i in range(count)] + [height]
    return [slice(*both) for both in zip(edges[:-1], edges[1:], strict=True)]


def means_of_maps(
    maps: Callable[[torch.Tensor, torch.Tensor], Sequence[torch.Tensor]],
    a: torch.Tensor,
    b: torch.Tensor,
    lost: int = 0,
) -> list[torch.Tensor]:
    """Means [N], float64, of each of the maps [N, 1, H - lost, W'] of two images [N, 1, H, W], a value of which
    depends on `lost` + 1 rows."""
    height, width = a.shape[-2:]
    sums, count = [], 0
    for rows in strips(height - lost, width, STRIP_PIXELS):
        parts = maps(*(image[..., rows.start : rows.stop + lost, :] for image in (a, b)))
        sums.append([part.sum((1, 2, 3), dtype=torch.float64) for part in parts])
        count += parts[0][0].numel()
    return [sum(of_one) / count for of_one in zip(*sums, strict=True)]


def by_strips(function: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    """function(image) of [..., H, W], for a function that sees pairs of rows, or rows, alone."""
    height, width = image.shape[-2:]
    parts = [function(image[..., rows, :]) for rows in strips(height, width, STRIP_PIXELS)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -2)
