"""Detectors by name, with one way to train and to use them: losses(images, ...) and find(images)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_fpn

from models.detection.centre import CentreDetector, find_objects
from models.detection.loss import detection_loss, make_targets
from util.device import Device

Found = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Tensors = Sequence[torch.Tensor]
Terms = dict[str, torch.Tensor]


class Detector(Protocol):
    """A network and how it learns. Images float32 [N, 1, H, W], standardised; boxes [n, 4] left, top, right, bottom in
    pixels, labels [n] from 0, ignored [n], for each image."""

    network: nn.Module

    def losses(self, images: torch.Tensor, boxes: Tensors, labels: Tensors, ignored: Tensors) -> Terms: ...

    def find(self, images: torch.Tensor) -> list[Found]: ...


class Centre:
    """The detector of models/detection/centre.py."""

    def __init__(self, classes: int, size: tuple[int, int], device: Device) -> None:
        self.classes, self.size, self.device = classes, size, device
        self.network: nn.Module = device.place(CentreDetector(classes))

    def losses(self, images: torch.Tensor, boxes: Tensors, labels: Tensors, ignored: Tensors) -> Terms:
        """{"heat", "box"}, terms to lower."""
        targets = make_targets(boxes, labels, ignored, self.classes, self.size, images.device)
        with self.device.autocast():
            output = self.network(images)
        return detection_loss(output, targets)

    def find(self, images: torch.Tensor) -> list[Found]:
        """For each image (boxes [n, 4], scores [n], labels [n]), best first."""
        with self.device.autocast():
            output = self.network(images)
        return list(zip(*find_objects(*output), strict=True))


class FasterRcnn:
    """torchvision's Faster R-CNN (Ren et al., 2015) on MobileNetV3 with a feature pyramid, from random weights and in
    float32. It knows no ignored boxes: they are left out, and count as background."""

    def __init__(self, classes: int, size: tuple[int, int], device: Device) -> None:
        self.device = device
        sizes = {"min_size": min(size), "max_size": max(size), "image_mean": [0.0] * 3, "image_std": [1.0] * 3}
        network = fasterrcnn_mobilenet_v3_large_fpn(
            weights=None, weights_backbone=None, num_classes=classes + 1, box_score_thresh=0.01, **sizes
        )
        self.network: nn.Module = network.to(device.device)

    def losses(self, images: torch.Tensor, boxes: Tensors, labels: Tensors, ignored: Tensors) -> Terms:
        """torchvision's four terms to lower."""
        found = zip(boxes, labels, ignored, strict=True)
        kept = [(box[~skip], label[~skip] + 1) for box, label, skip in found]
        moved = ([part.to(images.device, non_blocking=True) for part in pair] for pair in kept)
        targets = [{"boxes": box, "labels": label} for box, label in moved]
        return self.network(list(images.expand(-1, 3, -1, -1)), targets)

    def find(self, images: torch.Tensor) -> list[Found]:
        """For each image (boxes [n, 4], scores [n], labels [n]), best first."""
        found = self.network(list(images.expand(-1, 3, -1, -1)))
        return [(item["boxes"], item["scores"], item["labels"] - 1) for item in found]


DETECTORS: dict[str, Any] = {"centre": Centre, "fasterrcnn_mobilenet": FasterRcnn}
