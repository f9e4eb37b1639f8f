"""The detector, average precision, and the comparison of training sets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data.coco import read_coco
from data.detection import Labelled, Reading, draw_batch, read_labelled, standardise
from data.images import write_image
from data.output.results import own_folder
from models.detection.centre import STRIDE, CentreDetector, find_objects
from models.detection.detectors import FasterRcnn
from options.data import DataOptions
from options.detection import DetectionOptions
from scripts import evaluate_detection
from scripts.detection.report import Result, verdicts
from scripts.detection.training import find_all, train_detector, truth_of
from util.device import select_device
from util.metrics.detection import Boxes, Precision, average_precision

SIZE = (64, 96)
CPU = ("--device", "cpu", "--precision", "fp32")


def boxes_of(*rows: tuple[float, ...], truth: bool = False) -> Boxes:
    """Rows (left, top, right, bottom, label, score or ignored)."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4].astype(int), table[:, 5].astype(bool) if truth else table[:, 5])


def labelled(boxes: list[list[float]], labels: list[int], size: tuple[int, int] = SIZE) -> Labelled:
    """One dark image whose boxes are bright."""
    image = torch.zeros(1, 1, *size, dtype=torch.uint8)
    for left, top, right, bottom in boxes:
        image[..., int(top) : int(bottom), int(left) : int(right)] = 200
    none = torch.zeros(len(boxes), dtype=torch.bool)
    return Labelled(image, [torch.tensor(boxes)], [torch.tensor(labels)], [none], [size], ["a"])


