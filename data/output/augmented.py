"""A labelled infrared folder made from a labelled visible one: its coco.json, index.json and counts of boxes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from data.coco import CocoFolder, Placement, labelled_size
from data.coco_entries import Entry, box, entries, whole
from data.files import SYSTEM_FILES, is_hidden
from data.output.results import Results
from util.files import remove_parts, stamp, write_whole
from util.json_file import is_size, read_json
from util.text import plural
from util.training import ranks

LABEL_FILES = ("coco.json", "index.json", "coco_annotation_counts.txt", "coco_annotation_counts.tsv")
FOLDERS = {"train": ("images_rgb_train", "images_thermal_train"), "val": ("images_rgb_val", "images_thermal_val")}


@dataclass(frozen=True)
class Written:
    """A generated image on disk, and where the labels of the visible one lie in it."""

    place: Placement
    bytes: int
    md5: str


def placement(image: Mapping[str, Any], file: tuple[int, int], camera: str, size: Sequence[int]) -> Placement:
    """Where the labels of an entry of coco.json lie in what is made of it. file: (W, H) of its picture; size:
    (height, width) of the result."""
    return Placement.of(labelled_size(image, file), file, camera, size)


def note_finished(
    results: Results, folder: Path, name: str, source: Sequence[Any], file: tuple[int, int], done: Written
) -> None:
    """Keep in mind that folder/name is there in full, made of a file of (W, H) pixels with the stamp `source`."""
    facts = {"input": list(source), "file": file, "size": [done.place.height, done.place.width]}
    results.add(f"{folder.name}/{name}", facts | {"bytes": done.bytes, "md5": done.md5})


def fits(record: Mapping[str, Any]) -> bool:
    """Whether a record read back is as note_finished makes it."""
    sizes, known = (record.get("file"), record.get("size")), (record.get("bytes"), record.get("md5"))
    return all(map(is_size, sizes)) and isinstance(known[0], int) and isinstance(known[1], str) and "input" in record


def take_finished(labels: CocoFolder, folder: Path, camera: str, results: Results) -> dict[str, Written]:
    """file_name -> what earlier calls, and this one, wrote to `folder` from the files as they are now, as rank 0 finds
    it; all ranks must call it. What else was written there is removed."""
    finished: dict[str, Written] = {}
    if not ranks.is_writer():
        return ranks.from_writer(finished)
    for parent in {folder, *((folder / image["file_name"]).parent for image in labels.images)}:
        remove_parts(parent)
    for image in labels.images:
        name, record = image["file_name"], results.records.get(f"{folder.name}/{image['file_name']}")
        if record is not None and _stands(record, labels.file(image), folder / name):
            place = placement(image, tuple(record["file"]), camera, tuple(record["size"]))
            finished[name] = Written(place, record["bytes"], record["md5"])
    for name in images_in(results.records, folder.name) - finished.keys():
        (folder / name).unlink(missing_ok=True)
    return ranks.from_writer(finished)


def images_in(records: Iterable[str], folder: str) -> set[str]:
    """Those of the names in records that are of images in a folder, without it."""
    return {name.removeprefix(f"{folder}/") for name in records if name.startswith(f"{folder}/")}


def _stands(record: Mapping[str, Any], source: Path, written: Path) -> bool:
    """Whether a record tells of an image that is there, made from the file as it is now."""
    try:
        return record["input"] == stamp(source) and record["bytes"] == written.stat().st_size
    except OSError:  # one of them is gone
        return False


def first_foreign(
    out: Path, labels: Mapping[str, CocoFolder], records: Iterable[str], own: Sequence[str]
) -> Path | None:
    """The first file below `out` that scripts.augment neither wrote nor is about to write; None where there is none.

    labels: by the names of the folders about to be written; own: names of the command's own files in `out`."""
    folders = [infrared for _, infrared in FOLDERS.values()]
    ours = {out / name for name in own} | {out / folder / name for folder in folders for name in LABEL_FILES}
    ours |= {out / folder / name for folder in folders for name in images_in(records, folder)}
    ours |= {out / folder / image["file_name"] for folder, coco in labels.items() for image in coco.images}
    for parent, folders_in, names in os.walk(out):
        folders_in[:] = [name for name in folders_in if not is_hidden(name)]
        links = [name for name in folders_in if Path(parent, name).is_symlink()]
        for name in sorted(links + names):
            path = Path(parent, name)
            if path not in ours and not is_hidden(name) and name.lower() not in SYSTEM_FILES:
                return path
    return None


@dataclass(frozen=True)
class Index:
    """An index.json: its content; stem of an image -> its frame, and a box or None for each of its annotations."""

    content: dict[str, Any]
    frames: dict[str, tuple[Entry, list[list[float] | None]]]


