"""scripts.augment: boxes follow the camera's cut and the new size; what is written, counted and refused."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import coco

from data.coco import Placement, find_folder, read_coco
from data.images import camera_box, write_image
from data.output.augmented import Written, carry
from data.output.results import Results
from options.augment import AugmentOptions
from tests.commands.test_test_command import write_weights
from tests.conftest import modified

SIZE = (122, 102)  # width, height; FLIR's 1224 x 1024 in small, of which the thermal camera sees a part
LEFT, TOP, RIGHT, BOTTOM = camera_box("flir_v2", SIZE)
CATEGORIES = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
CPU = ("--device", "cpu", "--precision", "fp32", "--num_threads", 0)


def write_visible(root: Path, folder: str = "images_rgb_train", count: int = 3) -> Path:
    """Images, the first and third with boxes: inside, across and outside the thermal camera's view."""
    rng = np.random.default_rng(0)
    names = [f"video-abc-frame-{k:06d}-id{k}" for k in range(count)]
    for name in names:
        write_image(root / folder / "data" / f"{name}.jpg", rng.integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8))
    boxes = [
        (10, 0, 1, [30, 40, 20, 10]),
        (11, 0, 3, [LEFT - 10, 40, 20, 10]),
        (12, 0, 3, [0, 0, 5, 5]),
        (13, 2, 3, [50, 50, 8, 12]),
    ]
    notes = [
        {"id": i, "image_id": 7 * image, "category_id": kind, "bbox": box, "area": box[2] * box[3] / 2, "iscrowd": 0,
         "track_id": i} for i, image, kind, box in boxes
    ]  # fmt: skip
    images = [
        {"id": 7 * k, "file_name": f"data/{name}.jpg", "width": SIZE[0], "height": SIZE[1],
         "extra_info": {"hours": "day"}}
        for k, name in enumerate(names)
    ]  # fmt: skip
    content = {"images": images, "annotations": notes, "categories": CATEGORIES}
    (root / folder / "coco.json").write_text(json.dumps(content))
    frames = [
        {"datasetFrameId": f"id{k}", "videoMetadata": {"videoId": "abc", "frameIndex": k}, "isEmpty": False,
         "annotations": [{"labels": ["car"], "boundingBox": {"x": 0, "y": 0, "w": 5, "h": 5}}]} for k in range(count)
    ]  # fmt: skip
    (root / folder / "index.json").write_text(json.dumps({"datasetId": "x", "videos": [], "frames": frames}))
    return root


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "w.safetensors", epoch="5")


def test_boxes_move_with_the_view() -> None:
    whole = Placement.of((640, 512), (640, 512), "flir_v2", (512, 640))
    assert whole.box([3.0, 4.0, 20.5, 30.25]) == ([3.0, 4.0, 20.5, 30.25], False)
    place = Placement.of((1224, 1024), (1224, 1024), "flir_v2", (512, 640))  # x 113..1111, y 114..904
    scale = 640 / 998, 512 / 790
    box, cut = place.box([213, 214, 100, 50])
    assert box == pytest.approx([100 * scale[0], 100 * scale[1], 100 * scale[0], 50 * scale[1]]) and not cut
    box, cut = place.box([63, 214, 100, 50])
    assert box == pytest.approx([0, 100 * scale[1], 50 * scale[0], 50 * scale[1]]) and cut
    assert place.box([0, 0, 100, 100]) == (None, True)
    assert place.box([33, 214, 90, 50])[0] is None  # 10 of 90 columns: no picture of the object


def test_labels_of_another_size_than_the_file() -> None:
    place = Placement.of((612, 512), (1224, 1024), "flir_v2", None)
    assert (place.width, place.height) == (998, 790)
    box, _ = place.box([106.5, 107, 50, 25])
    assert box == pytest.approx([100, 100, 100, 50])


