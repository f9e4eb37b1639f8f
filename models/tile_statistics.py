"""Instance norm over tiles: statistics of the whole image, fixed before the first tile is made.

With statistics of its own, each tile would be normalised by itself, and no overlap hides the steps between tiles that
this makes. With fixed ones, an output pixel depends on its neighbourhood alone, so tiles that are seen with enough
around them join without any seam, whatever the statistics are; and the nearer these are to the whole image's, the
nearer the result is to that without tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from models.tiling import Tile


class TileNorm(nn.Module):
    """Instance norm of [N, C, H, W] by statistics that are taken from a sample, then fixed.

    sample: those of the inner part of all N images together, which are crops of one image. fixed: as before.
    measure: as fixed, while the moments of what each tile keeps are added up for `adopt`."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.mode: Literal["sample", "fixed", "measure"] = "sample"
        self.tile: Tile | None = None
        self.mean = self.variance = None
        self.moments: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> the same shape."""
        if self.mode == "sample":
            # What lies near the edge of a crop has seen the mirrored edge, of which the image has little.
            down, right = x.shape[-2] // 8, x.shape[-1] // 8
            inner = x[..., down : x.shape[-2] - down, right : x.shape[-1] - right].float()
            self.variance, self.mean = torch.var_mean(inner, (0, 2, 3), correction=0)
        elif self.mode == "measure":
            self.moments.append(self._moments(x))
        return F.batch_norm(x, self.mean, self.variance, training=False, eps=self.eps)

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
        """Take the statistics that were measured since the last call."""
        count, total, squares = torch.stack(self.moments).sum(0)
        mean = total / count
        self.mean, self.variance = mean.float(), (squares / count - mean.square()).clamp(min=0).float()
        self.moments = []


def with_tile_norms(network: nn.Module) -> list[TileNorm]:
    """Put a TileNorm in the place of each instance norm of a network; returns them, in order."""
    norms = []
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.InstanceNorm2d):
                norms.append(TileNorm(child.eps))
                module.add_module(name, norms[-1])
    return norms


@contextmanager
def measuring(norms: list[TileNorm]) -> Iterator[None]:
    """While in it, norms add up moments; at its end they adopt them."""
    for norm in norms:
        norm.mode = "measure"
    yield
    for norm in norms:
        norm.adopt()
        norm.mode = "fixed"
