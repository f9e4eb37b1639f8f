"""Does generated infrared train detectors? One detector, trained on real infrared, generated infrared and plain grey
images in turn, and tested on real infrared images.

python -m scripts.evaluate_detection --dataroot datasets/FLIR_ADAS_v2
"""

from __future__ import annotations

import filecmp
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath

from data.coco import CocoFolder, find_folder, note_unlisted, read_coco
from data.detection import THERMAL, Labelled, Look, Reading, is_ignored, read_labelled
from data.inputs import ensure_sample, evenly
from data.output.results import MANIFEST
from options.data import DataOptions
from options.detection import DetectionOptions
from scripts import augment
from scripts.detection.drawing import draw_boxes
from scripts.detection.report import GREY, MARK, DetectionReport, Result, shown
from scripts.detection.training import find_all, train_detector, truth_of
from scripts.report import tell
from util.command_line import parse, run_command
from util.device import Device, select_device
from util.files import alone_in, check_apart, check_file, check_folder, code_version
from util.json_file import read_json
from util.metrics.detection import Boxes, average_precision
from util.pages.image_rows import Row
from util.text import plural

TEST_FOLDERS = {"video": "video_thermal_test", "val": "images_thermal_val"}


def labels_in(root: Path, name: str) -> CocoFolder:
    """The labels of a folder of the data set; ValueError where it has none."""
    folder = find_folder(root, name)
    if folder is None:
        raise ValueError(f"{root}: has no {name}/coco.json: give a data set in the layout of FLIR ADAS v2, with labels")
    return read_coco(folder)


def test_labels(options: DetectionOptions) -> CocoFolder:
    """The labels of the real infrared test images."""
    names = TEST_FOLDERS.values() if options.test == "auto" else [TEST_FOLDERS[options.test]]
    name = next((name for name in names if find_folder(options.dataroot, name)), next(iter(names)))
    return labels_in(options.dataroot, name)


def common_classes(options: DetectionOptions, test: CocoFolder, training: Sequence[CocoFolder]) -> list[str]:
    """Names of the classes: those asked for, or those in all labels with enough test boxes, most frequent first."""

    def counted(labels: CocoFolder, min_side: float) -> Counter[str]:
        sizes = {
            image["id"]: (image.get("height") or THERMAL[0], image.get("width") or THERMAL[1])
            for image in labels.images
        }
        notes = (note for of_image in labels.annotations.values() for note in of_image)
        kept = (n for n in notes if not is_ignored(n, n["bbox"][2:], sizes[n["image_id"]], min_side))
        return Counter(labels.categories[note["category_id"]] for note in kept)

    tested, trained = counted(test, options.min_side), [counted(labels, 0) for labels in training]
    there = [name for name, _ in tested.most_common() if all(name in counts for counts in trained)]
    unknown = [name for name in options.classes if name not in there]
    if unknown:
        raise ValueError(f"--classes {' '.join(unknown)}: not in all labels, which have {', '.join(there) or 'none'}")
    chosen = list(options.classes) or [name for name in there if tested[name] >= options.min_boxes]
    if not chosen:
        raise ValueError(
            f"no class has {plural(options.min_boxes, 'box')} in {test.path} and any in training: lower --min_boxes"
        )
    return chosen


