"""What teaches the detector of models/detector.py: heat maps around centres, and boxes by their overlap."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from models.detector import STRIDE, to_boxes

SPREAD = 0.54  # share of a box that its heat covers (alpha = beta of TTFNet)
BOX_WEIGHT = 5.0  # of the box loss beside the heat loss, as in TTFNet


def make_targets(
    boxes: Sequence[torch.Tensor], labels: Sequence[torch.Tensor], ignored: Sequence[torch.Tensor], classes: int,
    size: tuple[int, int],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """For images of size (H, W): heat [N, classes, h, w] in [0, 1], exactly 1 at the cell of a centre; care
    [N, classes, h, w], 0 in ignored boxes; box [N, 4, h, w], pixels; weight [N, h, w] of each cell's box.

    The heat of a box is a Gaussian as wide as the box, as in TTFNet (arXiv 1909.00700); where boxes share a cell the
    smaller one has it."""
    height, width = size[0] // STRIDE, size[1] // STRIDE
    heat = torch.zeros(len(boxes), classes, height, width)
    care = torch.ones(len(boxes), classes, height, width)
    target = torch.zeros(len(boxes), 4, height, width)
    weight = torch.zeros(len(boxes), height, width)
    for n, (corners, label, skip) in enumerate(zip(boxes, labels, ignored, strict=True)):
        areas = (corners[:, 2:] - corners[:, :2]).prod(1)
        for k in areas.argsort(descending=True).tolist():
            left, top, right, bottom = corners[k].tolist()
            kind = int(label[k])
            if skip[k]:
                rows = slice(int(top // STRIDE), int(-(-bottom // STRIDE)))
                care[n, kind, rows, int(left // STRIDE) : int(-(-right // STRIDE))] = 0
                continue
            x = min(int((left + right) / 2 / STRIDE), width - 1)
            y = min(int((top + bottom) / 2 / STRIDE), height - 1)
            reach_x = int((right - left) / STRIDE / 2 * SPREAD)
            reach_y = int((bottom - top) / STRIDE / 2 * SPREAD)
            x0, x1 = max(0, x - reach_x), min(width, x + reach_x + 1)
            y0, y1 = max(0, y - reach_y), min(height, y + reach_y + 1)
            across = (torch.arange(x0, x1) - x) / ((2 * reach_x + 1) / 6)
            down = (torch.arange(y0, y1) - y) / ((2 * reach_y + 1) / 6)
            bump = torch.exp(-(across[None] ** 2 + down[:, None] ** 2) / 2)
            area = heat[n, kind, y0:y1, x0:x1]
            torch.maximum(area, bump, out=area)
            target[n, :, y0:y1, x0:x1] = corners[k][:, None, None]
            # A large box has many cells: each box counts as the logarithm of its area, as in TTFNet.
            weight[n, y0:y1, x0:x1] = bump / bump.sum() * max(1.0, float(areas[k].clamp_min(1).log()))
    care[heat == 1] = 1  # an object to be found within what is ignored is found all the same
    return heat, care, target, weight


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
