"""What the detector learns from: its targets against a plain loop over boxes, and its losses."""

from __future__ import annotations

import math

import pytest
import torch

from models.detection.centre import STRIDE, to_boxes
from models.detection.loss import SPREAD, box_loss, detection_loss, heat_loss, make_targets

SIZE = (64, 96)
CPU = torch.device("cpu")
Targets = tuple[torch.Tensor, ...]
Labels = tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]


def targets_by_a_loop(boxes: list, labels: list, ignored: list, classes: int, size: tuple[int, int]) -> Targets:
    """What make_targets promises: box after box, the largest first, each drawn over those before."""
    height, width = size[0] // STRIDE, size[1] // STRIDE
    heat = torch.zeros(len(boxes), classes, height, width)
    care = torch.ones(len(boxes), classes, height, width)
    target = torch.zeros(len(boxes), 4, height, width)
    weight = torch.zeros(len(boxes), height, width)
    for n, corners in enumerate(boxes):
        areas = [float((row[2] - row[0]) * (row[3] - row[1])) for row in corners]
        for k in sorted(range(len(areas)), key=lambda k: -areas[k]):
            left, top, right, bottom = corners[k].tolist()
            kind = int(labels[n][k])
            if ignored[n][k]:
                rows = slice(max(0, math.floor(top / STRIDE)), max(0, math.ceil(bottom / STRIDE)))
                columns = slice(max(0, math.floor(left / STRIDE)), max(0, math.ceil(right / STRIDE)))
                care[n, kind, rows, columns] = 0
                continue
            x = min(int((left + right) / 2 / STRIDE), width - 1)
            y = min(int((top + bottom) / 2 / STRIDE), height - 1)
            reach_x, reach_y = int((right - left) / STRIDE / 2 * SPREAD), int((bottom - top) / STRIDE / 2 * SPREAD)
            rows = range(max(0, y - reach_y), min(height, y + reach_y + 1))
            columns = range(max(0, x - reach_x), min(width, x + reach_x + 1))
            wide, high = (2 * reach_x + 1) / 6, (2 * reach_y + 1) / 6
            bump = {
                (i, j): math.exp(-(((i - y) / high) ** 2 + ((j - x) / wide) ** 2) / 2) for i in rows for j in columns
            }
            share = max(1.0, math.log(max(areas[k], 1.0))) / (sum(bump.values()) or 1.0)
            for (i, j), value in bump.items():
                heat[n, kind, i, j] = max(float(heat[n, kind, i, j]), value)
                target[n, :, i, j] = corners[k]
                weight[n, i, j] = value * share
    care[heat == 1] = 1
    return heat, care, target, weight


def some(counts: list[int], seed: int, classes: int, sides: tuple[float, float], beyond: float = 0.0) -> Labels:
    """Boxes with centres in the image or up to `beyond` of its sides outside; sides: shortest and longest, pixels."""
    generator = torch.Generator().manual_seed(seed)
    limits = torch.tensor([SIZE[1], SIZE[0]])
    boxes, labels, ignored = [], [], []
    for n in counts:
        centre = (torch.rand(n, 2, generator=generator) * (1 + 2 * beyond) - beyond) * limits
        half = (sides[0] + torch.rand(n, 2, generator=generator) * (sides[1] - sides[0])) / 2
        corners = torch.cat([centre - half, centre + half], 1)
        boxes.append(corners if beyond else corners.minimum(limits.repeat(2)).clamp_min(0))
        labels.append(torch.randint(0, classes, (n,), generator=generator))
        ignored.append(torch.rand(n, generator=generator) < 0.2)
    return boxes, labels, ignored


def on_grid(rows: list[list[float]], skip: int = 0) -> Labels:
    """One image with boxes (left, top, right, bottom, label), in cells of the grid; the first `skip` are ignored."""
    table = torch.tensor(rows)
    return [table[:, :4] * STRIDE], [table[:, 4].long()], [torch.arange(len(rows)) < skip]


