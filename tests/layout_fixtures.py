"""Small data sets on disk in the exact names and formats of the published ones, oddities included."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

V2_SIZE = (122, 102)
THERMAL_SIZE = (64, 51)
V2_VIDEOS = {"ZzRgbVideo1": "4FRnNpmSmwktFJKjg", "BzZspxAweF8AnKhWK": "TtherMvideo2"}


def picture(path: Path, size: tuple[int, int] = (12, 10), channels: int = 3, value: int = 100) -> Path:
    """An 8-bit picture of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if channels == 1 else (size[1], size[0], channels)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


def counts(path: Path, size: tuple[int, int] = THERMAL_SIZE, value: int = 7329) -> Path:
    """A 16-bit TIFF; 7329 counts are 293.16 K."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = value + np.arange(size[0] * size[1], dtype=np.uint16).reshape(size[1], size[0]) % 50
    Image.fromarray(values.astype(np.uint16)).save(path)
    return path


def junk(folder: Path) -> None:
    """What file managers leave behind."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Thumbs.db", "._FLIR_00006.jpg", ".DS_Store", "readme.txt"):
        (folder / name).write_bytes(b"junk")


def v2_name(video: str, frame: int, last: str) -> str:
    return f"video-{video}-frame-{frame:06d}-{last}"


def _v2_frame(root: Path, part: str, stem: str, thermal: bool) -> None:
    size, channels = (THERMAL_SIZE, 1) if thermal else (V2_SIZE, 3)
    picture(root / part / "data" / f"{stem}.jpg", size, channels)
    if thermal:
        counts(root / part / "analyticsData" / f"{stem}.tiff")


def v2_map(prefix: str = "") -> dict[str, str]:
    """RGB name -> thermal name of three frames of each video; the last ids differ."""
    return {
        f"{prefix}{v2_name(rgb, frame, f'r{frame}')}.jpg": f"{prefix}{v2_name(thermal, frame, f't{frame}')}.jpg"
        for rgb, thermal in V2_VIDEOS.items()
        for frame in (757, 758, 760)
    }


def flir_adas_v2(root: Path) -> Path:
    """Five RGB and four thermal train images, two val, six test pairs; the map is not written."""
    for frame in range(5):
        _v2_frame(root, "images_rgb_train", v2_name("RgbTrainA", frame, f"a{frame}"), thermal=False)
    for frame in (0, 1, 2, 9):
        _v2_frame(root, "images_thermal_train", v2_name("ThermTrainA", frame, f"b{frame}"), thermal=True)
    _v2_frame(root, "images_rgb_val", v2_name("RgbValA", 4, "c"), thermal=False)
    _v2_frame(root, "images_thermal_val", v2_name("ThermValA", 5, "d"), thermal=True)
    for rgb, thermal in v2_map().items():
        _v2_frame(root, "video_rgb_test", Path(rgb).stem, thermal=False)
        _v2_frame(root, "video_thermal_test", Path(thermal).stem, thermal=True)
    for part in ("images_rgb_train", "images_thermal_train"):
        (root / part / "coco.json").write_text("{}")
        (root / part / "coco_annotation_counts.tsv").touch()
    return root


