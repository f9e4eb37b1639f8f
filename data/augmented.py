"""A labelled infrared folder made from a labelled visible one: its coco.json, index.json and counts of boxes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from data.coco import CocoFolder, Placement
from options.json_file import read_json
from util.fingerprint import stamp
from util.made import Made, is_size
from util.run_folder import remove_parts, write_whole
from util.words import plural

FOLDERS = {"train": ("images_rgb_train", "images_thermal_train"), "val": ("images_rgb_val", "images_thermal_val")}


@dataclass(frozen=True)
class Written:
    """A generated image on disk, and where the labels of the visible one lie in it."""

    place: Placement
    bytes: int
    md5: str


def placement(image: Mapping[str, Any], file: tuple[int, int], camera: str, size: tuple[int, int]) -> Placement:
    """Where the labels of an entry of coco.json lie in what is made of it. file: (W, H) of its picture; size:
    (height, width) of the result."""
    labelled = int(image.get("width") or file[0]), int(image.get("height") or file[1])
    return Placement.of(labelled, file, camera, size)


def note_finished(
    made: Made, folder: Path, name: str, source: Sequence[Any], file: tuple[int, int], done: Written
) -> None:
    """Keep in mind that folder/name is there in full, made of a file of (W, H) pixels with the stamp `source`."""
    facts = {"input": list(source), "file": file, "size": [done.place.height, done.place.width]}
    made.add(f"{folder.name}/{name}", facts | {"bytes": done.bytes, "md5": done.md5})


def fits(record: Mapping[str, Any]) -> bool:
    """Whether a record read back is as note_finished makes it."""
    sizes, known = (record.get("file"), record.get("size")), (record.get("bytes"), record.get("md5"))
    return all(map(is_size, sizes)) and isinstance(known[0], int) and isinstance(known[1], str) and "input" in record


def take_finished(labels: CocoFolder, folder: Path, camera: str, made: Made) -> dict[str, Written]:
    """file_name -> what earlier calls wrote to `folder` from the files as they are now. What else they wrote there
    is removed."""
    for parent in {folder, *((folder / image["file_name"]).parent for image in labels.images)}:
        remove_parts(parent)
    finished = {}
    for image in labels.images:
        name, record = image["file_name"], made.records.get(f"{folder.name}/{image['file_name']}")
        if record is not None and _stands(record, labels.file(image), folder / name):
            place = placement(image, tuple(record["file"]), camera, tuple(record["size"]))
            finished[name] = Written(place, record["bytes"], record["md5"])
    ours = {name.removeprefix(f"{folder.name}/") for name in made.records if name.startswith(f"{folder.name}/")}
    for name in ours - finished.keys():
        (folder / name).unlink(missing_ok=True)
    return finished


def _stands(record: Mapping[str, Any], source: Path, written: Path) -> bool:
    """Whether a record tells of an image that is there, made from the file as it is now."""
    try:
        return record["input"] == stamp(source) and record["bytes"] == written.stat().st_size
    except OSError:  # one of them is gone
        return False


@dataclass
class Carried:
    """What became of the labels: images written and how many of them have no box; boxes carried over, of these cut
    at the border, and boxes dropped because they lie outside."""

    images: int = 0
    empty: int = 0
    boxes: int = 0
    cut: int = 0
    dropped: int = 0

    def __add__(self, other: Carried) -> Carried:
        return Carried(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def text(self) -> str:
        """E.g. "194 images (2 without boxes), 3404 boxes: 12 cut at the border, 3 more outside and dropped"."""
        return (
            f"{plural(self.images, 'image')} ({self.empty} without boxes), {plural(self.boxes, 'box')}: "
            f"{self.cut} cut at the border, {self.dropped} more outside and dropped"
        )


def check_names(labels: CocoFolder) -> None:
    """ValueError where a file name of the coco.json would be written outside the folder, or two are the same."""
    names = [image["file_name"] for image in labels.images]
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            raise ValueError(f"{labels.path / 'coco.json'}: file_name {name}: wanted is data/NAME.jpg, .jpeg or .png")
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice:
        raise ValueError(f"{labels.path / 'coco.json'}: two images are called {twice}")


def carry(labels: CocoFolder, written: Mapping[str, Written], made_by: Mapping[str, Any]) -> tuple[dict, Carried]:
    """(content of the infrared coco.json, what became of the labels). Images, annotations and categories keep their
    ids and all that is said of them; boxes, areas and outlines follow the camera's cut and the new size.

    written: file_name -> image; images that are not in it are left out. made_by: provenance, put into "info" and
    beside each image as "generated"."""
    images, annotations, count = [], [], Carried()
    for image in labels.images:
        if (made := written.get(image["file_name"])) is None:
            continue
        kept = []
        for note in labels.annotations.get(image["id"], ()):
            box, cut = made.place.box(note["bbox"])
            if box is None:
                count.dropped += 1
                continue
            count.cut += cut
            kept.append(note | {"bbox": box, "area": _area(note, box, made.place)} | _outlines(note, made.place))
        source = f"{labels.path.name}/{image['file_name']}"
        images.append(
            image
            | {"width": made.place.width, "height": made.place.height}
            | {"generated": {"generated_from": source} | dict(made_by)}
        )
        annotations += kept
        count += Carried(1, int(not kept), len(kept))
    info = {"description": "infrared images generated from visible ones; boxes are those of the visible images"}
    info |= {"generated_from": str(labels.path)} | dict(made_by)
    content = labels.content | {"info": labels.content.get("info") or {}}
    content |= {"info": content["info"] | info, "images": images, "annotations": annotations}
    return content, count


def _area(note: Mapping[str, Any], box: list[float], place: Placement) -> float:
    """The area of an outline scales; one cut at the border keeps its share of the box."""
    whole = note["bbox"][2] * note["bbox"][3]
    share = float(note.get("area", whole)) / whole if whole > 0 else 1.0
    return share * box[2] * box[3]


def _outlines(note: Mapping[str, Any], place: Placement) -> dict[str, Any]:
    """Polygons move with the box; masks of other kinds cannot, and are left out."""
    outlines = note.get("segmentation")
    if not outlines:
        return {}
    if not isinstance(outlines, list) or not all(isinstance(outline, list) for outline in outlines):
        return {"segmentation": []}
    return {"segmentation": [place.outline(outline) for outline in outlines]}


def carry_index(file: Path, written: Mapping[str, Written]) -> dict | None:
    """The visible folder's index.json for the generated images: their sizes, bytes and boxes; None where there is
    no such file. written: file_name -> image."""
    if not file.is_file():
        return None
    content = read_json(file)
    by_stem = {PurePosixPath(name).stem: made for name, made in written.items()}
    frames = []
    for frame in content.get("frames", ()):
        video = frame.get("videoMetadata", {})
        stem = f"video-{video.get('videoId')}-frame-{video.get('frameIndex', -1):06d}-{frame.get('datasetFrameId')}"
        if (made := by_stem.get(stem)) is None:
            continue
        notes = []
        for note in frame.get("annotations") or ():
            old = note.get("boundingBox") or {}
            box = made.place.box([old[key] for key in "xywh"])[0] if old.keys() >= set("xywh") else None
            if box is not None:
                notes.append(note | {"boundingBox": dict(zip("xywh", box, strict=True))})
        size = {"width": made.place.width, "height": made.place.height, "fileSize": made.bytes, "md5": made.md5}
        frames.append(frame | size | {"isEmpty": not notes, "annotations": notes})
    return content | {"frames": frames}


def write_labels(folder: Path, content: Mapping[str, Any], index: Mapping[str, Any] | None) -> None:
    """The metadata files of a folder whose images are there; coco.json comes last."""
    names = {category["id"]: category["name"] for category in content["categories"]}
    counts = Counter(names[note["category_id"]] for note in content["annotations"]).most_common()
    write_whole(folder / "coco_annotation_counts.txt", "".join(f"{n}: {k}\n" for n, k in counts).encode())
    write_whole(folder / "coco_annotation_counts.tsv", "".join(f"{n}\t{k}\n" for n, k in counts).encode())
    if index is not None:
        write_whole(folder / "index.json", json.dumps(index).encode())
    write_whole(folder / "coco.json", json.dumps(content).encode())
