"""The on-disk format of FLIR ADAS v2: names, folders, coco.json, index.json and the map of test pairs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from hashlib import md5
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from data.sample.camera import HEIGHT, WIDTH
from data.sample.scene import Box, RenderedPair

FOLDERS = {
    "train": ("images_rgb_train", "images_thermal_train"),
    "val": ("images_rgb_val", "images_thermal_val"),
    "test": ("video_rgb_test", "video_thermal_test"),
}
MAP_NAME = "rgb_to_thermal_vid_map.json"
_ID_LETTERS = "23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz"
# The 80 names of COCO with FLIR's own in place of some; the number of a category is its rank from 1.
_NAMES = """
person, bike, car, motor, airplane, bus, train, truck, boat, light, hydrant, sign, parking meter, bench, bird,
cat, dog, deer, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee,
skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle,
wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza,
donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell
phone, microwave, oven, toaster, sink, stroller, book, clock, vase, scooter, teddy bear, other vehicle,
toothbrush
"""
CATEGORIES = {name.strip(): k for k, name in enumerate(_NAMES.split(","), start=1)}


def new_id(rng: np.random.Generator) -> str:
    """17 letters and digits, as FLIR's data base gives to videos and frames."""
    return "".join(_ID_LETTERS[k] for k in rng.integers(len(_ID_LETTERS), size=17))


@dataclass(frozen=True)
class Video:
    """A recording of one camera."""

    id: str
    filename: str
    description: str


@dataclass(frozen=True)
class Frame:
    """One written image; boxes and the words about the scene are the same for both cameras."""

    video: Video
    index: int
    id: str
    boxes: list[Box]
    extra: dict[str, str]
    size: int
    digest: str
    raw_digest: str | None

    @property
    def name(self) -> str:
        """File name of the 8-bit image."""
        return f"{stem(self.video.id, self.index, self.id)}.jpg"


def stem(video: str, index: int, frame: str) -> str:
    """File name without its ending."""
    return f"video-{video}-frame-{index:06d}-{frame}"


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    out = BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=quality)
    return out.getvalue()


def write_visible(
    folder: Path, video: Video, index: int, frame: str, pair: RenderedPair, extra: dict[str, str]
) -> Frame:
    """Write the colour JPEG into folder/data."""
    content = _jpeg(pair.visible, 92)
    (folder / "data" / f"{stem(video.id, index, frame)}.jpg").write_bytes(content)
    return Frame(video, index, frame, pair.boxes, extra, len(content), md5(content).hexdigest(), None)


def write_thermal(
    folder: Path, video: Video, index: int, frame: str, pair: RenderedPair, extra: dict[str, str]
) -> Frame:
    """Write the grey JPEG into folder/data, the counts into analyticsData and the mask of hot targets into masks."""
    name = stem(video.id, index, frame)
    content, raw = _jpeg(pair.thermal, 95), BytesIO()
    Image.fromarray(pair.counts).save(raw, "TIFF")
    (folder / "data" / f"{name}.jpg").write_bytes(content)
    (folder / "analyticsData" / f"{name}.tiff").write_bytes(raw.getvalue())
    Image.fromarray(pair.mask).save(folder / "masks" / f"{name}.png", compress_level=3)
    digest = md5(raw.getvalue()).hexdigest()
    return Frame(video, index, frame, pair.boxes, extra, len(content), md5(content).hexdigest(), digest)


def _occlusion(visible: float) -> str:
    if visible > 0.95:
        return "no_(fully_visible)"
    return "1%_-_70%_occluded_(partially_occluded)" if visible >= 0.3 else "70%_-_90%_occluded_(difficult_to_see)"


def coco(frames: list[Frame]) -> dict:
    """The content of coco.json for the frames of one folder."""
    images, annotations = [], []
    for k, frame in enumerate(frames):
        extra = {"video_id": frame.video.id, **frame.extra}
        images.append(
            {"id": k, "file_name": f"data/{frame.name}", "width": WIDTH, "height": HEIGHT, "extra_info": extra}
        )
        for box in frame.boxes:
            annotations.append({
                "id": len(annotations), "image_id": k, "category_id": CATEGORIES[box.category],
                "bbox": [box.left, box.top, box.width, box.height], "area": box.width * box.height, "iscrowd": 0,
                "track_id": box.track, "extra_info": {"occluded": _occlusion(box.visible)},
            })  # fmt: skip
    categories = [{"id": k, "name": name, "supercategory": "unknown"} for name, k in CATEGORIES.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def index(frames: list[Frame], dataset: str, rng: np.random.Generator) -> dict:
    """The content of index.json, in the format of FLIR's Conservator, for the frames of one folder."""
    videos = {f.video.id: f.video for f in frames}
    rows = []
    for frame in frames:
        notes = [
            {"id": new_id(rng), "labels": [b.category], "targetId": b.track,
             "boundingBox": {"x": b.left, "y": b.top, "w": b.width, "h": b.height}}
            for b in frame.boxes
        ]  # fmt: skip
        row = {
            "datasetFrameId": frame.id, "width": WIDTH, "height": HEIGHT, "md5": frame.digest, "fileSize": frame.size,
            "isEmpty": not notes, "isFlagged": False,
            "videoMetadata": {"videoId": frame.video.id, "frameId": new_id(rng), "frameIndex": frame.index},
            "annotations": notes,
        }  # fmt: skip
        rows.append(row if frame.raw_digest is None else row | {"rawMd5": frame.raw_digest})
    return {
        "datasetId": new_id(rng), "datasetName": dataset, "owner": "sample", "version": 1, "overwrite": False,
        "videos": [{"id": v.id, "filename": v.filename, "description": v.description} for v in videos.values()],
        "frames": rows,
    }  # fmt: skip


def write_folder(folder: Path, frames: list[Frame], rng: np.random.Generator) -> None:
    """Write the four metadata files of one folder whose images are already there."""
    content = coco(frames)
    (folder / "coco.json").write_text(json.dumps(content))
    (folder / "index.json").write_text(json.dumps(index(frames, folder.name, rng)))
    names = {k: name for name, k in CATEGORIES.items()}
    counts = Counter(names[a["category_id"]] for a in content["annotations"]).most_common()
    (folder / "coco_annotation_counts.txt").write_text("".join(f"{name}: {n}\n" for name, n in counts))
    (folder / "coco_annotation_counts.tsv").write_text("".join(f"{name}\t{n}\n" for name, n in counts))


def write_map(root: Path, rgb: list[Frame], thermal: list[Frame]) -> None:
    """Write the map of test pairs; rgb and thermal: the frames of the test folders, in the same order."""
    pairs = {a.name: b.name for a, b in zip(rgb, thermal, strict=True)}
    (root / MAP_NAME).write_text(json.dumps(pairs, indent=1))
