"""Average precision of detections by the COCO protocol, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Boxes:
    """Of one image, pixels: boxes [n, 4] left, top, right, bottom; labels [n]; what = scores [n] of detections, or
    for the truth [n] bool whether each is ignored (finding it counts neither for nor against)."""

    boxes: np.ndarray
    labels: np.ndarray
    what: np.ndarray


@dataclass(frozen=True)
class Precision:
    """map: mean over classes and IoU thresholds 0.50:0.05:0.95; ap50: at 0.50 alone; by_class: AP at 0.50, nan for
    a class without truth; boxes: of each class in the truth, without the ignored. All in [0, 1], higher is better."""

    map: float
    ap50: float
    by_class: dict[str, float]
    boxes: dict[str, int]


def average_precision(truth: Sequence[Boxes], found: Sequence[Boxes], classes: Sequence[str]) -> Precision:
    """COCO average precision (Lin et al., 2014; 101 recall points, all areas, 100 detections an image at most).

    Needs pycocotools: ValueError with the remedy where it is not installed."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise ValueError("average precision needs pycocotools: python -m pip install pycocotools") from None
    images = [{"id": k} for k in range(len(truth))]
    categories = [{"id": k, "name": name} for k, name in enumerate(classes, start=1)]
    annotations = [
        {"id": 0, "image_id": k, "category_id": int(label) + 1, "bbox": _coco(box), "iscrowd": int(ignored)}
        for k, image in enumerate(truth)
        for box, label, ignored in zip(image.boxes, image.labels, image.what, strict=True)
    ]
    for number, note in enumerate(annotations, start=1):  # 0 would read as "matched nothing"
        note |= {"id": number, "area": note["bbox"][2] * note["bbox"][3]}
    results = [
        {"image_id": k, "category_id": int(label) + 1, "bbox": _coco(box), "score": float(score)}
        for k, image in enumerate(found)
        for box, label, score in zip(image.boxes, image.labels, image.what, strict=True)
    ]
    counts = dict.fromkeys(classes, 0)
    for note in annotations:
        counts[classes[note["category_id"] - 1]] += 1 - note["iscrowd"]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        reference = COCO()
        reference.dataset = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
        reference.createIndex()
        if not results:
            return Precision(0.0, 0.0, {name: 0.0 if counts[name] else float("nan") for name in classes}, counts)
        evaluation = COCOeval(reference, reference.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # [thresholds, recalls, classes]
    table = np.where(precision > -1, precision, np.nan).mean(axis=1)  # [thresholds, classes]
    by_class = {name: float(table[0, k]) for k, name in enumerate(classes)}
    seen = table[:, ~np.isnan(table[0])]
    if not seen.size:
        return Precision(float("nan"), float("nan"), by_class, counts)
    return Precision(float(seen.mean()), float(seen[0].mean()), by_class, counts)


def _coco(box: np.ndarray) -> list[float]:
    left, top, right, bottom = (float(number) for number in box)
    return [left, top, right - left, bottom - top]
