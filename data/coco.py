"""Labels of a folder of images, as its coco.json holds them, and where boxes lie once images are cut and resized."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.images import camera_box
from data.layouts.folders import levels
from options.json_file import read_json

KEPT_SHARE = 0.2  # of a box's area: one with less of it inside the image is dropped, being no picture of the object


@dataclass(frozen=True)
class CocoFolder:
    """A folder and its coco.json: images and categories as they stand there, annotations by image id."""

    path: Path
    content: dict[str, Any]
    images: list[dict[str, Any]]
    annotations: dict[int, list[dict[str, Any]]]
    categories: dict[int, str]

    def file(self, image: dict[str, Any]) -> Path:
        """Where an image lies."""
        return self.path / image["file_name"]


def find_folder(root: Path, name: str) -> Path | None:
    """The folder `name` (lower case; the disk's may differ) with a coco.json in it, in root or up to two levels below;
    None where there is none."""
    for level in levels(root) if root.is_dir() else ():
        for folder in level:
            path = folder.child(name)
            if path is not None and (path / "coco.json").is_file():
                return path
    return None


def read_coco(folder: Path) -> CocoFolder:
    """The labels of folder/coco.json; ValueError where it is not a COCO file of boxes."""
    file = folder / "coco.json"
    content = read_json(file)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise ValueError(f"{file}: has no list of {key}: it is not a COCO file")
    annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
    try:
        categories = {int(category["id"]): str(category["name"]) for category in content["categories"]}
        known = {image["id"] for image in content["images"] if image["file_name"]}
        for note in content["annotations"]:
            if note["image_id"] not in known:
                raise ValueError(f"{file}: annotation {note['id']} belongs to no image of the file")
            if note["category_id"] not in categories:
                raise ValueError(f"{file}: annotation {note['id']} has category {note['category_id']}, not listed")
            if len(note["bbox"]) != 4:
                raise ValueError(f"{file}: annotation {note['id']} has a box of {len(note['bbox'])} numbers")
            annotations[note["image_id"]].append(note)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file}: an entry lacks {error}: it is not a COCO file of boxes") from None
    return CocoFolder(folder, content, content["images"], annotations, categories)


@dataclass(frozen=True)
class Placement:
    """From the pixels that a coco.json speaks of to those of an image that shows a part of them, resized to
    width x height: x -> (x - left) * scale_x, y -> (y - top) * scale_y."""

    left: float
    top: float
    scale_x: float
    scale_y: float
    width: int
    height: int

    @classmethod
    def of(
        cls, labelled: tuple[int, int], file: tuple[int, int], camera: str, size: tuple[int, int] | None
    ) -> Placement:
        """labelled: (W, H) in the coco.json; file: (W, H) of the picture; camera: its crop, a key of
        data.images.CAMERAS; size: (height, width) of the result, None for that of the crop."""
        left, top, right, bottom = camera_box(camera, file)
        height, width = size or (bottom - top, right - left)
        across, down = labelled[0] / file[0], labelled[1] / file[1]
        scale = width / ((right - left) * across), height / ((bottom - top) * down)
        return cls(left * across, top * down, *scale, width, height)

    def box(self, box: Sequence[float]) -> tuple[list[float] | None, bool]:
        """COCO box (left, top, width, height) -> (the same in the image, whether a part was cut off); None where
        less than KEPT_SHARE of its area, or less than a pixel, is inside."""
        x0, y0 = (box[0] - self.left) * self.scale_x, (box[1] - self.top) * self.scale_y
        w, h = box[2] * self.scale_x, box[3] * self.scale_y
        left, top = max(x0, 0.0), max(y0, 0.0)
        right, bottom = min(x0 + w, float(self.width)), min(y0 + h, float(self.height))
        # A pixel's rounding outside the image, as annotators leave it, is no cut.
        cut = min(x0, y0, self.width - x0 - w, self.height - y0 - h) < -1
        inside_w, inside_h = right - left, bottom - top
        if min(inside_w, inside_h) < min(1.0, w, h) or inside_w * inside_h < KEPT_SHARE * w * h or min(w, h) <= 0:
            return None, cut
        return [left, top, inside_w, inside_h], cut

    def outline(self, points: Sequence[float]) -> list[float]:
        """A COCO polygon (x0, y0, x1, y1, ...), its points moved and kept inside the image."""
        xs = [min(max((x - self.left) * self.scale_x, 0.0), float(self.width)) for x in points[::2]]
        ys = [min(max((y - self.top) * self.scale_y, 0.0), float(self.height)) for y in points[1::2]]
        return [number for point in zip(xs, ys, strict=True) for number in point]
