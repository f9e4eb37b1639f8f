"""FLIR ADAS v2: unpaired train and val, test videos paired by rgb_to_thermal_vid_map.json."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from data.files import natural_key
from data.images import Source
from data.layouts.folders import MASK_NAMES, Folder
from data.layouts.listing import Pair, Split
from data.layouts.scan import Scan
from util.json_file import read_json
from util.text import first_few, plural

MAP_NAME = "rgb_to_thermal_vid_map.json"
PARTS = {
    "train": ("images_rgb_train", "images_thermal_train"),
    "val": ("images_rgb_val", "images_thermal_val"),
    "video": ("video_rgb_test", "video_thermal_test"),
}
_DESCRIPTION = re.compile(r'\{\s*"RGB":\s*"([A-Za-z0-9]+)"\s*\}')
_STEM = re.compile(r"video-([^-]+)-frame-(\d+)-([^-.]+)")


def frame_of(source: Source) -> tuple[str, int] | None:
    """(video id, frame number) in the file name video-ID-frame-000816-ID.jpg."""
    match = _STEM.fullmatch(source.stem)
    return (match[1], int(match[2])) if match else None


def _with_group(source: Source) -> Source:
    frame = frame_of(source)
    return replace(source, group=frame[0]) if frame else source


def _normal_name(filename: str) -> str:
    """1636345164_thermal.zip and 1636345164_visible.zip -> "1636345164"; camera numbers go too."""
    name = re.sub(r"\.(avi|zip|mp4)$", "", filename.lower()).replace("_", " ")
    name = re.sub(r"\bcam\s*\d+\b", " ", name)
    name = re.sub(r"\b(thermal|visible|rgb|ir)\b", " ", name)
    return " ".join(name.split())


def _videos(index: dict[str, Any]) -> list[dict[str, Any]]:
    videos = index.get("videos")
    return [video for video in videos if isinstance(video, dict)] if isinstance(videos, list) else []


def matching_videos(rgb: dict[str, Any], thermal: dict[str, Any]) -> tuple[dict[str, str], int, int]:
    """(thermal video id -> RGB video id, how many by description, how many by file name).

    The description of a thermal video may name its RGB video; otherwise equal file names match, camera
    aside. An RGB video is used once."""

    def as_written(video: dict[str, Any]) -> str:
        return str(video.get("filename") or "")

    def camera_aside(video: dict[str, Any]) -> str:
        return _normal_name(as_written(video))

    found: dict[str, str] = {}
    for video in _videos(thermal):
        match = _DESCRIPTION.search(str(video.get("description") or ""))
        if match:
            found[str(video.get("id"))] = match[1]
    by_description = len(found)
    for name in (as_written, camera_aside):  # cameras apart first, so that drive_cam0 and drive_cam1 are two
        free = [video for video in _videos(rgb) if str(video.get("id")) not in found.values() and name(video)]
        counts = Counter(map(name, free))
        names = {name(video): str(video.get("id")) for video in free if counts[name(video)] == 1}
        for video in _videos(thermal):
            partner = names.get(name(video))
            if str(video.get("id")) not in found and partner and partner not in found.values():
                found[str(video.get("id"))] = partner
    return found, by_description, len(found) - by_description


def detect(folder: Folder) -> bool:
    """Any of the six folders."""
    return any(name in folder.children for names in PARTS.values() for name in names)


class Part:
    """One RGB and one thermal folder of the data set, read."""

    def __init__(self, folder: Folder, names: tuple[str, str], scan: Scan) -> None:
        rgb, thermal = (folder.open(name) for name in names)
        counts = scan.options.thermal_source == "16bit"
        images = thermal.child("analyticsdata" if counts else "data") if thermal else None
        if thermal and images is None:
            scan.note(f"no {'analyticsData' if counts else 'data'} folder in {thermal.path}")
        if rgb and rgb.child("data") is None:
            scan.note(f"no data folder in {rgb.path}")
        infrared = scan.images(images)
        self.visible = [_with_group(source) for source in scan.images(rgb.child("data") if rgb else None, "flir_v2")]
        self.infrared = [_with_group(s) for s in (scan.drop_bytes(infrared) if counts else infrared)]
        masks = scan.images(thermal.child(*MASK_NAMES) if thermal else None)
        self.masks = {mask.stem: mask.path for mask in masks}
        self.folders = (folder.child(names[0]), folder.child(names[1]))

    def pair(self, visible: Source, infrared: Source) -> Pair:
        """A pair under the visible image's stem."""
        return Pair(visible.stem, visible, infrared, self.masks.get(infrared.stem))


def _find_map(folder: Folder, scan: Scan) -> Path | None:
    explicit = scan.options.rgb_to_thermal_map
    if explicit is not None:
        if not explicit.is_file():
            raise ValueError(f"--rgb_to_thermal_map {explicit}: no such file: give the path of {MAP_NAME}")
        return explicit
    places = (folder.path, folder.path.absolute().parent)
    return next((place / MAP_NAME for place in places if (place / MAP_NAME).is_file()), None)


