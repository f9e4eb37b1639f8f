"""The sample data set: same bytes for the same seed, FLIR's layout, plausible physics, aligned views."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.sample import make, render
from data.sample.dataset import plan
from data.sample.flir import CATEGORIES, FOLDERS, MAP_NAME
from data.sample.sensors import gain_control
from scripts.make_sample_data import SampleOptions

NAME = re.compile(r"^video-([A-Za-z0-9]{17})-frame-(\d{6})-([A-Za-z0-9]{17})\.jpg$")
KELVIN = 0.04
SIZES = {"train": 3, "val": 1, "test": 3}


def digests(root: Path) -> dict[str, str]:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): hashlib.md5(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "set"
    make(out, **SIZES, seed=3, workers=1)
    return out


@pytest.fixture(scope="module")
def scenes() -> dict:
    return {hours: render(11, hours) for hours in ("day", "dawn/dusk", "night")}


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_two_workers_write_the_same_bytes_as_one(root: Path, tmp_path: Path) -> None:
    make(tmp_path / "again", **SIZES, seed=3, workers=2)
    assert digests(tmp_path / "again") == digests(root)


def test_rendering_repeats_and_seeds_differ() -> None:
    first, again, other = render(5, "day"), render(5, "day"), render(6, "day")
    for name in ("visible", "thermal", "counts", "mask"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert first.boxes == again.boxes
    assert not np.array_equal(first.visible, other.visible)


def test_every_folder_has_the_files_of_flir(root: Path) -> None:
    for split, folders in FOLDERS.items():
        for name in folders:
            folder = root / name
            stems = {p.stem for p in (folder / "data").iterdir()}
            assert all(NAME.match(f"{stem}.jpg") for stem in stems)
            assert {p.name for p in folder.iterdir() if p.is_file()} == {
                "coco.json", "index.json", "coco_annotation_counts.txt", "coco_annotation_counts.tsv",
            }  # fmt: skip
            assert len(stems) == SIZES[split]
            if "thermal" in name:
                assert {p.stem for p in (folder / "analyticsData").glob("*.tiff")} == stems
                assert {p.stem for p in (folder / "masks").glob("*.png")} == stems


def test_map_is_complete_and_one_to_one(root: Path) -> None:
    pairs = read(root / MAP_NAME)
    rgb, thermal = (sorted(p.name for p in (root / name / "data").iterdir()) for name in FOLDERS["test"])
    assert sorted(pairs) == rgb
    assert sorted(pairs.values()) == thermal
    for a, b in pairs.items():
        (video_a, frame_a, id_a), (video_b, frame_b, id_b) = NAME.match(a).groups(), NAME.match(b).groups()
        assert frame_a == frame_b
        assert video_a != video_b
        assert id_a != id_b


def test_coco_agrees_with_the_files(root: Path) -> None:
    for folder in (root / name for folders in FOLDERS.values() for name in folders):
        coco = read(folder / "coco.json")
        assert [c["id"] for c in coco["categories"]] == list(range(1, 81))
        assert {c["supercategory"] for c in coco["categories"]} == {"unknown"}
        assert [i["id"] for i in coco["images"]] == list(range(len(coco["images"])))
        assert {i["file_name"] for i in coco["images"]} == {f"data/{p.name}" for p in (folder / "data").iterdir()}
        for image in coco["images"]:
            assert (image["width"], image["height"]) == (640, 512)
            assert image["extra_info"]["video_id"] == NAME.match(image["file_name"][5:])[1]
            assert image["extra_info"]["hours"] in {"day", "night", "dawn/dusk"}
        for note in coco["annotations"]:
            x, y, w, h = note["bbox"]
            assert x >= 0
            assert y >= 0
            assert x + w <= 640
            assert y + h <= 512
            assert min(w, h) >= 4
            assert note["area"] == w * h
            assert note["image_id"] < len(coco["images"])
        assert {n["category_id"] for n in coco["annotations"]} <= set(CATEGORIES.values())


def test_flirs_category_numbers() -> None:
    known = {"person": 1, "bike": 2, "car": 3, "motor": 4, "bus": 6, "train": 7, "truck": 8, "light": 10, "hydrant": 11,
             "sign": 12, "dog": 17, "skateboard": 37, "stroller": 73, "scooter": 77, "other vehicle": 79}  # fmt: skip
    assert len(CATEGORIES) == 80
    assert known.items() <= CATEGORIES.items()


def test_index_lets_both_ways_of_weak_pairing_work(root: Path) -> None:
    rgb, thermal = (read(root / name / "index.json") for name in FOLDERS["train"])
    by_id = {v["id"]: v["filename"] for v in rgb["videos"]}
    for video in thermal["videos"]:
        named = re.search(r'\{"RGB":\s*"([A-Za-z0-9]+)"\}', video["description"])[1]
        assert by_id[named] == video["filename"].replace("_thermal", "_visible")
    for index, folder in zip((rgb, thermal), FOLDERS["train"], strict=True):
        for frame in index["frames"]:
            meta = frame["videoMetadata"]
            name = f"video-{meta['videoId']}-frame-{meta['frameIndex']:06d}-{frame['datasetFrameId']}.jpg"
            content = (root / folder / "data" / name).read_bytes()
            assert frame["md5"] == hashlib.md5(content).hexdigest()
            assert frame["fileSize"] == len(content)


def test_image_modes(root: Path) -> None:
    rgb, thermal = (root / name for name in FOLDERS["test"])
    with Image.open(next((rgb / "data").iterdir())) as image:
        assert (image.mode, image.size) == ("RGB", (640, 512))
    with Image.open(next((thermal / "data").iterdir())) as image:
        assert (image.mode, image.size) == ("L", (640, 512))
    with Image.open(next((thermal / "analyticsData").iterdir())) as image:
        assert (image.mode, image.size) == ("I;16", (640, 512))
    with Image.open(next((thermal / "masks").iterdir())) as image:
        assert image.mode == "L"
        assert set(np.unique(image)) <= {0, 255}


def test_train_lacks_some_frames_of_each_camera_and_videos_are_short() -> None:
    recordings = plan(200, 20, 40, seed=0)
    frames = [f for r in recordings if r.split == "train" for f in r.frames]
    assert len(frames) == 200
    assert sum(not rgb for _, rgb, _ in frames) == 6
    assert sum(not thermal for _, _, thermal in frames) == 4
    assert all(rgb or thermal for _, rgb, thermal in frames)
    assert [len(r.frames) for r in recordings if r.split == "test"] == [5] * 8
    assert len({r.rgb.id for r in recordings} | {r.thermal.id for r in recordings}) == 2 * len(recordings)


def test_temperatures_are_plausible(scenes: dict) -> None:
    for pair in scenes.values():
        kelvin = pair.counts * KELVIN
        assert kelvin.min() > 215
        assert kelvin.max() < 400
        air = pair.place.climate.air
        assert abs(np.median(kelvin[400:]) - air) < 30
        assert kelvin[:40].mean() < kelvin[400:].mean(), "sky above, road below"


def test_people_are_warmer_than_what_surrounds_them_at_night() -> None:
    seen = 0
    for seed in range(4):
        pair = render(seed, "night")
        kelvin = pair.counts * KELVIN
        for box in (b for b in pair.boxes if b.category == "person" and b.visible > 0.9 and b.height > 40):
            top, left, tall, wide = (int(v) for v in (box.top, box.left, box.height, box.width))
            inside = np.zeros(kelvin.shape, bool)
            inside[top : top + tall, left : left + wide] = True
            around = np.zeros(kelvin.shape, bool)
            around[max(top - 8, 0) : top + tall + 8, max(left - 8, 0) : left + wide + 8] = True
            person, other = inside & (pair.mask > 0), around & (pair.mask == 0)
            if other.sum() > 50:
                assert kelvin[person].mean() > kelvin[other].mean() + 2
                seen += 1
    assert seen >= 2


def test_visible_light_leaves_the_counts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lit = render(11, "night")
    monkeypatch.setattr("data.sample.shading._visible", lambda setting, s, d: np.zeros_like(s.rgb))
    dark = render(11, "night")
    assert lit.visible.mean() > dark.visible.mean() + 10
    assert np.array_equal(lit.counts, dark.counts)
    assert np.array_equal(lit.thermal, dark.thermal)


def test_night_is_darker_than_dusk_than_day(scenes: dict) -> None:
    levels = [scenes[h].visible.mean() for h in ("night", "dawn/dusk", "day")]
    assert levels == sorted(levels)


def test_edges_of_the_mask_are_edges_of_both_images(scenes: dict) -> None:
    def steepness(image: np.ndarray) -> np.ndarray:
        down, right = np.gradient(image.astype(float))
        return np.hypot(down, right)

    pair = scenes["day"]
    mask = pair.mask > 0
    assert 0.001 < mask.mean() < 0.6
    edge = steepness(mask) > 0
    for image in (pair.counts, pair.visible.mean(axis=2)):
        steep = steepness(image)
        here = steep[edge].mean()
        assert here > 2 * np.median(steep)
        for shift in (-12, 12):
            assert here > 1.15 * steep[np.roll(edge, shift, axis=1)].mean(), "the views are not aligned"


def test_boxes_are_tight_around_visible_people() -> None:
    pair = render(2, "day")
    for box in (b for b in pair.boxes if b.category == "person" and b.visible > 0.98):
        top, left, tall, wide = (int(v) for v in (box.top, box.left, box.height, box.width))
        part = pair.mask[top : top + tall, left : left + wide] > 0
        assert part[:2].any()
        assert part[-2:].any()
        assert part[:, :2].any()
        assert part[:, -2:].any()


def test_gain_control_keeps_order_and_uses_the_range(scenes: dict) -> None:
    pair = scenes["night"]
    assert pair.thermal.dtype == np.uint8
    assert np.quantile(pair.thermal, 0.005) < 40
    assert np.quantile(pair.thermal, 0.995) > 200
    ramp = np.tile(np.arange(7000, 7640, dtype=np.uint16), (512, 1))
    grey = gain_control(ramp)[0].astype(int)
    assert (grey[16:] > grey[:-16]).all(), "hotter is brighter"


def test_the_same_set_is_left_alone_and_another_refused(root: Path, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    make(root, **SIZES, seed=3)
    assert before == {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    with pytest.raises(ValueError, match="another sample data set.*--out"):
        make(root, **SIZES, seed=4)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    with pytest.raises(ValueError, match="something else.*--out"):
        make(tmp_path / "mine", **SIZES)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(("name", "value"), [("train", -1), ("test", -5), ("seed", -1), ("workers", 0)])
def test_bad_numbers_name_the_option(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"--{name} is {value}"):
        SampleOptions(**{name: value})


def test_a_failed_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("data.sample.flir.write_thermal", broken)
    with pytest.raises(OSError, match="disk full"):
        make(tmp_path / "set", train=1, val=0, test=0, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for number in (ended.pid, os.getppid()):
        (tmp_path / f".set.{number}.part" / "data").mkdir(parents=True)
    make(tmp_path / "set", train=0, val=0, test=0, workers=1)
    assert {path.name for path in tmp_path.iterdir()} == {"set", f".set.{os.getppid()}.part"}, "what runs keeps its own"
