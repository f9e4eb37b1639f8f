"""Average precision of detections by the COCO protocol, computed by torchmetrics with pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch

THRESHOLDS = np.linspace(0.5, 0.95, 10).tolist()
RECALLS = np.linspace(0, 1, 101).tolist()  # torchmetrics' own are rounded to float32, which misses some by one step


@dataclass(frozen=True)
class Boxes:
    """Of one image, pixels: boxes [n, 4] left, top, right, bottom; labels [n]; what = scores [n] of detections, or
    for the truth [n] bool whether each is ignored (finding it counts neither for nor against)."""

    boxes: np.ndarray
    labels: np.ndarray
    what: np.ndarray

    def tensors(self, what: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """Return the boxes, labels and, under the name `what` and as dtype, the third column for torchmetrics."""
        boxes, labels = torch.as_tensor(self.boxes, dtype=torch.float32), torch.as_tensor(self.labels)
        return {"boxes": boxes.reshape(-1, 4), "labels": labels.long(), what: torch.as_tensor(self.what).to(dtype)}


@dataclass(frozen=True)
class Precision:
    """map: mean over classes and IoU thresholds 0.50:0.05:0.95; ap50: at 0.50 alone; by_class: AP at 0.50, nan for
    a class without truth; boxes: of each class in the truth, without the ignored. All in [0, 1], higher is better."""

    map: float
    ap50: float
    by_class: dict[str, float]
    boxes: dict[str, int]


def average_precision(truth: Sequence[Boxes], found: Sequence[Boxes], classes: Sequence[str]) -> Precision:
    """Return the COCO average precision (Lin et al., 2014; 101 recall points, all areas, 100 detections an image at
    most) of what was found in each image beside its truth."""
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(iou_thresholds=THRESHOLDS, rec_thresholds=RECALLS, extended_summary=True)
    metric.warn_on_many_detections = False
    metric.update(
        [boxes.tensors("scores", torch.float32) for boxes in found],
        [boxes.tensors("iscrowd", torch.int64) for boxes in truth],
    )
    scores = metric.compute()
    tables = scores["precision"][..., 0, -1].unbind(2)  # [thresholds, recalls] of each class that occurs
    of_class = dict(zip(scores["classes"].flatten().tolist(), tables, strict=True))
    labels = [label for image in truth for label in image.labels[~image.what.astype(bool)].tolist()]
    counts = {name: labels.count(k) for k, name in enumerate(classes)}
    by_class = {name: float(of_class[k][0].mean()) if counts[name] else np.nan for k, name in enumerate(classes)}
    known = [k for k, name in enumerate(classes) if counts[name]]
    if not known:
        return Precision(np.nan, np.nan, by_class, counts)
    mean, at_half = (fmean(float(of_class[k][at].mean()) for k in known) for at in (slice(None), 0))
    return Precision(mean, at_half, by_class, counts)
