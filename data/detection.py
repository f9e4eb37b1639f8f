"""Labelled images for a detector: a folder with a coco.json -> images of one size in memory, boxes, batches."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional
from torchvision.ops import clip_boxes_to_image

from data.coco import CocoFolder, Placement, exchanged, labelled_size, note_exchanged
from data.counts import ThermalRange
from data.images import ImageError, Source, pixel_size, read_infrared, read_reduced
from data.inputs import evenly
from data.remarks import headers_of, with_one_white
from data.threads import in_threads, worker_count
from data.transforms import as_tensor, to_size
from options.data import DataOptions
from util.images import grey_bytes, luminance, resize

Look = Literal["infrared", "luminance", "inverted luminance"]
THERMAL = (512, 640)  # height, width of FLIR's thermal camera, in whose pixels small objects are measured
HEAVILY_OCCLUDED = "70%_-_90%"  # how FLIR ADAS v2 begins the word for it
SCALES = (0.85, 1.2)  # of random zooms
SHIFT = 0.1  # of the image's sides, at most
GAMMA = 1.5  # grey levels are raised to a power between 1 / GAMMA and GAMMA
READERS = 8  # threads that decode images, at most
FEWEST_PIXELS = 2.0  # at the detector's size: a side below this is no longer trained on


@dataclass
class Labelled:
    """Images uint8 [N, 1, H, W]; for each of them boxes float32 [n, 4] (left, top, right, bottom, pixels), labels
    int64 [n], ignored bool [n] (neither an object to find nor background), the size (H, W) its labels speak of."""

    images: torch.Tensor
    boxes: list[torch.Tensor]
    labels: list[torch.Tensor]
    ignored: list[torch.Tensor]
    sizes: list[tuple[int, int]]
    names: list[str]
    skipped: int = 0  # images that could not be read

    def __len__(self) -> int:
        return len(self.images)

    def __add__(self, other: Labelled) -> Labelled:
        return Labelled(
            torch.cat([self.images, other.images]),
            *(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)[1:]),
        )

    def count(self) -> int:
        """Boxes that are not ignored."""
        return sum(int((~ignored).sum()) for ignored in self.ignored)


def is_ignored(note: dict[str, Any], sides: Sequence[float], size: tuple[int, int], min_side: float) -> bool:
    """Whether an object is too small, too hidden, or one of a crowd: neither to be found nor background.

    sides: its (width, height) in an image of (height, width); min_side: in pixels of the view at THERMAL size."""
    across, down = sides[0] * THERMAL[1] / size[1], sides[1] * THERMAL[0] / size[0]
    info = note.get("extra_info")
    occluded = str(info.get("occluded", "")) if isinstance(info, dict) else ""
    return bool(note["iscrowd"]) or min(across, down) < min_side or occluded.startswith(HEAVILY_OCCLUDED)


@dataclass(frozen=True)
class Reading:
    """How labelled images are read. classes: names of what is to be found, in the order of labels; size: (height,
    width) that images are brought to; look: how their files are seen; min_side: as of is_ignored; camera: crop of
    visible files."""

    classes: Sequence[str]
    size: tuple[int, int]
    look: Look
    data: DataOptions
    min_side: float
    camera: str = "none"

    def grey(self, source: Source) -> torch.Tensor:
        """uint8 [1, H, W] of a picture. ImageError if unreadable."""
        if self.look == "infrared":
            infrared = read_infrared(source, ThermalRange.from_options(self.data))
            return grey_bytes(resize(as_tensor(infrared), self.size))
        colour = to_size(*read_reduced(source, lambda height, width: self.size))
        light = luminance(colour[None].float())[0].round().to(torch.uint8)
        return 255 - light if self.look == "inverted luminance" else light

    def objects(
        self, folder: CocoFolder, entry: dict[str, Any], place: Placement
    ) -> tuple[list[list[float]], list[int], list[bool]]:
        """(Boxes (left, top, width, height), labels, whether each is ignored) of an image whose labels are placed."""
        boxes, labels, ignored = [], [], []
        for note in folder.annotations.get(entry["id"], ()):
            box, _ = place.box(note["bbox"])
            name = folder.categories[note["category_id"]]
            if box is not None and name in self.classes:
                boxes.append(box)
                labels.append(self.classes.index(name))
                ignored.append(is_ignored(note, box[2:], self.size, self.min_side))
        return boxes, labels, ignored


def read_labelled(folder: CocoFolder, reading: Reading, limit: int | None = None) -> Labelled:
    """Every image of a folder, or `limit` of them spread evenly. ImageError where none can be read or, if strict, one
    cannot; ValueError for a folder without images."""
    entries = evenly(folder.images, limit)
    sources = [Source(folder.file(entry), folder.file(entry).stem, reading.camera) for entry in entries]
    deep = sources if reading.look != "infrared" else []
    alike = with_one_white(deep, headers_of(deep), reading.data.visible_bits)[0]

    def read(part: tuple[dict[str, Any], Source]) -> tuple[Any, ...]:
        entry, source = part
        file = pixel_size(source.path)
        size = labelled_size(entry, file)
        objects = reading.objects(folder, entry, Placement.of(size, file, reading.camera, reading.size))
        turned = [entry["file_name"]] if exchanged(entry, file) else []
        return reading.grey(alike.get(source, source)), *objects, size[::-1], source.stem, turned

    parts = list(zip(entries, sources, strict=True))
    found = [result for _, result in in_threads(read, parts, worker_count(READERS), "reading")]
    errors = [item for item in found if isinstance(item, ImageError)]
    if errors and (reading.data.strict or len(errors) == len(found)):
        raise errors[0]
    for error in errors:
        print(f"skipped {error}", file=sys.stderr)
    if not found:
        raise ValueError(f"{folder.path}: has no images")
    good = [item for item in found if not isinstance(item, ImageError)]
    images, boxes, labels, ignored, sizes, names, turned = map(list, zip(*good, strict=True))
    note_exchanged(folder, sum(turned, []))
    return Labelled(
        torch.stack(images),
        [_corners(of_image) for of_image in boxes],
        [torch.tensor(of_image, dtype=torch.int64) for of_image in labels],
        [torch.tensor(of_image, dtype=torch.bool) for of_image in ignored],
        sizes,
        names,
        len(errors),
    )


def _corners(boxes: list[list[float]]) -> torch.Tensor:
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    array[:, 2:] += array[:, :2]
    return torch.from_numpy(array)


def standardise(images: torch.Tensor) -> torch.Tensor:
    """float [N, 1, H, W] -> each image with mean 0 and deviation 1, so that no image is told by its brightness."""
    mean, deviation = images.mean((1, 2, 3), keepdim=True), images.std((1, 2, 3), keepdim=True)
    return (images - mean) / deviation.clamp_min(1e-3)


@dataclass
class Batch:
    """images float32 [B, 1, H, W]; for each of them boxes [n, 4], labels [n], ignored [n], on the CPU."""

    images: torch.Tensor
    boxes: list[torch.Tensor]
    labels: list[torch.Tensor]
    ignored: list[torch.Tensor]


def draw_batch(data: Labelled, places: Sequence[int], draws: torch.Tensor, device: torch.device) -> Batch:
    """Images at `places`, each flipped, zoomed, shifted and with other grey levels as five numbers in [0, 1) of
    draws [B, 5] say: the same draws do the same to any image."""
    height, width = data.images.shape[-2:]
    images = data.images[list(places)]
    images = images.pin_memory() if device.type == "cuda" else images  # else its copy may wait for the device
    images = images.to(device, non_blocking=True).float() / 255
    flip = torch.where(draws[:, 0] < 0.5, -1.0, 1.0)
    zoom = SCALES[0] * (SCALES[1] / SCALES[0]) ** draws[:, 1]
    across, down = (2 * draws[:, 2] - 1) * SHIFT, (2 * draws[:, 3] - 1) * SHIFT
    # theta takes places of the result, in [-1, 1], to places of the image.
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = flip / zoom, 1 / zoom
    theta[:, 0, 2], theta[:, 1, 2] = 2 * across, 2 * down
    power = GAMMA ** (2 * draws[:, 4] - 1)
    images = images ** power.to(device, non_blocking=True)[:, None, None, None]
    grid = functional.affine_grid(theta.to(device, non_blocking=True), list(images.shape), align_corners=False)
    # Beyond the border all is the image's mean: mirrored objects would have no boxes.
    images = images - images.mean((1, 2, 3), keepdim=True)
    images = functional.grid_sample(images, grid, mode="bilinear", align_corners=False)
    batch = Batch(standardise(images), [], [], [])
    for k, place in enumerate(places):
        boxes = data.boxes[place]
        x, y = boxes[:, 0::2] / width * 2 - 1, boxes[:, 1::2] / height * 2 - 1
        x = ((x - 2 * across[k]) * zoom[k] * flip[k] + 1) / 2 * width
        y = ((y - 2 * down[k]) * zoom[k] + 1) / 2 * height
        x, y = x.sort(dim=1).values, y.sort(dim=1).values
        moved = torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1)
        clipped = clip_boxes_to_image(moved, (height, width))
        sides, whole = clipped[:, 2:] - clipped[:, :2], (moved[:, 2:] - moved[:, :2]).prod(1)
        inside = sides.prod(1) > 0
        unclear = (sides.prod(1) < 0.3 * whole) | (sides.min(1).values < FEWEST_PIXELS)
        batch.boxes.append(clipped[inside])
        batch.labels.append(data.labels[place][inside])
        batch.ignored.append((data.ignored[place] | unclear)[inside])
    return batch