def _mapped_pairs(path: Path, video: Part, scan: Scan) -> list[Pair]:
    """The pairs of the map whose two files are there; names may have data/ before them."""
    visible = {source.stem: source for source in video.visible}
    infrared = {source.stem: source for source in video.infrared}
    no_visible, no_infrared, unlike, pairs = [], [], [], []
    named: set[str] = set()
    for key, value in read_json(path).items():
        if not isinstance(value, str):
            raise ValueError(
                f"{path}: {key!r} goes with {str(value):.40}, which is no name: give that of a thermal image"
            )
        rgb, thermal = (PurePosixPath(name.replace("\\", "/")).stem for name in (key, value))
        if rgb in named:
            raise ValueError(f"{path}: names the visible image {rgb} twice: leave one of them out")
        named.add(rgb)
        if rgb not in visible:
            no_visible.append(rgb)
        if thermal not in infrared:
            no_infrared.append(thermal)
        if rgb in visible and thermal in infrared:
            pairs.append(video.pair(visible[rgb], infrared[thermal]))
            frames = frame_of(visible[rgb]), frame_of(infrared[thermal])
            if frames[0] and frames[1] and frames[0][1] != frames[1][1]:
                unlike.append(rgb)
    for names, what in ((no_visible, "visible"), (no_infrared, "infrared")):
        if names:
            scan.note(f"{path.name}: {len(names)} {what} not on disk or skipped: {first_few(names)}")
    if unlike:
        scan.note(f"{path.name}: {len(unlike)} with two frame numbers: {first_few(unlike)}")
    if not pairs:
        scan.note(f"{path.name} names no two images that are there: the video images stay unpaired")
    return sorted(pairs, key=lambda pair: natural_key(pair.stem))


def share_videos(videos: Iterable[str], policy: str) -> dict[str, str]:
    """Video id -> split, in the order of the ids. official: a quarter (at least one of two) val, the rest
    test. supervised: half of them train first. weak: all test."""
    names = sorted(videos)
    train = len(names) // 2 if policy == "supervised" else 0
    rest = len(names) - train
    val = 0 if policy == "weak" or rest < 2 else max(1, round(rest / 4))
    kinds = ["train"] * train + ["val"] * val + ["test"] * (rest - val)
    return dict(zip(names, kinds, strict=True))


def _weak_pairs(name: str, part: Part, scan: Scan) -> list[Pair]:
    """Candidates: videos matched by index.json, joined on the frame number."""
    if None in part.folders:
        return []
    indexes = [folder / "index.json" for folder in part.folders]
    missing = [str(path) for path in indexes if not path.is_file()]
    if missing:
        scan.note(f"{name}: no weak pairs, {' and '.join(missing)} not there")
        return []
    rgb_of, by_description, by_name = matching_videos(*(read_json(path) for path in indexes))
    visible = {frame_of(source): source for source in part.visible if frame_of(source)}
    pairs = []
    for source in part.infrared:
        frame = frame_of(source)
        partner = visible.pop((rgb_of.get(frame[0], ""), frame[1]), None) if frame else None
        if partner is not None:
            pairs.append(part.pair(partner, source))
    scan.note(
        f"{name}: {plural(len(pairs), 'weak pair')}, guessed from index.json "
        f"({plural(by_description, 'video')} by description, {by_name} by file name); "
        "many show the scene a little earlier or later"
    )
    return sorted(pairs, key=lambda pair: natural_key(pair.stem))


def read(folder: Folder, scan: Scan) -> dict[str, Split]:
    """train and val from images_*; the video frames shared by whole videos as --pairs says."""
    policy = scan.options.pairs
    parts = {name: Part(folder, names, scan) for name, names in PARTS.items()}
    video = parts["video"]
    path = _find_map(folder, scan)
    mapped = _mapped_pairs(path, video, scan) if path else []
    if path is None and (video.visible or video.infrared):
        scan.note(f"no {MAP_NAME} in {folder.path} or beside it: no pairs; give --rgb_to_thermal_map")
    split_of = share_videos({pair.visible.group for pair in mapped}, policy)
    split_of |= {pair.infrared.group: split_of[pair.visible.group] for pair in mapped}
    splits = {}
    for name in ("train", "val", "test"):
        own = parts.get(name)
        pairs = _weak_pairs(name, own, scan) if own and policy == "weak" else []
        pairs += [pair for pair in mapped if split_of[pair.visible.group] == name]
        visible = [source for source in video.visible if split_of.get(source.group, "test") == name]
        infrared = [source for source in video.infrared if split_of.get(source.group, "test") == name]
        if own:
            visible, infrared = own.visible + visible, own.infrared + infrared
        if visible or infrared:
            splits[name] = Split(tuple(pairs), tuple(visible), tuple(infrared))
    in_pairs = {source for pair in mapped for source in (pair.visible, pair.infrared)}
    if mapped:
        orphans = [source.stem for source in (*video.visible, *video.infrared) if source not in in_pairs]
        if orphans:
            scan.note(f"{path.name}: {plural(len(orphans), 'video image')} in no pair: {first_few(orphans)}")
    return splits
