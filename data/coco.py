"""Labels of a folder of images, as its coco.json holds them, and where boxes lie once images are cut and resized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.coco_entries import Entry, read_annotations, read_categories, read_images
from data.files import image_files, on_disk
from data.images import camera_box
from data.layouts.folders import levels
from util.json_file import read_json
from util.text import first_few, plural

KEPT_SHARE = 0.2  # of a box's area: one with less of it inside the image is dropped, being no picture of the object


@dataclass(frozen=True)
class CocoFolder:
    """A folder and its coco.json: content as it stands there, entries as checked, annotations by image id."""

    path: Path
    content: dict[str, Any]
    images: list[Entry]
    annotations: dict[int, list[Entry]]
    categories: dict[int, str]

    def file(self, image: dict[str, Any]) -> Path:
        """Where an image lies."""
        return on_disk(self.path / image["file_name"])


def find_folder(root: Path, name: str) -> Path | None:
    """The folder `name` (lower case; the disk's may differ) with a coco.json in it, in root or up to two levels below;
    None where there is none."""
    for level in levels(root) if root.is_dir() else ():
        for folder in level:
            path = folder.child(name)
            if path is not None and (path / "coco.json").is_file():
                return path
    return None


def read_coco(folder: Path, name: str = "coco.json", complete: bool = True) -> CocoFolder:
    """The labels of folder/name; ValueError with file and entry where it is not a COCO file of boxes. complete: as of
    read_annotations."""
    file = folder / name
    content = read_json(file)
    images, categories = read_images(content, str(file)), read_categories(content, str(file))
    annotations = read_annotations(content, str(file), images, categories, complete)
    return CocoFolder(folder, content, images, annotations, categories)


def note_unlisted(labels: CocoFolder) -> None:
    """Print a line where images lie beside those of a coco.json and are none of them."""
    listed = {labels.file(image) for image in labels.images}
    there = [path for folder in {path.parent for path in listed} if folder.is_dir() for path in image_files(folder)]
    others = [path.name for path in there if path not in listed]
    if others:
        few, count = first_few(others), plural(len(others), "image")
        print(f"note      {labels.path}/coco.json does not list {count} beside its own: {few}", flush=True)


def note_exchanged(labels: CocoFolder, names: Sequence[str]) -> None:
    """Print a line where images of a coco.json, of these names, have width and height exchanged."""
    if names:
        line = f"width and height of {plural(len(names), 'image')} exchanged; the files' own and the boxes as they are"
        print(f"note      {labels.path}/coco.json has {line} were taken: {first_few(names)}", flush=True)


def exchanged(image: Mapping[str, Any], file: tuple[int, int]) -> bool:
    """Whether an entry has the width and height of its picture of (W, H) pixels the wrong way round."""
    return file[0] != file[1] and (image.get("width"), image.get("height")) == (file[1], file[0])


def labelled_size(image: Mapping[str, Any], file: tuple[int, int]) -> tuple[int, int]:
    """(W, H) of the image in whose pixels an entry's labels are: what it says of itself, or those of its picture where
    it says nothing, or has them exchanged."""
    if exchanged(image, file):
        return file
    return image.get("width") or file[0], image.get("height") or file[1]


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

    def keypoints(self, points: Sequence[float]) -> list[float]:
        """COCO keypoints (x0, y0, v0, ...), moved; those that are not labelled, or outside the image, are 0, 0, 0.
        ValueError where they are no triples."""
        found: list[float] = []
        for x, y, seen in zip(points[::3], points[1::3], points[2::3], strict=True):
            right, down = (x - self.left) * self.scale_x, (y - self.top) * self.scale_y
            inside = seen and 0 <= right < self.width and 0 <= down < self.height
            found += (right, down, seen) if inside else (0, 0, 0)
        return found

    def outline(self, points: Sequence[float]) -> list[float]:
        """A COCO polygon (x0, y0, x1, y1, ...), moved and cut at the borders of the image; [] where nothing is left."""
        moved = [
            ((x - self.left) * self.scale_x, (y - self.top) * self.scale_y)
            for x, y in zip(points[::2], points[1::2], strict=True)
        ]
        for axis, end in enumerate((self.width, self.height)):
            moved = _cut(_cut(moved, axis, 0.0, 1), axis, float(end), -1)
        return [number for point in moved for number in point] if len(moved) >= 3 else []


Points = list[tuple[float, float]]


def _cut(points: Points, axis: int, border: float, sign: int) -> Points:
    """What of a polygon lies at or beyond a border, in the direction of the sign (Sutherland and Hodgman, 1974)."""
    found: Points = []
    for before, point in zip(points[-1:] + points[:-1], points, strict=True):
        inside = [(p[axis] - border) * sign >= 0 for p in (before, point)]
        if inside[0] != inside[1]:
            share = (border - before[axis]) / (point[axis] - before[axis])
            other = before[1 - axis] + share * (point[1 - axis] - before[1 - axis])
            found.append((border, other) if axis == 0 else (other, border))
        if inside[1]:
            found.append(point)
    return found