@dataclass
class Carried:
    """What became of the labels: images written and how many of them have no box; boxes carried over, of these cut
    at the border, and boxes dropped because they lie outside or have no area; masks of run lengths left out."""

    images: int = 0
    empty: int = 0
    boxes: int = 0
    cut: int = 0
    dropped: int = 0
    runs: int = 0

    def __add__(self, other: Carried) -> Carried:
        return Carried(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def text(self) -> str:
        """Write "194 images (2 without boxes), 3404 boxes: 12 cut at the border, 3 more outside and dropped"."""
        return (
            f"{plural(self.images, 'image')} ({self.empty} without boxes), {plural(self.boxes, 'box')}: "
            f"{self.cut} cut at the border, {self.dropped} more outside and dropped"
            + (f"; {plural(self.runs, 'mask')} of run lengths left out" if self.runs else "")
        )


def check_names(labels: CocoFolder) -> None:
    """ValueError where a file name of the coco.json would be written outside the folder, or is not one that can be."""
    for name in (image["file_name"] for image in labels.images):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            raise ValueError(f"{labels.path / 'coco.json'}: file_name {name}: wanted is data/NAME.jpg, .jpeg or .png")


def carry(labels: CocoFolder, written: Mapping[str, Written], provenance: Mapping[str, Any]) -> tuple[dict, Carried]:
    """(content of the infrared coco.json, what became of the labels). Images, annotations and categories keep their
    ids and all that is said of them; boxes, areas, outlines and keypoints follow the camera's cut and the new size.

    written: file_name -> image; images that are not in it are left out. provenance: what is put into "info"
    and beside each image as "generated"."""
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
            count.runs += isinstance(note.get("segmentation"), dict)
            kept.append(
                note
                | {"bbox": box, "area": _area(note, box)}
                | _outlines(note, made.place)
                | _keypoints(note, made.place)
            )
        source = f"{labels.path.name}/{image['file_name']}"
        images.append(
            image
            | {"width": made.place.width, "height": made.place.height}
            | {"generated": {"generated_from": source} | dict(provenance)}
        )
        annotations += kept
        count += Carried(1, int(not kept), len(kept))
    info = {"description": "infrared images generated from visible ones; boxes are those of the visible images"}
    info |= {"generated_from": str(labels.path)} | dict(provenance)
    said = labels.content.get("info")
    content = labels.content | {"info": (said if isinstance(said, dict) else {}) | info, "images": images}
    content["categories"] = [
        entry | {"id": key, "name": name}
        for entry, (key, name) in zip(labels.content["categories"], labels.categories.items(), strict=True)
    ]
    return content | {"annotations": annotations}, count


def _area(note: Mapping[str, Any], box: list[float]) -> float:
    """The area of an outline scales; one cut at the border keeps its share of the box."""
    whole = note["bbox"][2] * note["bbox"][3]
    share = note["area"] / whole if whole > 0 else 1.0
    return share * box[2] * box[3]


def _outlines(note: Mapping[str, Any], place: Placement) -> dict[str, Any]:
    """Polygons move with the box; masks of other kinds cannot, and are left out."""
    outlines = note.get("segmentation")
    if not outlines:
        return {}
    polygons = outlines if isinstance(outlines, list) else []
    return {"segmentation": [moved for outline in polygons if (moved := place.outline(outline))]}


def _keypoints(note: Mapping[str, Any], place: Placement) -> dict[str, Any]:
    """Keypoints move with the box; what are none are left out."""
    if "keypoints" not in note:
        return {}
    try:
        moved = place.keypoints(note["keypoints"])
    except (TypeError, ValueError):
        moved = []
    return {"keypoints": moved, "num_keypoints": sum(seen > 0 for seen in moved[2::3])}


def read_index(file: Path) -> Index | None:
    """A folder's index.json and, by the stems of their images, its frames with their boxes (left, top, width, height),
    None for those without; None where there is no such file. ValueError with file and entry where it is damaged."""
    if not file.is_file():
        return None
    content, frames = read_json(file), {}
    for name, frame in entries(content, "frames", str(file)) if "frames" in content else ():
        video = frame.get("videoMetadata") or {}
        notes = frame.get("annotations") or []
        if not isinstance(video, dict) or not isinstance(notes, list) or not all(isinstance(n, dict) for n in notes):
            raise ValueError(f"{name}: videoMetadata is no object, or annotations no list of objects")
        number = whole(video.get("frameIndex", -1), f"{name}: frameIndex")
        boxes = [note.get("boundingBox") or {} for note in notes]
        boxes = [
            box([b[k] for k in "xywh"], name) if isinstance(b, dict) and b.keys() >= set("xywh") else None
            for b in boxes
        ]
        stem = f"video-{video.get('videoId')}-frame-{number:06d}-{frame.get('datasetFrameId')}"
        frames[stem] = frame | {"annotations": notes}, boxes
    return Index(content, frames)


def carry_index(index: Index, written: Mapping[str, Written]) -> dict[str, Any]:
    """The visible folder's index.json for the generated images: their sizes, bytes and boxes. written: file_name ->
    image."""
    by_stem = {PurePosixPath(name).stem: made for name, made in written.items()}
    frames = []
    for stem, (frame, boxes) in index.frames.items():
        if (made := by_stem.get(stem)) is None:
            continue
        moved = [made.place.box(sides)[0] if sides else None for sides in boxes]
        notes = [
            note | {"boundingBox": dict(zip("xywh", sides, strict=True))}
            for note, sides in zip(frame["annotations"], moved, strict=True)
            if sides
        ]
        size = {"width": made.place.width, "height": made.place.height, "fileSize": made.bytes, "md5": made.md5}
        frames.append(frame | size | {"isEmpty": not notes, "annotations": notes})
    return index.content | {"frames": frames}


def write_labels(folder: Path, content: Mapping[str, Any], index: Mapping[str, Any] | None) -> None:
    """The metadata files of a folder whose images are there; coco.json comes last."""
    names = {category["id"]: category["name"] for category in content["categories"]}
    counts = Counter(names[note["category_id"]] for note in content["annotations"]).most_common()
    write_whole(folder / "coco_annotation_counts.txt", "".join(f"{n}: {k}\n" for n, k in counts).encode())
    write_whole(folder / "coco_annotation_counts.tsv", "".join(f"{n}\t{k}\n" for n, k in counts).encode())
    if index is not None:
        write_whole(folder / "index.json", json.dumps(index).encode())
    write_whole(folder / "coco.json", json.dumps(content).encode())