def shared_image(test: CocoFolder, training: Sequence[CocoFolder]) -> str | None:
    """The name of a test image that is one to train on too: the same file, or one of its name and content."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for image in test.images:
        by_name[PurePosixPath(image["file_name"]).name].append(test.file(image))
    for path in (labels.file(image) for labels in training for image in labels.images):
        for other in by_name.get(path.name, ()):
            with suppress(OSError):  # one that is not there is told of where it is read
                if filecmp.cmp(path, other, shallow=False):
                    return path.name
    return None


def check_generated(folder: Path, root: Path) -> None:
    """ValueError for a folder that scripts.augment has not finished; a line where it was made of another data set than
    that at root."""
    try:
        record = read_json(folder / augment.RECORD)
    except ValueError:  # of another program
        return
    if record.get("finished") is False:
        raise ValueError(f"--generated {folder}: is half done; run scripts.augment on it again, which goes on")
    if (source := record.get("generated_from")) not in (None, str(root)):
        tell("note", [f"{folder} was generated from {source}, not from {root}"])


def generated_folders(options: DetectionOptions) -> tuple[dict[str, CocoFolder], int]:
    """Name -> labels of each generated training set, and how many images were not to be had; without --generated they
    are made first."""
    if not options.learns_from_generated:
        return {}, 0
    folders, skipped = options.generated, 0
    if options.generates:
        folders = (options.folder() / "generated",)
        made = ["--name", options.name] if options.name else []
        made += ["--checkpoints_dir", str(options.checkpoints_dir), "--epoch", options.epoch]
        made += ["--dataroot", str(options.dataroot), "--out", str(folders[0]), "--split", "train"]
        made += ["--device", options.device, "--precision", options.precision, "--scale", options.scale]
        made += ["--camera_crop" if options.camera_crop else "--no_camera_crop"] + ["--strict"] * options.strict
        try:  # what an earlier evaluation has made is not made again
            skipped = augment.main(made)
        except augment.MadeOtherwise:
            skipped = augment.main([*made, "--overwrite"])
    root = options.dataroot.resolve()
    found = {}
    for folder in folders:
        if folder.resolve() == root:
            raise ValueError(f"--generated {folder}: is --dataroot itself; give a folder that scripts.augment wrote")
        check_generated(folder, root)
        name = options.name or folder.name
        found[f"{name} {len(found) + 1}" if name in found else name] = labels_in(folder, "images_thermal_train")
    return found, skipped


class TrainingSets:
    """The sets that detectors are trained on, read where they are first needed."""

    def __init__(self, options: DetectionOptions) -> None:
        self.options = options
        self.generated: Mapping[str, CocoFolder] = {}
        self.real = labels_in(options.dataroot, "images_thermal_train")
        self.visible = labels_in(options.dataroot, "images_rgb_train") if set(GREY) & set(options.arms) else None
        self.classes: list[str] = []
        self.skipped = 0  # images that could not be read

    def labels(self) -> list[CocoFolder]:
        """Every coco.json that is trained on."""
        return [self.real, *([self.visible] if self.visible else []), *self.generated.values()]

    def names(self) -> list[tuple[str, str, str]]:
        """(what the results call it, arm, generated set or "") of every training set."""
        found: list[tuple[str, str, str]] = []
        for arm in self.options.arms:
            if arm in GREY:
                found.append((GREY[arm], arm, ""))
            elif arm == "real":
                found.append(("real infrared", arm, ""))
            else:
                text = "generated" if arm == "generated" else "real + generated"
                several = len(self.generated) > 1
                found += [(f"{text} ({name})" if several else text, arm, name) for name in self.generated]
        return found

    def read(self, labels: CocoFolder, look: Look, limit: int | None = None) -> Labelled:
        """The images of a folder, as the detector sees them."""
        options = self.options
        camera = "flir_v2" if options.camera_crop and look != "infrared" else "none"
        data = DataOptions(strict=options.strict)
        reading = Reading(self.classes, options.size, look, data, options.min_side, camera)
        found = read_labelled(labels, reading, limit)
        self.skipped += found.skipped
        return found

    @lru_cache(maxsize=2)  # noqa: B019 - the real set and one other; this object lives as long as the command
    def infrared(self, name: str) -> Labelled:
        """A generated set, or the real one for ""."""
        return self.read(self.generated[name] if name else self.real, "infrared", self.options.max_images)

    def get(self, arm: str, name: str) -> Labelled:
        """The images of one training set."""
        if arm in GREY:
            return self.read(self.visible, GREY[arm], self.options.max_images)
        return self.infrared("") + self.infrared(name) if arm == "mixed" else self.infrared(name)


def run_arms(
    options: DetectionOptions, sets: TrainingSets, test: Labelled, truth: list[Boxes], device: Device
) -> Iterator[tuple[dict[str, Result], list[Row]]]:
    """Train and test on every training set in turn; after each, the results so far, and the rows of examples for the
    page."""
    results: dict[str, Result] = {}
    draw = partial(draw_boxes, options.folder() / "images", sets.classes)
    examples = evenly(range(len(test)), options.examples)
    pictures = {k: {"truth": draw(test, k, truth[k], "truth")} for k in examples}
    taught: dict[str, Path] = {}
    for number, (name, arm, of) in enumerate(sets.names()):
        data = sets.get(arm, of)
        if examples:
            k = len(data) * 2 // 3
            taught[name] = draw(data, k, truth_of(data)[k], f"{number} training")
        result = results[name] = Result(len(data), data.count())
        began = time.monotonic()
        for seed in range(options.seed, options.seed + options.seeds):
            detector = train_detector(data, len(sets.classes), seed, options, device, name)
            found = find_all(detector, test, options, device)
            result.scores.append(average_precision(truth, found, sets.classes))
            if seed == options.seed:
                for k in examples:
                    pictures[k][name] = draw(test, k, found[k], str(number))
        result.seconds = time.monotonic() - began
        scores = f"mAP {shown(result.of('map'))}, AP50 {shown(result.of('ap50'))}"
        print(f"{name}: {scores} ({result.seconds:.0f} s)", flush=True)
        rows = [Row(test.names[k], images) for k, images in pictures.items()]
        yield results, rows + ([Row("One of the images that each was trained on", taught)] if taught else [])


def main(argv: Sequence[str] | None = None) -> int:
    """Train and test detectors as argv says (sys.argv); exit status 1 where some images could not be read."""
    options = parse(DetectionOptions, argv)
    check_file("--out", options.out, MARK)
    check_apart("--out", [options.out] if options.out else [], options.dataroot.glob("*/*.json"))
    folder = options.folder()
    check_folder("--results_dir", options.results_dir, str(folder.relative_to(options.results_dir)))
    if (folder / MANIFEST).exists():
        raise ValueError(f"{folder}: holds the results of a run of that name; give another --results_dir")
    check_file("--results_dir", folder / "scores.json", MARK)
    device = select_device(options.device, options.precision)
    ensure_sample(options.dataroot)
    test_folder = test_labels(options)
    sets = TrainingSets(options)
    for labels in (test_folder, *sets.labels()):
        note_unlisted(labels)
    if shared := shared_image(test_folder, sets.labels()):
        raise ValueError(f"{shared} is in {test_folder.path} and in a training folder: a test image must not train")
    common_classes(options, test_folder, sets.labels())  # a mistake in them is one before anything is generated
    sets.generated, sets.skipped = generated_folders(options)
    sets.classes = common_classes(options, test_folder, sets.labels())
    test = sets.read(test_folder, "infrared", options.max_images)
    truth = truth_of(test)
    ignored = sum(int(boxes.what.sum()) for boxes in truth)
    height, width = options.size
    why = f"a side below {options.min_side:g} pixels, heavily occluded, crowds"
    facts = {
        "detector": f"{options.detector}, {width}x{height}, {plural(options.steps, 'step')} of {options.batch_size}",
        "seeds": options.seeds,
        "device": device.describe(),
        "data": str(options.dataroot),
        "test": f"{plural(len(test), 'image')} of {test_folder.path.name}",
        "boxes": f"{test.count()} to be found, {ignored} ignored ({why})",
        "code": code_version(),
    }
    for name, text in facts.items():
        print(f"{name:9} {text}", flush=True)
    print(f"{'classes':9} {', '.join(sets.classes)}", flush=True)
    with alone_in(folder, "wait for it, or give another --results_dir"):
        for results, rows in run_arms(options, sets, test, truth, device):
            report = DetectionReport(options, results, sets.classes, truth)
            page = report.write(rows, facts)  # after each, so that what is known is not lost with the others
    print(report.text())
    print(f"page      {page.resolve()}")
    return 1 if sets.skipped else 0


if __name__ == "__main__":
    run_command(main)
