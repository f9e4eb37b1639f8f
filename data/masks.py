"""Salient-target masks for STDFusionNet: of a pair's mask image, of boxes or outlines of objects, of its label
image, or a guess from its thermal image.

A mask is [H, W] float32, 1 on targets and 0 elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from scipy import ndimage

from data.coco import labelled_size, read_coco
from data.coco_entries import Entry
from data.files import name_key
from data.images import read_classes, read_labels
from data.layouts import Pair
from options.data import DataOptions, class_numbers
from util.files import stamp

CLIPPED = (1.0, 99.7)
"""Percentiles of the image shown black and white before anything is measured."""
WINDOWS = (1 / 16, 1 / 8, 1 / 4)
"""Reach of the neighbourhoods a pixel is compared with, in shorter sides of the image."""
GLOBAL_SHARE = 0.1
"""How much being hotter than most of the image counts against being hotter than the surroundings."""
WEAK = 0.25
"""Saliency, of the largest, that a region's pixels need."""
STRONG = 0.35
"""Score, of the best region's, that a region needs."""
AREA = (3e-4, 0.1)
"""Smallest and largest region, in images."""

REACH = 1e5
"""Farthest end of an outline, in pixels; beyond, it is bent."""

ANNOTATIONS = ("coco.json", "thermal_annotations.json")
NOT_HOT = frozenset({"light", "traffic light", "sign", "street sign", "stop sign", "hydrant", "fire hydrant"})
Size = tuple[int, int]


def from_thermal(infrared: np.ndarray) -> np.ndarray:
    """Hot things that stand out: infrared [H, W], uint8 or uint16, white hot -> mask [H, W].

    Saliency is contrast to the surroundings and to the whole image; of the regions above a weak threshold
    those with a strong peak and a sharp edge stay. Empty where nothing stands out. A guess: by day, roads and
    roofs are hot too, so annotations are better where there are any."""
    low, high = np.percentile(infrared, CLIPPED)
    if not high > low:
        return np.zeros(infrared.shape, np.float32)
    heat = np.clip((infrared.astype(np.float32) - low) / (high - low), 0, 1)
    heat = ndimage.gaussian_filter(heat, min(heat.shape) / 400)
    saliency = _saliency(heat)
    weak = saliency > WEAK
    regions, count = ndimage.label(weak, np.ones((3, 3)))
    if not count:
        return np.zeros(heat.shape, np.float32)
    kept = _stand_out(heat, saliency, weak, regions, count)
    return ndimage.binary_fill_holes(kept[regions]).astype(np.float32)


def _saliency(heat: np.ndarray) -> np.ndarray:
    """[H, W] in [0, 1] -> [H, W] at least 0, about 1 at the most salient pixels."""
    reaches = [2 * int(min(heat.shape) * share) + 1 for share in WINDOWS]
    around = np.min([ndimage.uniform_filter(heat, reach, mode="nearest") for reach in reaches], axis=0)
    local = np.clip(heat - around, 0, None)
    overall = np.clip(heat - np.median(heat), 0, None)
    saliency = overall**GLOBAL_SHARE * local ** (1 - GLOBAL_SHARE)
    return saliency / max(np.percentile(saliency, 99.9), 1e-6)


def _stand_out(heat: np.ndarray, saliency: np.ndarray, weak: np.ndarray, regions: np.ndarray, count: int) -> np.ndarray:
    """Which regions are targets: [count + 1] bool by region number, 0 being the background."""
    area = np.bincount(regions.ravel()) / heat.size
    peak = np.zeros(count + 1)
    np.maximum.at(peak, regions.ravel(), np.minimum(saliency, 1).ravel())
    border = weak & ~ndimage.binary_erosion(weak)
    edge = regions[border]
    slope = ndimage.gaussian_gradient_magnitude(heat, 1)[border]
    edge_length = np.bincount(edge, minlength=count + 1)
    sharpness = np.bincount(edge, slope, minlength=count + 1) / np.maximum(edge_length, 1)
    possible = (area >= AREA[0]) & (area <= AREA[1])
    possible[0] = False
    score = np.where(possible, peak**2 * sharpness, 0)
    return possible & (score >= STRONG * score.max())


