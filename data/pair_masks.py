"""The salient-target mask of a pair: its mask image, its annotations, or a guess from its thermal image."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from data.coco import labelled_size, read_coco
from data.coco_entries import Entry
from data.files import name_key
from data.images import read_labels
from data.layouts import Pair
from data.masks import from_boxes, from_runs, from_segments, from_thermal

ANNOTATIONS = ("coco.json", "thermal_annotations.json")
NOT_HOT = frozenset({"light", "traffic light", "sign", "street sign", "stop sign", "hydrant", "fire hydrant"})


@dataclass(frozen=True)
class Labels:
    """What a COCO file says of an image: its annotations of salient things, and its entry."""

    notes: list[Entry]
    image: Entry


@lru_cache(maxsize=8)
def _annotated(path: Path) -> dict[str, list[tuple[Path, Labels]]]:
    """COCO file -> (place, labels) of its images by stem."""
    coco = read_coco(path.parent, path.name, complete=False)
    hot = {key for key, name in coco.categories.items() if name.lower() not in NOT_HOT}
    found: dict[str, list[tuple[Path, Labels]]] = defaultdict(list)
    for image in coco.images:
        notes = [note for note in coco.annotations[image["id"]] if note["category_id"] in hot]
        found[name_key(PurePosixPath(image["file_name"]).stem)].append((coco.file(image), Labels(notes, image)))
    return found


def annotations_of(pair: Pair) -> Labels | None:
    """What the first annotation file that lists the infrared image says of it; None where none does.

    It is listed by its place, or else by a stem that no other image of the file has: labels of the 8-bit images are
    those of the counts beside them."""
    path = pair.infrared.path
    for file in (place / name for place in (path.parent.parent, path.parent) for name in ANNOTATIONS):
        listed = _annotated(file).get(name_key(path.stem), []) if file.is_file() else []
        here = [labels for place, labels in listed if len(listed) == 1 or place == path]
        if here:
            return here[0]
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


def _from_annotations(labels: Labels, size: tuple[int, int]) -> np.ndarray:
    """Outlines where there are any, else the box, in an image of (height, width)."""
    width, height = labelled_size(labels.image, size[::-1])
    scale = size[1] / width, size[0] / height
    mask = np.zeros(size, np.float32)
    for note in labels.notes:
        outlines = note.get("segmentation")
        if isinstance(outlines, dict):
            drawn = from_runs(outlines["counts"], tuple(outlines["size"]), size)
        elif outlines:
            drawn = from_segments([(np.reshape(o, (-1, 2)) * scale).ravel() for o in outlines], size)
        else:
            drawn = from_boxes([np.multiply(note["bbox"], scale * 2)], size)
        mask = np.maximum(mask, drawn)
    return mask