CASES = {
    "random": some([15, 7, 1], 0, 3, (3, 60)),
    "tiny": some([30, 5], 1, 2, (0.01, 3)),
    "larger than the image": some([4, 4], 2, 1, (100, 300)),
    "over the border": some([20, 20, 20], 3, 3, (3, 60), beyond=0.1),
    "many in the same cells": some([120], 4, 2, (3, 40)),
    "empty images among others": some([0, 6, 0, 0, 2, 0], 5, 2, (3, 60)),
    "all images empty": some([0, 0], 6, 2, (3, 60)),
    "equal areas": on_grid([[2, 2, 8, 6, 0], [3, 2, 9, 6, 1], [3, 3, 7, 9, 0], [4, 2, 10, 6, 0], [2, 2, 8, 6, 1]]),
    "the same box twice": on_grid([[2, 2, 8, 6, 0], [2, 2, 8, 6, 0]]),
    "within an ignored one": on_grid([[1, 1, 20, 12, 0], [0, 10, 30, 20, 1], [4, 4, 10, 8, 0], [9, 3, 13, 7, 1]], 2),
    "no extent": on_grid([[3, 3, 3, 3, 0], [5, 5, 5, 9, 0], [24, 16, 24, 16, 1]]),
}


@pytest.mark.parametrize("cells", [2**19, 2 * 16 * 24, 1])
@pytest.mark.parametrize("case", CASES)
def test_targets_are_those_of_a_loop_over_boxes(case: str, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.detection.loss.CELLS_AT_ONCE", cells)
    expected = targets_by_a_loop(*CASES[case], 3, SIZE)
    heat, care, box, weight = make_targets(*CASES[case], 3, SIZE, CPU)
    assert torch.equal(care, expected[1]) and torch.equal(box, expected[2])
    assert torch.equal(heat == 1, expected[0] == 1) and torch.equal(heat > 0, expected[0] > 0)
    torch.testing.assert_close(heat, expected[0], rtol=1e-5, atol=0)
    torch.testing.assert_close(weight, expected[3], rtol=1e-5, atol=0)


def test_targets_lie_where_the_boxes_are() -> None:
    boxes = [torch.tensor([[16.0, 8.0, 80.0, 40.0], [40.0, 20.0, 52.0, 28.0], [0.0, 48.0, 16.0, 64.0]])]
    labels, ignored = [torch.tensor([1, 0, 0])], [torch.tensor([0, 0, 1]).bool()]
    heat, care, target, weight = make_targets(boxes, labels, ignored, 2, SIZE, CPU)
    assert heat.shape == (1, 2, 16, 24) and (heat == 1).sum() == 2
    assert heat[0, 1, 6, 12] == 1 and heat[0, 0, 6, 11] == 1
    assert 0 < heat[0, 1, 6, 15] < 1 and heat[0, 1, 6, 15] == pytest.approx(float(heat[0, 1, 6, 9]))
    assert care[0, 0, 12:, :4].sum() == 0 and care.sum() == care.numel() - 16
    assert target[0, :, 6, 11].tolist() == boxes[0][1].tolist()  # the smaller one has the shared cell
    assert target[0, :, 6, 15].tolist() == boxes[0][0].tolist() and weight[0, 0, 0] == 0


def test_losses_are_lowest_at_the_truth() -> None:
    boxes = [torch.tensor([[16.0, 8.0, 80.0, 40.0]])]
    heat, care, target, weight = make_targets(boxes, [torch.tensor([0])], [torch.tensor([False])], 1, SIZE, CPU)
    sure = torch.where(heat == 1, 20.0, -20.0)
    assert heat_loss(sure, heat, care) < 1e-6 < heat_loss(-sure, heat, care)
    y, x = torch.meshgrid(torch.arange(16) * 4 + 2.0, torch.arange(24) * 4 + 2.0, indexing="ij")
    exact = torch.stack([x - 16, y - 8, 80 - x, 40 - y])[None]
    assert torch.equal(to_boxes(exact)[0, :, 5, 7], boxes[0][0])
    assert box_loss(exact, target, weight) == pytest.approx(0, abs=1e-5)
    assert box_loss(exact + 4, target, weight) > 0.1
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0).bool()
    empty = make_targets(*([part] for part in none), 1, SIZE, CPU)
    terms = detection_loss((torch.full((1, 1, 16, 24), -3.0, requires_grad=True), exact), empty)
    assert torch.isfinite(terms["heat"]) and terms["box"] == 0


@pytest.mark.cuda
@pytest.mark.parametrize("case", CASES)
def test_targets_on_cuda(case: str) -> None:
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = make_targets(*CASES[case], 3, SIZE, torch.device("cuda"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for mine, expected in zip(found, make_targets(*CASES[case], 3, SIZE, CPU), strict=True):
        torch.testing.assert_close(mine.cpu(), expected, rtol=1e-5, atol=0)