def write_json(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def v2_indexes(root: Path, by_description: bool) -> None:
    """index.json of both train folders; the videos match by description or else by file name."""
    note = 'drive 3 {"RGB": "RgbTrainA"} sunny' if by_description else "drive 3"
    names = ("x.zip", "y.zip") if by_description else ("1636345164_visible.zip", "1636345164_thermal.zip")
    rgb = {"id": "RgbTrainA", "filename": names[0], "description": ""}
    thermal = {"id": "ThermTrainA", "filename": names[1], "description": note}
    write_json(root / "images_rgb_train" / "index.json", {"videos": [rgb], "frames": []})
    write_json(root / "images_thermal_train" / "index.json", {"videos": [thermal], "frames": []})


def flir_adas_v1(root: Path) -> Path:
    """FLIR_ADAS_1_3 nested in itself; FLIR_00001 has no RGB, the video has rgb, 16-bit train is empty."""
    base = root / "FLIR_ADAS_1_3" / "FLIR_ADAS_1_3"
    for part, stems in (
        ("train", ["FLIR_00001", "FLIR_00002", "FLIR_00003"]),
        ("val", ["FLIR_08863", "FLIR_08864"]),
        ("video", ["FLIR_video_00001", "FLIR_video_00002"]),
    ):
        for stem in stems:
            picture(base / part / "thermal_8_bit" / f"{stem}.jpeg", (64, 51), 1)
            picture(base / part / "Annotated_thermal_8_bit" / f"{stem}.jpeg", (64, 51), 3)
            if stem != "FLIR_00001":
                size = (204, 153) if stem == "FLIR_00003" else (180, 160)
                picture(base / part / ("rgb" if part == "video" else "RGB") / f"{stem}.jpg", size)
        (base / part / "thermal_16_bit").mkdir()
        write_json(base / part / "thermal_annotations.json", {})
    return root


def flir_v1_first_release(root: Path) -> Path:
    """Version 1.0: training, validation, video with PreviewData, RGB and 16-bit Data."""
    for part, stem in (
        ("training", "FLIR_00002"),
        ("validation", "FLIR_08865"),
        ("video", "FLIR_video_00003"),
    ):
        picture(root / part / "RGB" / f"{stem}.jpg", (180, 160))
        picture(root / part / "PreviewData" / f"{stem}.jpeg", (64, 51), 1)
        picture(root / part / "AnnotatedPreviewData" / f"{stem}.jpeg", (64, 51))
        counts(root / part / "Data" / f"{stem}.tiff")
    return root


def flir_aligned(root: Path, suffix: str = "_PreviewData", lists: str = ".") -> Path:
    """Five pairs by lists, one listed pair absent, pictures with boxes and masks beside."""
    stems = [f"FLIR_{number:05d}" for number in (2, 3, 4, 258, 8863)]
    for stem in stems:
        picture(root / "align" / "JPEGImages" / f"{stem}_PreviewData.jpeg", (64, 51), 1)
        picture(root / "align" / "JPEGImages" / f"{stem}_RGB.jpg", (64, 51))
        picture(root / "align" / "AnnotatedImages" / f"{stem}_RGB.jpg", (64, 51))
        picture(root / "align" / "Annotations" / f"{stem}_mask.jpg", (64, 51), 1)
    place = root / "align" / lists
    place.mkdir(parents=True, exist_ok=True)
    (place / "align_train.txt").write_text("".join(f"{stem}{suffix}\n" for stem in [*stems[:4], "FLIR_00009"]))
    (place / "align_validation.txt").write_text(f"FLIR_08863{suffix}\r\n")
    return root


def roadscene(root: Path) -> Path:
    """Five pairs of odd sizes; the uncropped infrared folder has other sizes and must not be paired."""
    for number, size in enumerate([(51, 33), (47, 31), (50, 41), (35, 17), (55, 26)]):
        stem = f"FLIR_video_{number:05d}" if number > 3 else f"FLIR_{number + 6:05d}"
        picture(root / "RoadScene-master" / "crop_LR_visible" / f"{stem}.jpg", size)
        picture(root / "RoadScene-master" / "cropinfrared" / f"{stem}.jpg", size, 1)
        picture(root / "RoadScene-master" / "crop_HR_visible" / f"{stem}.jpg", (99, 66))
        picture(root / "RoadScene-master" / "infrared" / f"{stem}.png", (64, 51), 1)
    junk(root / "RoadScene-master" / "crop_LR_visible")
    return root


def m3fd(root: Path) -> Path:
    """Infrared of three channels; the fusion set beside the detection set."""
    for number in range(4):
        for folder in ("M3FD_Detection", "M3FD_Fusion"):
            picture(root / folder / "Vis" / f"{number:05d}.png", (32, 24))
            picture(root / folder / "Ir" / f"{number:05d}.png", (32, 24), 3)
        (root / "M3FD_Detection" / "Annotation").mkdir(exist_ok=True)
    return root


def llvip(root: Path) -> Path:
    for split, first, number in (("train", 10001, 4), ("test", 190001, 2)):
        for stem in range(first, first + number):
            for side in ("visible", "infrared"):
                picture(root / "LLVIP" / side / split / f"{stem:06d}.jpg", (40, 32))
    return root


def msrs(root: Path) -> Path:
    for split, stems in (("train", ["00001D", "00004N", "00012N"]), ("test", ["00537D"])):
        for stem in stems:
            picture(root / "MSRS" / split / "vi" / f"{stem}.png", (64, 48))
            picture(root / "MSRS" / split / "ir" / f"{stem}.png", (64, 48), 1)
            picture(root / "MSRS" / split / "Segmentation_labels" / f"{stem}.png", (64, 48), 1)
    return root


KAIST_FRAMES = [
    *[f"set00/V{video:03d}/I{frame:05d}" for video in range(3) for frame in (0, 20)],
    "set05/V000/I00001",
    "set06/V000/I00019",
    "set11/V001/I00039",
]


def kaist(root: Path, flat: bool = False) -> Path:
    for frame in KAIST_FRAMES:
        first, name = frame.rsplit("/", 1)
        for side in ("visible", "lwir"):
            nested = root / "images" / first / side / f"{name}.jpg"
            picture(root / side / f"{frame.replace('/', '_')}.png" if flat else nested, (64, 51))
    return root


def tno_fusiongan(root: Path) -> Path:
    """The same four pairs in Train and Test; .bmp and .tif, grey and colour, on both sides."""
    for part in ("Train", "Test"):
        for number, suffix, channels in ((1, "bmp", 1), (2, "bmp", 3), (10, "bmp", 1), (17, "tif", 3)):
            for side in ("vi", "ir"):
                size = (25 + number, 20)
                picture(root / f"{part}_{side}" / f"{number}.{suffix}", size, channels)
    return root


def cyclegan(root: Path, same_stems: bool = False) -> Path:
    for split, sides in (("train", (("A", 6), ("B", 4))), ("test", (("A", 2), ("B", 3)))):
        for side, number in sides:
            for item in range(number):
                picture(root / f"{split}{side}" / f"{'x' if same_stems else side}_{item}.jpg", (16, 12))
    return root


def pix2pix(root: Path) -> Path:
    """AB pictures: left 200, right 50."""
    for split, number in (("train", 4), ("val", 1), ("test", 2)):
        for item in range(number):
            array = np.full((10, 25, 3), 50, np.uint8)
            array[:, :12] = 200
            path = root / split / f"{item}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    return root


def two_folders(root: Path, visible: str, infrared: str, stems: list[str], suffix: str = "png") -> Path:
    for stem in stems:
        picture(root / visible / f"{stem}.{suffix}", (15, 11))
        picture(root / infrared / f"{stem}.{suffix}", (15, 11), 1)
    return root
