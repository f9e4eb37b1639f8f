"""The salient-target mask of a pair: its mask image, its annotations, or a guess from its thermal image."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from data.images import read_labels
from data.layouts import Pair
from data.masks import from_boxes, from_segments, from_thermal

ANNOTATIONS = ("coco.json", "thermal_annotations.json")
NOT_HOT = frozenset({"light", "traffic light", "sign", "street sign", "stop sign", "hydrant", "fire hydrant"})


@lru_cache(maxsize=8)
def _annotated(path: Path) -> dict[str, list[dict[str, Any]]]:
    """COCO file -> the annotations of salient things, by the stem of the image they belong to."""
    content = json.loads(path.read_text(encoding="utf-8"))
    stems = {image["id"]: Path(image["file_name"]).stem for image in content["images"]}
    names = {category["id"]: category["name"] for category in content["categories"]}
    found: dict[str, list[dict[str, Any]]] = {stem: [] for stem in stems.values()}
    for annotation in content["annotations"]:
        stem = stems.get(annotation["image_id"])
        if stem is not None and names.get(annotation["category_id"]) not in NOT_HOT:
            found[stem].append(annotation)
    return found


def annotations_of(pair: Pair) -> list[dict[str, Any]] | None:
    """COCO annotations of the infrared image; None where no annotation file lists it."""
    folder = pair.infrared.path.parent
    for path in (place / name for place in (folder.parent, folder) for name in ANNOTATIONS):
        if path.is_file():
            return _annotated(path).get(pair.infrared.path.stem)
    return None


def source_of(pair: Pair, wanted: str) -> str | None:
    """Where the mask comes from: "file", "boxes" or "thermal"; None where the wanted source has nothing."""
    if wanted in ("auto", "file") and pair.mask is not None:
        return "file"
    if wanted in ("auto", "boxes") and annotations_of(pair) is not None:
        return "boxes"
    return "thermal" if wanted in ("auto", "thermal") else None


def read_mask(pair: Pair, infrared: np.ndarray, wanted: str) -> np.ndarray:
    """[H, W] float32 in [0, 1] for the pair's infrared image [H, W]; a mask image keeps its own size.

    ValueError where the wanted source has nothing for this pair."""
    source = source_of(pair, wanted)
    if source == "file":
        return read_labels(pair.mask)
    if source == "boxes":
        return _from_annotations(annotations_of(pair), infrared.shape)
    if source == "thermal":
        return from_thermal(infrared)
    raise ValueError(f"--mask_source {wanted}: there is none for {pair.infrared.path}; auto or thermal needs nothing")


def _from_annotations(annotations: list[dict[str, Any]], size: tuple[int, int]) -> np.ndarray:
    """Outlines where there are polygons, else the box."""
    mask = np.zeros(size, np.float32)
    for annotation in annotations:
        outlines = annotation.get("segmentation") or []
        usable = isinstance(outlines, list) and all(isinstance(o, list) and len(o) >= 6 for o in outlines)
        drawn = from_segments(outlines, size) if outlines and usable else from_boxes([annotation["bbox"]], size)
        mask = np.maximum(mask, drawn)
    return mask