def test_outlines_and_areas_follow(tmp_path: Path) -> None:
    labels = read_coco(write_visible(tmp_path) / "images_rgb_train")
    labels.annotations[0][0]["segmentation"] = [[LEFT, TOP, RIGHT, TOP, RIGHT, BOTTOM]]
    labels.annotations[0][1]["segmentation"] = {"counts": "x", "size": [2, 2]}
    labels.annotations[0][0]["keypoints"] = [LEFT + 1, TOP + 2, 2, 9, 9, 0, RIGHT + 5, TOP, 1]
    labels.annotations[0][1]["keypoints"] = [1, "x"]
    place = Placement.of(SIZE, SIZE, "flir_v2", (40, 80))
    content, count = carry(labels, {labels.images[0]["file_name"]: Written(place, 1, "m")}, {"run": "r"})
    person, car = content["annotations"]
    assert person["segmentation"] == [pytest.approx([0, 0, 80, 0, 80, 40])] and car["segmentation"] == []
    wide, high = 80 / (RIGHT - LEFT), 40 / (BOTTOM - TOP)
    assert person["keypoints"] == pytest.approx([wide, 2 * high, 2, 0, 0, 0, 0, 0, 0]) and person["num_keypoints"] == 1
    assert car["keypoints"] == [] and car["num_keypoints"] == 0
    assert person["area"] == pytest.approx(person["bbox"][2] * person["bbox"][3] / 2)
    assert (count.images, count.boxes, count.cut, count.dropped) == (1, 2, 1, 1)
    assert count.text().endswith("; 1 mask of run lengths left out")


def test_writes_a_labelled_infrared_data_set(tmp_path: Path, command: Callable, weights: Path) -> None:
    root = write_visible(write_visible(tmp_path / "flir"), "images_rgb_val")
    done = command("scripts.augment", "--weights", weights, "--dataroot", root, "--out", "made", *CPU)
    assert (
        "in all    6 images (2 without boxes), 6 boxes: 2 cut at the border, 2 more outside and dropped" in done.stdout
    )
    folder = tmp_path / "made" / "images_thermal_train"
    made = coco.COCO(str(folder / "coco.json"))
    assert made.getImgIds() == [0, 7, 14] and made.getAnnIds() == [10, 11, 13] and made.getCatIds() == [1, 3]
    image, note = made.imgs[0], made.anns[10]
    assert (image["width"], image["height"]) == (640, 512) and image["extra_info"] == {"hours": "day"}
    wide, high = 640 / (RIGHT - LEFT), 512 / (BOTTOM - TOP)
    assert note["bbox"] == pytest.approx([(30 - LEFT) * wide, (40 - TOP) * high, 20 * wide, 10 * high])
    assert note["track_id"] == 10 and made.anns[11]["bbox"][0] == 0
    said = image["generated"]
    assert said["generated_from"] == "images_rgb_train/" + image["file_name"]
    assert len(said["weights_sha256"]) == 64 and said["epoch"] == "5" and said["code_version"]
    assert said.items() >= {k: made.dataset["info"][k] for k in ("weights_sha256", "run", "epoch")}.items()
    with Image.open(folder / image["file_name"]) as picture:
        assert picture.mode == "L" and picture.size == (640, 512)
    index = json.loads((folder / "index.json").read_text())
    assert index["frames"][0]["isEmpty"] and index["frames"][0]["width"] == 640 and len(index["frames"][0]["md5"]) == 32
    assert (folder / "coco_annotation_counts.txt").read_text() == "car: 2\nperson: 1\n"
    report = command("scripts.inspect_data", "--dataroot", tmp_path / "made").stdout
    assert "flir_adas_v2" in report and "3 infrared unpaired" in report