def write_part(root: Path, folder: str, video: str, count: int = 3, grey: bool = True, size: tuple = SIZE) -> Path:
    """Dark images with a bright car each, and a person in the others' place."""
    rng = np.random.default_rng(len(folder))
    images, notes = [], []
    for k in range(count):
        shape = size if grey else (*size, 3)
        image = rng.integers(0, 40, shape, np.uint8)
        x, y = int(rng.integers(2, size[1] - 34)), int(rng.integers(2, size[0] - 26))
        image[y : y + 16, x : x + 24] = 220
        image[y + 6 : y + 22, x + 26 : x + 34] = 120
        name = f"data/video-{video}-frame-{k:06d}-{folder}.png"
        write_image(root / folder / name, image)
        images.append({"id": k, "file_name": name, "width": size[1], "height": size[0]})
        for kind, box in ((3, [x, y, 24, 16]), (1, [x + 26, y + 6, 8, 16])):
            notes.append({"id": len(notes), "image_id": k, "category_id": kind, "bbox": box, "area": 1, "iscrowd": 0})
    categories = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}, {"id": 4, "name": "ufo"}]
    content = {"images": images, "annotations": notes, "categories": categories}
    (root / folder / "coco.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def flir(tmp_path: Path) -> Path:
    root = tmp_path / "flir"
    write_part(root, "images_rgb_train", "r", grey=False)
    write_part(root, "images_thermal_train", "t")
    write_part(tmp_path / "gen", "images_thermal_train", "g")
    return write_part(root, "video_thermal_test", "v", 2)


def test_average_precision_of_known_cases() -> None:
    truth = [
        boxes_of((0, 0, 10, 10, 0, 0), (20, 20, 30, 40, 1, 0), truth=True),
        boxes_of((5, 5, 9, 9, 0, 0), truth=True),
    ]
    perfect = [boxes_of((0, 0, 10, 10, 0, 0.9), (20, 20, 30, 40, 1, 0.8)), boxes_of((5, 5, 9, 9, 0, 0.7))]
    score = average_precision(truth, perfect, ["car", "person", "dog"])
    assert score.map == pytest.approx(1) and score.ap50 == pytest.approx(1)
    assert score.boxes == {"car": 2, "person": 1, "dog": 0} and np.isnan(score.by_class["dog"])
    # One of two cars, found with IoU 0.6: recall up to 0.5 is 51 of 101 points, at 3 of 10 thresholds.
    half = [boxes_of((0, 0, 10, 6, 0, 0.9)), boxes_of()]
    score = average_precision(truth, half, ["car", "person"])
    assert score.by_class == {"car": pytest.approx(51 / 101), "person": 0}
    assert score.map == pytest.approx(51 / 101 * 3 / 10 / 2)
    assert average_precision(truth, [boxes_of(), boxes_of()], ["car", "person"]).map == 0


def test_ignored_boxes_count_neither_for_nor_against() -> None:
    truth = [boxes_of((0, 0, 10, 10, 0, 0), (50, 50, 90, 90, 0, 1), truth=True)]
    both = [boxes_of((50, 50, 90, 90, 0, 0.9), (0, 0, 10, 10, 0, 0.5))]
    assert average_precision(truth, both, ["car"]).map == pytest.approx(1)
    assert average_precision(truth, both, ["car"]).boxes == {"car": 1}
    truth[0].what[1] = False
    assert average_precision(truth, [boxes_of((0, 0, 10, 10, 0, 0.5))], ["car"]).map == pytest.approx(51 / 101)


def test_objects_are_found_at_peaks() -> None:
    heat = torch.full((1, 2, 16, 24), -9.0)
    heat[0, 1, 3, 20], heat[0, 1, 3, 19], heat[0, 0, 10, 2] = 3.0, 2.0, 1.0
    boxes, scores, labels = find_objects(heat, torch.full((1, 4, 16, 24), 10.0), 3)
    assert labels[0, :2].tolist() == [1, 0] and boxes[0, 0].tolist() == [72, 4, 92, 24]
    assert boxes[0, 1].tolist() == [0, 32, 20, 52]  # what lies outside is cut
    assert scores[0, 0] == pytest.approx(torch.tensor(3.0).sigmoid().item()) and scores[0, 2] < 0.01


def test_boxes_move_with_the_pixels() -> None:
    data = labelled([[20.0, 24.0, 52.0, 40.0]], [0])
    draws = torch.rand(32, 5, generator=torch.Generator().manual_seed(0))
    batch = draw_batch(data, [0] * 32, draws, torch.device("cpu"))
    assert batch.images.shape == (32, 1, *SIZE) and batch.images.mean().abs() < 1e-4
    for image, boxes in zip(batch.images, batch.boxes, strict=True):
        rows, columns = torch.nonzero(image[0] > image.min() + 0.5 * (image.max() - image.min())).unbind(1)
        bright = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert boxes[0].tolist() == pytest.approx([float(end) for end in bright], abs=1.01)
    assert len({tuple(boxes[0].tolist()) for boxes in batch.boxes}) == 32
    again = draw_batch(data, [0] * 32, draws, torch.device("cpu"))
    assert torch.equal(batch.images, again.images)


def test_a_visible_folder_read_as_grey(tmp_path: Path) -> None:
    root = write_part(tmp_path, "images_rgb_train", "r", 1, grey=False, size=(102, 122))
    labels = read_coco(root / "images_rgb_train")
    labels.annotations[0][0]["extra_info"] = {"occluded": "70%_-_90%_occluded_(difficult_to_see)"}
    read = [
        read_labelled(labels, Reading(["person", "car"], (64, 96), look, DataOptions(), 52, "flir_v2"))
        for look in ("luminance", "inverted luminance")
    ]
    assert torch.equal(read[0].images, 255 - read[1].images)
    left, top, right, bottom = 11, 11, 111, 90  # of camera_box
    x, y, w, h = labels.annotations[0][0]["bbox"]
    wide, high = 96 / (right - left), 64 / (bottom - top)
    expected = [(x - left) * wide, (y - top) * high, (x + w - left) * wide, (y + h - top) * high]
    assert read[0].boxes[0][0].tolist() == pytest.approx(expected, abs=1e-4)
    assert read[0].labels[0].tolist() == [1, 0]
    assert read[0].ignored[0].tolist() == [True, True]  # hidden; 8 of 100 columns are 51 pixels of 640
    place = read[0].boxes[0][0].round().int().tolist()
    inside = read[0].images[0, 0, place[1] + 1 : place[3] - 1, place[0] + 1 : place[2] - 1].float().mean()
    assert inside > 200 > read[0].images.float().mean()


def test_the_detector_learns_and_the_seed_decides(flir: Path) -> None:
    device = select_device("cpu", "fp32")
    options = DetectionOptions(arms=("real",), steps=50, batch_size=3, size=SIZE, lr=5e-3)
    labels = read_coco(flir / "images_thermal_train")
    data = read_labelled(labels, Reading(["car", "person"], SIZE, "infrared", DataOptions(), 0))
    detector = train_detector(data, 2, 0, options, device)
    found = find_all(detector, data, options, device)
    assert average_precision(truth_of(data), found, ["car", "person"]).ap50 > 0.5
    short = DetectionOptions(arms=("real",), steps=2, batch_size=2, size=SIZE)
    states = [train_detector(data, 2, seed, short, device).network.state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_sizes_of_the_network() -> None:
    heat, sides = CentreDetector(3)(standardise(torch.rand(2, 1, *SIZE)))
    assert heat.shape == (2, 3, SIZE[0] // STRIDE, SIZE[1] // STRIDE) and sides.shape[1] == 4 and sides.min() >= 0
    assert heat.sigmoid().mean().item() == pytest.approx(0.01, abs=0.01)


def test_faster_rcnn_speaks_the_same_language() -> None:
    torch.manual_seed(0)
    detector = FasterRcnn(2, SIZE, select_device("cpu", "fp32"))
    images = standardise(torch.rand(2, 1, *SIZE))
    box, none = torch.tensor([[4.0, 4.0, 40.0, 30.0]]), torch.zeros(0, 4)
    labels = [torch.tensor([1]), torch.zeros(0, dtype=torch.int64)]
    terms = detector.losses(images, [box, none], labels, [torch.tensor([False]), torch.zeros(0).bool()])
    assert len(terms) == 4 and all(torch.isfinite(term) for term in terms.values())
    detector.network.eval()
    assert len(detector.find(images)) == 2


def test_the_command_compares_every_training_set(tmp_path: Path, flir: Path, command: Callable) -> None:
    call = ("scripts.evaluate_detection", "--dataroot", flir, "--generated", tmp_path / "gen", "--size", *SIZE, *CPU)
    call += ("--steps", 2, "--batch_size", 2, "--min_boxes", 1, "--seeds", 2, "--examples", 1, "--out", "d.json")
    done = command(*call)
    scores = json.loads((tmp_path / "d.json").read_text())
    names = ["real infrared", "generated", "luminance", "inverted luminance", "real + generated"]
    assert list(scores["arms"]) == names and scores["baseline"] == "luminance"
    assert scores["classes"] == ["car", "person"]
    assert scores["test_boxes"] == {"car": 2, "person": 2}
    arm = scores["arms"]["real + generated"]
    assert (arm["images"], arm["boxes"], len(arm["mAP of each seed"])) == (6, 12, 2)
    assert all(name in done.stdout for name in names) and "59.3" in done.stdout
    folder = tmp_path / "results/detection"
    assert "AP50 by class" in (folder / "index.html").read_text()
    assert len(list((folder / "images").iterdir())) == 1 + 2 * len(
        names
    )  # truth; what each found; what each was taught


def test_what_is_known_is_written_after_each_training(
    tmp_path: Path, flir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = evaluate_detection.train_detector

    def stop_at_the_second(*arguments: object) -> object:
        if arguments[-1] != "real infrared":
            raise ValueError("the power went")
        return train(*arguments)

    monkeypatch.setattr(evaluate_detection, "train_detector", stop_at_the_second)
    monkeypatch.chdir(tmp_path)
    words = ("--dataroot", flir, "--size", *SIZE, *CPU, "--steps", 1, "--min_boxes", 1, "--arms", "real", "luminance")
    call = [str(word) for word in words]
    with pytest.raises(ValueError, match="the power went"):
        evaluate_detection.main(call)
    folder = tmp_path / "results/detection"
    assert list(json.loads((folder / "scores.json").read_text())["arms"]) == ["real infrared"]
    assert (folder / "index.html").is_file()
    notes = tmp_path / "notes.json"
    notes.write_text("{}")
    with pytest.raises(ValueError, match="this command did not write it"):
        evaluate_detection.main([*call, "--out", "notes.json"])
    (folder / "made.jsonl").write_text("{}")
    with pytest.raises(ValueError, match="holds the results of a run of that name"):
        evaluate_detection.main(call)
    assert notes.read_text() == "{}"
    labels = flir / "images_thermal_train/coco.json"
    labels.write_text(labels.read_text().replace('"car"', '"arms"'))  # as this command's own files have
    before = labels.read_text()
    with pytest.raises(ValueError, match="--out"):
        evaluate_detection.main([*call, "--out", str(labels)])
    assert labels.read_text() == before


def test_without_a_run_the_generator_of_the_project_makes_the_images(
    tmp_path: Path, flir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretend(argv: list[str]) -> int:
        assert not {"--name", "--weights"} & set(argv)
        shutil.copytree(flir, argv[argv.index("--out") + 1])
        return 0

    monkeypatch.setattr(evaluate_detection.augment, "main", pretend)
    options = DetectionOptions(dataroot=flir, results_dir=tmp_path / "results")
    (labels,) = evaluate_detection.generated_folders(options)[0].values()
    assert labels.path == tmp_path / "results/to_infrared/detection/generated/images_thermal_train"
    results = tmp_path / "results/to_infrared"
    with own_folder(tmp_path / "results", results, [], ["infrared"]):  # test.py's may lie beside them
        assert (results / "detection").is_dir()
    assert not DetectionOptions(arms=("real", "luminance")).generates
    assert DetectionOptions(generated=(flir,)).folder() == Path("results/detection")


@pytest.mark.parametrize("otherwise", [False, True])
def test_only_images_made_otherwise_are_made_again(
    tmp_path: Path, flir: Path, monkeypatch: pytest.MonkeyPatch, otherwise: bool
) -> None:
    called = []

    def pretend(argv: list[str]) -> int:
        called.append("--overwrite" in argv)
        if otherwise and not called[-1]:
            raise evaluate_detection.augment.MadeOtherwise("with other weights")
        shutil.copytree(flir, argv[argv.index("--out") + 1])
        return 0

    monkeypatch.setattr(evaluate_detection.augment, "main", pretend)
    evaluate_detection.generated_folders(DetectionOptions(dataroot=flir, results_dir=tmp_path / "results"))
    assert called == ([False, True] if otherwise else [False])


def test_mistakes_are_named_before_training(
    tmp_path: Path, flir: Path, command: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ("scripts.evaluate_detection", "--dataroot", flir, "--size", *SIZE, *CPU, "--min_boxes", 1)
    assert "is --dataroot itself" in command(*call, "--generated", flir, status=2).stderr
    assert "has no images_thermal_train/coco.json" in command(*call, "--generated", "none", status=2).stderr
    real = (*call, "--arms", "real")
    assert "no detector of --arms real" in command(*real, "--generated", "gen", status=2).stderr
    assert "given twice" in command(*call, "--generated", "gen", "gen/../gen", status=2).stderr
    record = tmp_path / "gen" / "augment.json"
    record.write_text(json.dumps({"finished": False}))
    assert "gen: is half done" in command(*call, "--generated", "gen", status=2).stderr
    record.write_text(json.dumps({"finished": True, "generated_from": "/other"}))
    evaluate_detection.check_generated(tmp_path / "gen", flir)
    assert "was generated from /other, not from" in capsys.readouterr().out
    assert "not in all labels, which have" in command(*real, "--classes", "ufo", status=2).stderr
    assert "lower --min_boxes" in command(*real, "--min_boxes", 9, status=2).stderr
    assert "has no images_thermal_val/coco.json" in command(*real, "--test", "val", status=2).stderr
    shutil.copytree(flir / "images_thermal_train", flir / "images_thermal_val")
    assert "a test image must not train" in command(*real, "--test", "val", status=2).stderr
    assert not (tmp_path / "results").exists()


def test_grey_is_the_baseline() -> None:
    def result(value: float) -> Result:
        return Result(1, 1, [Precision(value, 0.5, {}, {})])

    rows = {"generated": result(0.3), "luminance": result(0.2), "inverted luminance": result(0.4)}
    assert verdicts(rows)[0].startswith("generated does not beat grey: mAP 0.300 against 0.400 of inverted luminance")
    rows["inverted luminance"] = result(0.1)
    assert verdicts(rows)[0].startswith(
        "generated is above, with one seed too few to say that it beats, grey: mAP 0.300"
    )
    assert verdicts(rows)[-1].startswith("one seed")
    certain = {name: Result(1, 1, row.scores * 2) for name, row in rows.items()}
    assert verdicts(certain)[0].startswith("generated beats grey: mAP 0.300 against 0.200 of luminance")
    rows["generated"].scores.append(Precision(0.15, 0.5, {}, {}))
    assert verdicts(rows)[0].startswith("generated does not beat grey: mAP 0.225 ± 0.106")  # within its deviation
    rows = {"real infrared": Result(1, 1, [Precision(0.01, 0.02, {}, {})] * 2)}
    assert verdicts(rows) == [
        "no detector reaches an AP50 of 0.15: they have learnt too little to compare; raise --steps"
    ]


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["centre", "fasterrcnn_mobilenet"])
def test_training_on_cuda(flir: Path, name: str) -> None:
    device = select_device("cuda")
    options = DetectionOptions(arms=("real",), steps=2, batch_size=2, size=SIZE, detector=name, device="cuda")
    labels = read_coco(flir / "images_thermal_train")
    data = read_labelled(labels, Reading(["car", "person"], SIZE, "infrared", DataOptions(), 0))
    found = find_all(train_detector(data, 2, 0, options, device), data, options, device)
    assert len(found) == len(data) and all(np.isfinite(boxes.boxes).all() for boxes in found)


def test_images_of_one_name_are_others_unless_their_content_is_the_same(tmp_path: Path) -> None:
    for part in ("train", "val"):
        write_part(tmp_path, part, "x", 2)
        content = json.loads((tmp_path / part / "coco.json").read_text())
        for k, entry in enumerate(content["images"]):
            (tmp_path / part / entry["file_name"]).rename(tmp_path / part / "data" / f"{k}.png")
            entry["file_name"] = f"data/{k}.png"
        (tmp_path / part / "coco.json").write_text(json.dumps(content))
    test, training = read_coco(tmp_path / "val"), read_coco(tmp_path / "train")
    assert evaluate_detection.shared_image(test, [training]) is None
    shutil.copy(tmp_path / "train/data/1.png", tmp_path / "val/data/1.png")
    assert evaluate_detection.shared_image(test, [training]) == "1.png"
    (tmp_path / "train/data/1.png").unlink()
    assert evaluate_detection.shared_image(test, [training]) is None, "what is not there is told of where it is read"


def test_a_file_that_is_gone_and_a_class_without_test_boxes(tmp_path: Path, flir: Path, command: Callable) -> None:
    content = json.loads((flir / "video_thermal_test/coco.json").read_text())
    content["annotations"].append({"id": 99, "image_id": 1, "category_id": 4, "bbox": [500, 500, 9, 9]})
    (flir / "video_thermal_test/coco.json").write_text(json.dumps(content))
    train = json.loads((flir / "images_thermal_train/coco.json").read_text())
    train["annotations"].append({"id": 99, "image_id": 1, "category_id": 4, "bbox": [1, 1, 9, 9]})
    (flir / "images_thermal_train/coco.json").write_text(json.dumps(train))
    (flir / "images_thermal_train" / train["images"][0]["file_name"]).unlink()
    call = ("scripts.evaluate_detection", "--dataroot", flir, "--arms", "real", "--size", *SIZE, *CPU, "--min_boxes", 1)
    done = command(*call, "--steps", 1, "--seeds", 2, "--batch_size", 2, "--out", "d.json", status=1)
    assert done.stderr.count("no such file") == 1
    scores = json.loads((tmp_path / "d.json").read_text(), parse_constant=pytest.fail)
    assert scores["test_boxes"]["ufo"] == 0 and scores["arms"]["real infrared"]["AP50 ufo"]["mean"] is None
