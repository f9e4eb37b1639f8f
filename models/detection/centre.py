"""A small detector of objects in grey images, trained from nothing: centres and sides on a grid of stride 4.

After "Objects as Points" (CenterNet; Zhou, Wang and Kraehenbuehl, arXiv 1904.07850): a heat map for each class whose
peaks are objects. A box is read at its peak as four distances, as in TTFNet (Liu et al., AAAI 2020, arXiv 1909.00700),
which learns in a fraction of the steps."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import clip_boxes_to_image

STRIDE = 4
SHARE_OF_OBJECTS = 0.01  # what an untrained network says of each place, as in RetinaNet (Lin et al., 2017)
DISTANCE = 16.0  # pixels of a distance for one unit of the network


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Group norms, not batch norms: what a network trained on one kind of images does with another kind must not
    hang on means and deviations of the first."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(8, outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """x + two convolutions of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.GroupNorm(8, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x + self.second(self.first(x)))


class CentreDetector(nn.Module):
    """Grey [N, 1, H, W], standardised, sides multiples of 32 -> (heat logits [N, classes, H/4, W/4], distances from
    the place to the box's left, top, right, bottom [N, 4, H/4, W/4] >= 0, pixels)."""

    def __init__(self, classes: int, widths: tuple[int, ...] = (16, 32, 64, 96, 128), neck: int = 48) -> None:
        """widths: channels at strides 2, 4, 8, 16, 32; neck: those at stride 4 that the heads read."""
        super().__init__()
        self.stem = _conv(1, widths[0], 2)
        self.stages = nn.ModuleList(
            nn.Sequential(_conv(a, b, 2), Residual(b)) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, neck, 1) for width in widths[1:])
        self.smooth = nn.ModuleList(_conv(neck, neck) for _ in widths[2:])
        self.heat = nn.Sequential(_conv(neck, neck), nn.Conv2d(neck, classes, 1))
        self.sides = nn.Sequential(_conv(neck, neck), nn.Conv2d(neck, 4, 1))
        nn.init.constant_(self.heat[-1].bias, -math.log((1 - SHARE_OF_OBJECTS) / SHARE_OF_OBJECTS))
        nn.init.normal_(self.heat[-1].weight, std=0.01)
        nn.init.normal_(self.sides[-1].weight, std=0.01)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, levels = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        x = self.lateral[-1](levels[-1])
        for level, lateral, smooth in zip(levels[-2::-1], self.lateral[-2::-1], self.smooth, strict=True):
            x = smooth(functional.interpolate(x, scale_factor=2.0) + lateral(level))
        return self.heat(x).float(), functional.softplus(self.sides(x).float()) * DISTANCE


def places(height: int, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Middles x [h, w], y [h, w], in pixels, of the cells of a grid of h x w cells."""
    rows, columns = (torch.arange(cells, device=device) for cells in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return (x + 0.5) * STRIDE, (y + 0.5) * STRIDE


def to_boxes(distances: torch.Tensor) -> torch.Tensor:
    """[N, 4, h, w] as of CentreDetector -> boxes [N, 4, h, w]: left, top, right, bottom, pixels."""
    x, y = places(distances.shape[-2], distances.shape[-1], distances.device)
    left, top, right, bottom = distances.unbind(1)
    return torch.stack([x - left, y - top, x + right, y + bottom], dim=1)


def find_objects(
    heat: torch.Tensor, distances: torch.Tensor, most: int = 100
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(boxes [N, most, 4], scores [N, most] in [0, 1], labels [N, most]), best first: the peaks of the heat maps,
    each the highest of its 3 x 3 cells."""
    count, classes, height, width = heat.shape
    scores = heat.sigmoid()
    scores = scores * (functional.max_pool2d(scores, 3, 1, 1) == scores)
    best, where = scores.flatten(1).topk(min(most, classes * height * width))
    label, cell = where // (height * width), where % (height * width)
    boxes = to_boxes(distances).flatten(2).gather(2, cell[:, None].expand(-1, 4, -1)).transpose(1, 2)
    return clip_boxes_to_image(boxes, (height * STRIDE, width * STRIDE)), best, label