def test_a_command_that_ended_midway_goes_on(
    tmp_path: Path, command: Callable, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one keeps what is finished; labels are as if nothing had happened."""
    root = write_visible(tmp_path / "flir", count=8)
    words = ["--weights", weights, "--dataroot", root, *CPU, "--batch_size", 2, "--size", 120, 150]
    folder, add = tmp_path / "made/images_thermal_train", Results.add

    def full(self: Results, name: str, record: dict) -> None:
        if len(self.records) == 3:
            raise OSError(28, "No space left on device", str(self.path))
        add(self, name, record)

    with monkeypatch.context() as patch:
        patch.setattr(Results, "add", full)
        assert "No space left" in command("scripts.augment", *words, "--out", "made", status=2).stderr
    assert not (folder / "coco.json").exists(), "what is half done does not look complete"
    before = modified(folder / "data")
    (folder / "data/.a.jpg.1.part").write_bytes(b"half")
    done = command("scripts.augment", *words, "--out", "made")
    assert "3 of 8 images of images_thermal_train are there already" in done.stdout
    after = modified(folder / "data")
    assert sum(after[name] == before[name] for name in before if name in after) >= 3 and len(after) == 8
    command("scripts.augment", *words, "--out", "through")
    for name in ("coco.json", "coco_annotation_counts.txt"):
        made, through = (tmp_path / out / "images_thermal_train" / name for out in ("made", "through"))
        assert made.read_text() == through.read_text()
    index = json.loads((folder / "index.json").read_text())["frames"]
    assert len(index) == 8
    for frame in index:
        path = folder / f"data/video-abc-frame-{frame['videoMetadata']['frameIndex']:06d}-{frame['datasetFrameId']}.jpg"
        assert hashlib.md5(path.read_bytes()).hexdigest() == frame["md5"]
    assert json.loads((tmp_path / "made/augment.json").read_text())["finished"]


def test_only_what_changed_is_made_anew(tmp_path: Path, command: Callable, weights: Path) -> None:
    root = write_visible(tmp_path / "flir")
    call = ("scripts.augment", "--weights", weights, "--dataroot", root, "--out", "made", *CPU)
    command(*call)
    images, visible = tmp_path / "made/images_thermal_train/data", root / "images_rgb_train"
    first, labels = modified(images), json.loads((visible / "coco.json").read_text())
    names = [Path(image["file_name"]).name for image in labels["images"]]
    write_image(visible / "data" / names[0], np.zeros((SIZE[1], SIZE[0], 3), np.uint8))  # another picture
    labels["images"].pop(1)
    labels["annotations"][0]["bbox"] = [40, 40, 10, 10]
    (visible / "coco.json").write_text(json.dumps(labels))
    assert "1 of 2 images of images_thermal_train are there already" in command(*call).stdout
    second, found = modified(images), read_coco(images.parent)
    assert second.keys() == {names[0], names[2]} and second[names[2]] == first[names[2]]
    assert second[names[0]] > first[names[0]] and len(found.images) == 2
    wide, high = 640 / (RIGHT - LEFT), 512 / (BOTTOM - TOP)
    moved = [(40 - LEFT) * wide, (40 - TOP) * high, 10 * wide, 10 * high]
    assert found.annotations[0][0]["bbox"] == pytest.approx(moved), "labels follow without their image"
    (visible / "data" / names[2]).unlink()
    assert "1 visible file missing" in command(*call, status=1).stdout
    assert modified(images).keys() == {names[0]}, "an image whose picture is gone does not stay among the labelled ones"
    write_visible(root)
    done = command(*call, "--overwrite")
    assert "already" not in done.stdout and len(modified(images)) == 3
    record = tmp_path / "made/made.jsonl"
    record.unlink()
    assert "has no made.jsonl to go on from" in command(*call, status=2).stderr


def test_sizes_splits_and_missing_files(tmp_path: Path, command: Callable, weights: Path) -> None:
    root = write_visible(tmp_path / "flir")
    (root / "images_rgb_train/data/video-abc-frame-000000-id0.jpg").unlink()
    call = ("scripts.augment", "--weights", weights, "--dataroot", root, "--out", "made", *CPU)
    done = command(*call, "--size", 40, 80, "--no_camera_crop", status=1)
    assert "no such file" in done.stderr and "1 visible file missing or unreadable, left out" in done.stdout
    labels = read_coco(tmp_path / "made/images_thermal_train")
    assert [image["id"] for image in labels.images] == [7, 14] and labels.images[0]["width"] == 80
    assert labels.annotations[14][0]["bbox"] == pytest.approx(
        [50 * 80 / 122, 50 * 40 / 102, 8 * 80 / 122, 12 * 40 / 102]
    )
    assert "other camera_crop and size: give another folder, or --overwrite" in command(*call, status=2).stderr
    assert "no such file" in command(*call, "--overwrite", "--strict", status=2).stderr
    assert "has no images_rgb_val/coco.json" in command(*call, "--split", "val", status=2).stderr


def test_what_is_refused_before_anything_is_written(tmp_path: Path, command: Callable, weights: Path) -> None:
    root = write_visible(tmp_path / "flir")
    call = ("scripts.augment", "--weights", weights, "--dataroot", root, *CPU)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    assert "this command did not write" in command(*call, "--out", "mine", "--overwrite", status=2).stderr
    assert "this command did not write" in command(*call, "--out", "mine", status=2).stderr
    assert "lies in --dataroot" in command(*call, "--out", root / "new", status=2).stderr
    assert "no such run" in command("scripts.augment", "--name", "none", "--out", "made", status=2).stderr
    content = json.loads((root / "images_rgb_train/coco.json").read_text())
    content["images"][0]["file_name"] = "../../evil.jpg"
    content["annotations"] = []
    (root / "images_rgb_train/coco.json").write_text(json.dumps(content))
    assert "wanted is data/NAME.jpg" in command(*call, "--out", "made", status=2).stderr
    assert not (tmp_path / "made").exists() and (tmp_path / "mine/thesis.txt").exists()


def test_bad_labels_are_named(tmp_path: Path) -> None:
    root = write_visible(tmp_path / "nested" / "flir")
    assert find_folder(tmp_path / "nested", "images_rgb_train") == root / "images_rgb_train"
    file = root / "images_rgb_train/coco.json"
    content = json.loads(file.read_text())
    for change, message in (
        ({"images": None}, "no list of images"),
        ({"annotations": [{"id": 1, "image_id": 99, "category_id": 1, "bbox": [0, 0, 1, 1]}]}, "no image of the file"),
        ({"annotations": [{"id": 1, "image_id": 0, "category_id": 9, "bbox": [0, 0, 1, 1]}]}, "category 9"),
        ({"annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [0, 0]}]}, "a box of 2 numbers"),
        ({"annotations": [{"id": 1, "image_id": 0}]}, "lacks 'category_id'"),
    ):
        file.write_text(json.dumps(content | change))
        with pytest.raises(ValueError, match=message):
            read_coco(file.parent)


def test_options_name_the_remedy() -> None:
    for wrong, message in (
        ({"name": "r", "weights": Path("w.safetensors")}, "give one of them"),
        ({"name": "r", "epoch": "x"}, "--epoch x"),
        ({"name": "r", "size": (8, 640)}, "--size 8 640"),
        ({"name": "r", "batch_size": 0}, "--batch_size is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            AugmentOptions(out=Path("out"), **wrong)


def test_nothing_is_made_of_damaged_labels(tmp_path: Path, command: Callable, weights: Path) -> None:
    root = write_visible(tmp_path / "flir")
    call = ("scripts.augment", "--weights", weights, "--dataroot", root, "--out", "made", *CPU)
    labels, index = root / "images_rgb_train/coco.json", root / "images_rgb_train/index.json"
    whole = {path: path.read_text() for path in (labels, index)}
    frames = json.loads(whole[index])["frames"]
    for path, change, says in (
        (labels, {"categories": [{"id": 1}]}, "lacks 'name'"),
        (index, {"frames": [[1], 2]}, r"index.json: frames[0] is [1]"),
        (index, {"frames": {"a": 1}}, "no list of frames"),
        (index, {"frames": [frames[0] | {"annotations": [{"boundingBox": dict.fromkeys("xywh", "a")}]}]}, "bbox[0]"),
        (index, {"frames": [frames[0] | {"annotations": ["a"]}]}, "frames[0]"),
        (index, {"frames": [frames[0] | {"videoMetadata": {"videoId": "abc", "frameIndex": "x"}}]}, "frameIndex"),
    ):
        path.write_text(json.dumps(json.loads(whole[path]) | change))
        stderr = command(*call, status=2).stderr
        assert says in stderr and path.name in stderr and stderr.count("\n") == 1
        path.write_text(whole[path])
    assert not (tmp_path / "made").exists()


def test_what_others_put_into_the_folder_stays(tmp_path: Path, command: Callable, weights: Path) -> None:
    root = write_visible(tmp_path / "flir")
    call = ("scripts.augment", "--weights", weights, "--dataroot", root, "--out", "made", *CPU)
    command(*call)
    record, mine = tmp_path / "made/made.jsonl", tmp_path / "made/images_thermal_train/data/mine.jpg"
    mine.write_bytes(b"mine")
    for extra in ((), ("--overwrite",)):
        assert "did not write (images_thermal_train/data/mine.jpg)" in command(*call, *extra, status=2).stderr
    assert mine.read_bytes() == b"mine"
    mine.unlink()
    lines = record.read_text().splitlines()
    known = json.loads(lines[1])
    precious = tmp_path / "precious.jpg"
    precious.write_bytes(b"mine")
    others = [{"name": "images_thermal_train/../../precious.jpg"}, {"name": ["a"]}, [1], known | {"file": 5},
              json.loads(lines[2]) | {"size": [40, "x"]}, {"name": json.loads(lines[3])["name"]}]  # fmt: skip
    record.write_text("\n".join([lines[0], *map(json.dumps, others)]) + "\n" + "[" * 100_000)
    done = command(*call)
    assert "already" not in done.stdout and precious.exists(), "a record that is none counts as none"
    assert len(read_coco(tmp_path / "made/images_thermal_train").images) == 3
    record.write_text("\n".join([json.dumps({"made_by": [1]}), *map(json.dumps, others)]))
    command(*call, "--overwrite")
    assert precious.exists() and "3 of 3 images" in command(*call).stdout


def test_images_of_many_bits_have_one_white_wherever_a_call_goes_on(
    tmp_path: Path, command: Callable, weights: Path
) -> None:
    root, rng = write_visible(tmp_path / "flir"), np.random.default_rng(0)
    paths = sorted((root / "images_rgb_train/data").iterdir())
    for path, top in zip(paths, (60000, 4000, 4000), strict=True):
        content = io.BytesIO()
        Image.fromarray(rng.integers(0, top, (SIZE[1], SIZE[0]), dtype=np.uint16)).save(content, "PNG")
        path.write_bytes(content.getvalue())
    call = ("scripts.augment", "--weights", weights, "--dataroot", root, "--out", "made", *CPU)
    assert "65535 is shown white" in command(*call).stdout
    images = tmp_path / "made/images_thermal_train/data"
    (images / "Thumbs.db").write_bytes(b"of a file manager")
    (images / "@eaDir").mkdir()
    (images / "@eaDir/x.jpg").write_bytes(b"of a NAS")
    gone = images / paths[1].name
    first = np.asarray(Image.open(gone)).astype(float)
    gone.unlink()
    assert "2 of 3 images" in command(*call).stdout
    assert np.abs(np.asarray(Image.open(gone)) - first).mean() < 0.5, "other batches round otherwise"
    assert "other visible bits" in command(*call, "--visible_bits", 12, status=2).stderr
    assert "4095 is shown white" in command(*call, "--visible_bits", 12, "--overwrite").stdout


def test_images_beside_the_labels_and_sides_exchanged(tmp_path: Path, command: Callable, weights: Path) -> None:
    root = write_visible(tmp_path / "flir", count=2)
    file = root / "images_rgb_train/coco.json"
    content = json.loads(file.read_text())
    extra = root / "images_rgb_train/data/extra.jpg"
    extra.write_bytes((root / f"images_rgb_train/{content['images'][0]['file_name']}").read_bytes())
    content["images"] = [entry | {"width": SIZE[1], "height": SIZE[0]} for entry in content["images"]]
    content["annotations"] = [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [20, 20, 40, 60]}]
    file.write_text(json.dumps(content))
    call = ("--weights", weights, "--dataroot", root, "--out", "made", "--size", "None", "--no_camera_crop", *CPU)
    done = command("scripts.augment", *call)
    assert "does not list 1 image beside its own: extra.jpg" in done.stdout
    assert "width and height of 2 images exchanged" in done.stdout
    labels = read_coco(tmp_path / "made/images_thermal_train")
    assert labels.annotations[0][0]["bbox"] == [20, 20, 40, 60] and labels.images[0]["width"] == SIZE[0]
