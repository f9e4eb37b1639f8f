"""What teaches the detector of models/detection/centre.py: heat maps around centres, and boxes by their overlap."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import pad

from models.detection.centre import STRIDE, to_boxes

SPREAD = 0.54  # share of a box that its heat covers (alpha = beta of TTFNet)
BOX_WEIGHT = 5.0  # of the box loss beside the heat loss, as in TTFNet
Tensors = Sequence[torch.Tensor]
CELLS_AT_ONCE = 2**19  # of the grids of boxes, 4 bytes each


def make_targets(
    boxes: Tensors, labels: Tensors, ignored: Tensors, classes: int, size: tuple[int, int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """For N images of size (H, W): heat [N, classes, h, w] in [0, 1], exactly 1 at the cell of a centre; care
    [N, classes, h, w], 0 in ignored boxes; box [N, 4, h, w], pixels; weight [N, h, w] of each cell's box.

    The heat of a box is a Gaussian as wide as the box, as in TTFNet (arXiv 1909.00700); where boxes share a cell the
    smaller one has it. All is made on the device, and the host never waits for it."""
    count, (height, width) = len(boxes), (side // STRIDE for side in size)
    table = _listed(boxes, labels, ignored).to(device, non_blocking=True)
    table = table[_areas(table).argsort(descending=True, stable=True)]
    corners, image, kind, skip = table[:, :4], table[:, 4].long(), table[:, 5].long(), table[:, 6].bool()
    down = _heat_along(corners[:, 1], corners[:, 3], skip, height)
    across = _heat_along(corners[:, 0], corners[:, 2], skip, width)
    group = (skip * count + image) * classes + kind
    heat, unclear = _largest(down, across, group, 2 * count * classes).view(2, count, classes, height, width)
    care = (unclear <= heat).float()  # an object to be found within what is ignored is found all the same

    # Sorted from the largest on, each box has the cells that no later one has. 0 stands for no box at all.
    number = torch.where(skip, 0.0, torch.arange(1.0, len(table) + 1, device=device))
    owner = _largest((down > 0) * number[:, None], (across > 0).float(), image, count).long()
    # A large box has many cells: each box counts as the logarithm of its area, as in TTFNet.
    share = _areas(table).clamp_min(1).log().clamp_min(1) / (down.sum(1) * across.sum(1))
    down, across, corners = (pad(rows.float(), (0, 0, 1, 0)) for rows in (down * share[:, None], across, corners))
    grid = (-1, height, width)
    weight = down[:, :, None].expand(grid).gather(0, owner).mul_(across[:, None].expand(grid).gather(0, owner))
    box = corners.T.expand(count, 4, -1).gather(2, owner.view(count, 1, -1).expand(-1, 4, -1))
    return heat, care, box.view(count, 4, height, width), weight


def _listed(
    boxes: Sequence[torch.Tensor], labels: Sequence[torch.Tensor], ignored: Sequence[torch.Tensor]
) -> torch.Tensor:
    """All boxes in one table, which travels to a device at once: left, top, right, bottom, number of the image, label,
    ignored [n, 7]. In float64 the cells of the table's boxes come out as the exact ones."""
    images = torch.cat([torch.full((len(rows),), place) for place, rows in enumerate(boxes)])
    others = [images, torch.cat(list(labels)), torch.cat(list(ignored))]
    return torch.cat([torch.cat(list(boxes)).double(), torch.stack([column.double() for column in others], 1)], 1)


def _areas(table: torch.Tensor) -> torch.Tensor:
    corners = table[:, :4].float()
    return (corners[:, 2:] - corners[:, :2]).prod(1)


def _heat_along(first: torch.Tensor, last: torch.Tensor, skip: torch.Tensor, cells: int) -> torch.Tensor:
    """Of boxes from `first` [n] to `last` [n], pixels, along one side of a grid: their heat [n, cells], which for those
    to skip is 1 in every cell they touch. The heat of a box on the grid is the product of both sides'."""
    cell = torch.arange(cells, device=first.device)
    middle = ((first + last) / 2 / STRIDE).trunc().clamp_max(cells - 1)
    reach = ((last - first) / STRIDE / 2 * SPREAD).trunc().float()[:, None]
    off = (cell - middle[:, None]).float()
    heat = torch.where(off.abs() <= reach, torch.exp(-((off / ((2 * reach + 1) / 6)) ** 2) / 2), 0.0)
    touched = (cell >= (first / STRIDE).floor()[:, None]) & (cell < (last / STRIDE).ceil()[:, None])
    return torch.where(skip[:, None], touched.float(), heat)


def _largest(down: torch.Tensor, across: torch.Tensor, group: torch.Tensor, groups: int) -> torch.Tensor:
    """[groups, h, w]: at each cell the largest of the products down [n, h] x across [n, w], all >= 0, of the boxes of
    a group; group: [n], numbers. So many at a time that memory stays small."""
    height, width = down.shape[1], across.shape[1]
    largest = torch.zeros(groups, height * width, device=down.device)
    some = max(1, CELLS_AT_ONCE // (height * width))
    room = torch.empty(min(some, len(down)), height, width, device=down.device)
    for rows, columns, numbers in zip(down.split(some), across.split(some), group.split(some), strict=True):
        grids = torch.mul(rows[:, :, None], columns[:, None], out=room[: len(rows)]).flatten(1)
        largest.scatter_reduce_(0, numbers[:, None].expand_as(grids), grids, "amax")
    return largest.view(groups, height, width)


def heat_loss(logits: torch.Tensor, heat: torch.Tensor, care: torch.Tensor) -> torch.Tensor:
    """CenterNet's penalty-reduced focal loss (alpha 2, beta 4; arXiv 1904.07850, eq. 1), divided by the number of
    objects: cells near a centre are forgiven."""
    sure, unsure = torch.nn.functional.logsigmoid(logits), torch.nn.functional.logsigmoid(-logits)
    share = logits.sigmoid()
    centre = heat == 1
    positive = torch.where(centre, (1 - share) ** 2 * sure, 0.0)
    negative = torch.where(centre, 0.0, (1 - heat) ** 4 * share**2 * unsure)
    return -((positive + negative) * care).sum() / centre.sum().clamp_min(1)


def box_loss(distances: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """1 - GIoU (Rezatofighi et al., CVPR 2019), the mean over cells by their weights."""
    boxes = to_boxes(distances)
    x0, y0, x1, y1 = boxes.unbind(1)
    u0, v0, u1, v1 = target.unbind(1)
    inner = (torch.minimum(x1, u1) - torch.maximum(x0, u0)).clamp_min(0) * (
        torch.minimum(y1, v1) - torch.maximum(y0, v0)
    ).clamp_min(0)
    union = (x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0) - inner
    hull = (torch.maximum(x1, u1) - torch.minimum(x0, u0)) * (torch.maximum(y1, v1) - torch.minimum(y0, v0))
    overlap = inner / union.clamp_min(1e-6) - (hull - union) / hull.clamp_min(1e-6)
    return ((1 - overlap) * weight).sum() / weight.sum().clamp_min(1e-6)


def detection_loss(
    output: tuple[torch.Tensor, torch.Tensor], targets: Sequence[torch.Tensor]
) -> dict[str, torch.Tensor]:
    """{"heat", "box"}: the terms to lower, of the detector's output and make_targets' four tensors."""
    heat, care, target, weight = targets
    return {
        "heat": heat_loss(output[0], heat, care),
        "box": BOX_WEIGHT * box_loss(output[1], target, weight),
    }