def from_boxes(boxes: Sequence[Sequence[float]], size: Size) -> np.ndarray:
    """COCO boxes (left, top, width, height) in pixels, parts outside cut -> mask; size is (height, width)."""
    mask = np.zeros(size, np.float32)
    for box in boxes:
        left, top, width, height = box
        # Pixel i reaches from i to i + 1 and is inside where its middle is.
        ends = [max(0, round(end)) for end in (top, top + height, left, left + width)]
        mask[ends[0] : ends[1], ends[2] : ends[3]] = 1
    return mask


def from_segments(segments: Sequence[Sequence[float]], size: Size) -> np.ndarray:
    """COCO outlines, each (x0, y0, x1, y1, ...) in pixels -> mask, the pixels that pycocotools says; size is (height,
    width)."""
    from pycocotools import mask

    if not segments:
        return np.zeros(size, np.float32)
    # It walks along every pixel of an outline, however far outside.
    near = [np.clip(np.asarray(outline, np.float64), -REACH, REACH).tolist() for outline in segments]
    return mask.decode(mask.merge(mask.frPyObjects(near, *size))).astype(np.float32)


def from_runs(counts: Sequence[int], labelled: Size, size: Size) -> np.ndarray:
    """COCO run lengths, of 0 and 1 in turn down the columns of an image of `labelled` (height, width) -> mask of size
    (height, width), by the nearest pixel."""
    values = np.arange(len(counts)) % 2
    whole = np.repeat(values.astype(np.float32), counts).reshape(labelled[::-1]).T
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int) for old, new in zip(labelled, size, strict=True))
    return whole[rows[:, None], columns]


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


@dataclass(frozen=True)
class Masks:
    """Where the masks of pairs come from. wanted: --mask_source; classes: the numbers in label images that are
    targets."""

    wanted: str = "auto"
    classes: tuple[int, ...] = class_numbers("mask_classes", DataOptions.mask_classes)

    @classmethod
    def from_options(cls, options: DataOptions) -> Masks:
        """Those that the options name."""
        return cls(options.mask_source, class_numbers("mask_classes", options.mask_classes))

    def source_of(self, pair: Pair) -> str | None:
        """The first of "file", "boxes", "labels" and "thermal" that is wanted and has something for the pair, from what
        was drawn to be a mask to a guess; None where there is none."""
        there = {
            "file": lambda: pair.mask is not None,
            "boxes": lambda: annotations_of(pair) is not None,
            "labels": lambda: pair.labels is not None,
            "thermal": lambda: True,
        }
        return next((name for name, has in there.items() if self.wanted in ("auto", name) and has()), None)

    def check(self, pairs: Iterable[Pair]) -> None:
        """ValueError where the wanted source has nothing for one of the pairs."""
        for pair in pairs:
            if self.source_of(pair) is None:
                raise ValueError(
                    f"--mask_source {self.wanted}: there is none for {pair.infrared.path}; give auto or thermal"
                )

    def facts(self, pair: Pair) -> object:
        """All that the pair's mask depends on beside its infrared image. OSError where a file is not there."""
        source = self.source_of(pair)
        if source == "labels":
            return stamp(pair.labels), self.classes
        if source == "file":
            return stamp(pair.mask)
        return annotations_of(pair) if source == "boxes" else source

    def read(self, pair: Pair, infrared: np.ndarray) -> np.ndarray:
        """[H, W] float32 in [0, 1] for the pair's infrared image [H, W]; a mask or label image keeps its own size.

        ValueError where the wanted source has nothing for this pair."""
        self.check([pair])
        source = self.source_of(pair)
        if source == "file":
            return read_labels(pair.mask)
        if source == "boxes":
            return _from_annotations(annotations_of(pair), infrared.shape)
        if source == "labels":
            return np.isin(read_classes(pair.labels), self.classes).astype(np.float32)
        return from_thermal(infrared)


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
