"""Where a pair's salient-target mask comes from, and what training makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.images import ImageError, Source, write_image
from data.layouts import Pair, find
from data.masks import Masks, _annotated
from data.samples import finished
from data.training_images import TrainingImages
from models import METHODS
from options.data import DataOptions, TrainDataOptions
from options.train import InputOptions, TrainOptions
from tests.conftest import write_pairs

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 10, "name": "light"}]


def annotated(root: Path) -> Pair:
    """A thermal folder as FLIR ADAS v2 has it, with a person's box, a lamp's box and an outline."""
    infrared = root / "images_thermal_val" / "data" / "a.jpg"
    write_image(infrared, np.full((20, 30), 90, np.uint8))
    content = {
        "images": [{"id": 7, "file_name": "data/a.jpg"}, {"id": 8, "file_name": "data/b.jpg"}],
        "categories": CATEGORIES,
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [2, 3, 5, 6]},
            {"image_id": 7, "category_id": 10, "bbox": [20, 0, 5, 5]},
            {
                "image_id": 7,
                "category_id": 1,
                "bbox": [0, 0, 30, 20],
                "segmentation": [[15, 10, 25, 10, 25, 15, 15, 15]],
            },
            {"image_id": 8, "category_id": 1, "bbox": [0, 0, 30, 20]},
        ],
    }
    (root / "images_thermal_val" / "coco.json").write_text(json.dumps(content))
    return Pair("a", Source(infrared, "a"), Source(infrared, "a"))


def test_boxes_and_outlines_of_warm_things(tmp_path: Path) -> None:
    pair = annotated(tmp_path)
    assert Masks("auto").source_of(pair) == "boxes" and Masks("file").source_of(pair) is None
    mask = Masks("boxes").read(pair, np.zeros((20, 30), np.uint8))
    expected = np.zeros((20, 30), np.float32)
    expected[3:9, 2:7] = 1
    expected[10:15, 15:25] = 1
    assert np.abs(mask - expected).sum() <= 30, "an outline's own border may differ by a pixel"
    assert mask[4, 4] == 1 and mask[12, 20] == 1 and mask[2, 22] == 0 and mask[18, 1] == 0


def test_the_order_of_auto_and_what_is_missing(tmp_path: Path) -> None:
    infrared = tmp_path / "ir" / "x.png"
    grey = np.full((40, 60), 60, np.uint8)
    grey[10:20, 20:28] = 240
    write_image(infrared, grey)
    bare = Pair("x", Source(infrared, "x"), Source(infrared, "x"))
    assert Masks("auto").source_of(bare) == "thermal" and Masks("boxes").source_of(bare) is None
    found = Masks("auto").read(bare, grey)
    assert found[15, 24] == 1 and found[30, 50] == 0
    with pytest.raises(ValueError, match="--mask_source boxes"):
        Masks("boxes").read(bare, grey)
    file = tmp_path / "mask" / "x.png"
    write_image(file, np.eye(40, 60, dtype=np.uint8) * 255)
    whole = Pair("x", bare.visible, bare.infrared, file)
    assert Masks("auto").source_of(whole) == "file"
    np.testing.assert_array_equal(Masks("file").read(whole, grey), np.eye(40, 60))
    assert Masks("thermal").source_of(whole) == "thermal"


def labelled(root: Path) -> Pair:
    """A pair in MSRS's layout with a label image: a car, a person and a guardrail, 2 rows each."""
    classes = np.zeros((40, 60), np.uint8)
    classes[10:12], classes[20:22], classes[30:32] = 1, 2, 6
    write_pairs(root / "train", 3, (40, 60))
    for folder, name in (("visible", "vi"), ("infrared", "ir")):
        (root / "train" / folder).rename(root / "train" / name)
    for number in range(3):
        write_image(root / "train" / "Segmentation_labels" / f"{number:03d}.png", classes)
    options = DataOptions(dataroot=root, val_fraction=0, test_fraction=0)
    return find(options).splits["train"].pairs[0]


def test_label_images_give_the_masks_of_classes(tmp_path: Path) -> None:
    pair, heat = labelled(tmp_path), np.zeros((40, 60), np.uint8)
    assert pair.labels == tmp_path / "train" / "Segmentation_labels" / "000.png" and pair.mask is None
    assert Masks().source_of(pair) == "labels", "before a guess"
    assert Masks("file").source_of(pair) is None and Masks("thermal").source_of(pair) == "thermal"
    rows = {
        name: set(
            Masks.from_options(DataOptions(mask_source="labels", mask_classes=name))
            .read(pair, heat)
            .nonzero()[0]
            .tolist()
        )
        for name in ((("person", "car", "bike")), ("Car",), ("6", "car_stop"))
    }
    assert list(rows.values()) == [{10, 11, 20, 21}, {10, 11}, {30, 31}]
    boxes = annotated(tmp_path)
    assert Masks().source_of(replace(boxes, labels=pair.labels)) == "boxes", "drawn for this data set's things"
    assert Masks("labels").facts(pair) != Masks("labels", (2,)).facts(pair), "a cache tells them apart"


def test_labels_that_are_not_there_or_no_labels(tmp_path: Path) -> None:
    pair, heat = labelled(tmp_path), np.zeros((40, 60), np.uint8)
    for classes, says in ((("persn",), "persn: is no class"), (("0",), "0: is no class"), ((), "names no class")):
        with pytest.raises(ValueError, match=f"--mask_classes {says}.*; give car, person.*a number from 1"):
            DataOptions(mask_classes=classes)
    with pytest.raises(ValueError, match=r"--mask_source labels: there is none for .*000.png; give auto or thermal"):
        Masks("labels").check([pair, replace(pair, labels=None)])
    palette = Image.fromarray(np.full((40, 60), 2, np.uint8), "P")
    palette.putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0])
    palette.save(pair.labels)
    assert Masks("labels").read(pair, heat).all(), "indices, not colours"
    for save in (
        lambda path: palette.convert("RGB").save(path),
        lambda path: Image.fromarray(heat + 2).save(path, "JPEG"),
    ):
        save(pair.labels)
        with pytest.raises(ImageError, match="is no label image: give a PNG of one channel"):
            Masks("labels").read(pair, heat)


def options_for(root: Path, **changes: object) -> TrainOptions:
    values = {"sampling": "paired", "preprocess": "crop", "crop_size": 24, "patch_stride": 12, "num_threads": 0}
    return TrainOptions(data=TrainDataOptions(dataroot=(root,)), input=InputOptions(**values | changes))


def test_strided_patches_cover_the_image_and_share_one_geometry(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, 4, (40, 48))
    split = find(DataOptions(dataroot=root, val_fraction=0, test_fraction=0)).splits["train"]
    dataset = TrainingImages(split, options_for(root, flip=False, serial_batches=True), with_mask=True)
    assert len(dataset) == 4 * 2 * 3
    first, later = dataset[0, 0], dataset[0, 5]
    assert first["visible"].shape == (3, 24, 24) and first["mask"].shape == (1, 24, 24)
    whole = dataset.kept[split.pairs[0]]
    assert torch.equal(later["visible"], whole["visible"][:, 12:36, 24:48])
    assert torch.equal(later["mask"], whole["mask"][:, 12:36, 24:48])
    assert first["mask"].dtype == torch.float32 and first["mask"].min() >= 0 and first["mask"].max() <= 1
    with pytest.raises(ValueError, match="--crop_size"):
        TrainingImages(split, options_for(root, crop_size=64))
    with pytest.raises(ValueError, match="--mask_source file"):
        from_files = TrainDataOptions(dataroot=(root,), mask_source="file")
        TrainingImages(split, TrainOptions(data=from_files, input=options_for(root).input), with_mask=True)


def test_a_resized_mask_stays_in_range() -> None:
    assert finished({"mask": torch.tensor([-0.1, 0.5, 1.2])})["mask"].tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        ("stdfusion_net", ["--ngf", "4", "--crop_size", "24", "--patch_stride", "16", "--batch_size", "4"]),
        ("fusion_gan", ["--ngf", "8", "--ndf", "2", "--crop_size", "48", "--patch_size", "48", "--patch_stride", "8",
                        "--batch_size", "4"]),
    ],
)  # fmt: skip
def test_fusion_methods_train_by_the_same_command(
    command: object, tmp_path: Path, model: str, arguments: list[str]
) -> None:
    root = write_pairs(tmp_path / "data", 6, (48, 56))
    base = ["--dataroot", root, "--model", model, "--name", model, "--device", "cpu", "--num_threads", 0, *arguments]
    done = command("train.py", *base, "--n_epochs", 1)
    run = tmp_path / "checkpoints" / model
    records = [json.loads(line) for line in (run / "losses.jsonl").read_text().splitlines()]
    scores = [record["val"] for record in records if "val" in record]
    assert set(scores[0]) == {"fused", "average", "maximum", "visible", "infrared"} and "Qabf" in scores[0]["fused"]
    assert list((run / "web" / "images").glob("*-fused.png"))
    options = json.loads((run / "options.json").read_text())["options"]
    assert options["loop"]["beta1"] == 0.9 and options["input"]["sampling"] == "paired", (
        "published settings are default"
    )
    assert METHODS[model].network(METHODS[model].Options(**options["method"]))
    again = command("train.py", *base, "--n_epochs", 2, "--continue_train")
    assert "finished 2 epochs" in again.stdout and "the best by Qabf" in done.stdout


def test_a_corrupt_pair_costs_its_patches_not_the_run(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, 3, (200, 240))
    victim = root / "visible" / "001.png"
    victim.write_bytes(victim.read_bytes()[:400])
    split = find(DataOptions(dataroot=root, val_fraction=0, test_fraction=0)).splits["train"]
    dataset = TrainingImages(split, options_for(root, patch_stride=4, serial_batches=True))
    assert len(dataset) // 3 > 2000, "far more patches of one image than images are tried in another's place"
    sample = dataset[0, len(dataset) // 3]
    assert sample["visible"].shape == (3, 24, 24) and [path for path, _ in sample["skipped"]] == [str(victim)]


def test_patches_of_joined_pictures_lie_in_their_half(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for i in range(2):
            write_image(tmp_path / split / f"{i}.png", np.full((40, 100, 3), 50 * i, np.uint8))
    found = find(DataOptions(dataroot=tmp_path, layout="pix2pix")).splits["train"]
    dataset = TrainingImages(found, options_for(tmp_path, patch_stride=8, serial_batches=True))
    assert {dataset[0, i]["infrared"].shape for i in range(len(dataset))} == {(1, 24, 24)}


def test_images_without_room_for_a_patch_are_counted(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, 3, (30, 30))
    write_pairs(tmp_path / "small", 1, (20, 40))
    for side in ("visible", "infrared"):
        (tmp_path / "small" / side / "000.png").rename(root / side / "900.png")
    split = find(DataOptions(dataroot=root, val_fraction=0, test_fraction=0)).splits["train"]
    assert TrainingImages(split, options_for(root)).too_small == 1


def test_odd_annotations_fall_back_to_their_box(tmp_path: Path) -> None:
    pair = annotated(tmp_path)
    path = tmp_path / "images_thermal_val" / "coco.json"
    content = json.loads(path.read_text())
    content["annotations"] = [
        {"image_id": 7, "category_id": 1, "bbox": [2, 3, 5, 6], "segmentation": [[1, 2]]},
        {"image_id": 7, "category_id": 1, "bbox": [10, 3, 5, 6], "segmentation": {"counts": "x", "size": [20, 30]}},
        {"image_id": 99, "category_id": 1, "bbox": [0, 0, 30, 20]},
    ]
    other = tmp_path / "other"
    (other / "data").mkdir(parents=True)
    (other / "coco.json").write_text(json.dumps(content))
    infrared = other / "data" / "a.jpg"
    infrared.write_bytes(pair.infrared.path.read_bytes())
    mask = Masks("boxes").read(Pair("a", pair.visible, Source(infrared, "a")), np.zeros((20, 30), np.uint8))
    assert mask[4, 4] == 1 and mask[4, 12] == 1 and mask.sum() == 60


def test_labels_in_the_pixels_of_another_size(tmp_path: Path) -> None:
    """Boxes, outlines and run lengths follow; an entry with exchanged sides has its file's."""
    pair = annotated(tmp_path)
    path = tmp_path / "images_thermal_val" / "coco.json"
    content = json.loads(path.read_text())
    runs = np.zeros((40, 60), int)
    runs[20:24, 40:50] = 1
    ends = np.flatnonzero(np.diff(runs.T.ravel(), prepend=0, append=0))
    counts = np.diff(ends, prepend=0, append=runs.size).tolist()
    kinds = [
        {"bbox": [4, 6, 10, 12]},
        {"bbox": [0, 0, 60, 40], "segmentation": [[30, 20, 50, 20, 50, 30, 30, 30]]},
        {"bbox": [0, 0, 60, 40], "segmentation": {"size": [40, 60], "counts": counts}, "iscrowd": 1},
    ]
    expected = np.zeros((3, 20, 30))
    expected[0, 3:9, 2:7] = expected[1, 10:15, 15:25] = expected[2, 10:12, 20:25] = 1
    for size, kept in (((60, 40), (0, 1, 2)), ((20, 30), ())):
        content["images"][0] |= {"width": size[0], "height": size[1]}
        content["annotations"] = [{"image_id": 7, "category_id": 1} | kind for kind in kinds]
        folder = tmp_path / f"of{size[0]}"
        (folder / "data").mkdir(parents=True)
        (folder / "coco.json").write_text("\ufeff" + json.dumps(content))
        infrared = folder / "data" / "a.jpg"
        infrared.write_bytes(pair.infrared.path.read_bytes())
        mask = Masks("boxes").read(Pair("a", pair.visible, Source(infrared, "a")), np.zeros((20, 30), np.uint8))
        if kept:
            np.testing.assert_array_equal(mask, expected.max(0))
        else:
            assert mask[6:18, 4:14].all(), "the box as it stands there"


def test_labels_are_those_of_the_image_not_of_one_of_its_name(tmp_path: Path) -> None:
    write_image(tmp_path / "ir" / "a" / "1.png", np.zeros((20, 30), np.uint8))
    names = ["a/1.png", "b/1.png", "c/2.png"]
    content = {
        "images": [{"id": k, "file_name": name} for k, name in enumerate(names)],
        "categories": CATEGORIES,
        "annotations": [{"image_id": k, "category_id": 1, "bbox": [k, 0, 1, 20]} for k in range(3)],
    }
    (tmp_path / "ir" / "coco.json").write_text(json.dumps(content))

    def of(name: str) -> Pair:
        source = Source(tmp_path / "ir" / name, Path(name).stem)
        return Pair(source.stem, source, source)

    zeros = np.zeros((20, 30), np.uint8)
    assert Masks("boxes").read(of("a/1.png"), zeros).nonzero()[1].max() == 0
    assert Masks("boxes").read(of("c/2.tiff"), zeros).nonzero()[1].min() == 2, "counts beside 8-bit images"
    assert Masks("boxes").source_of(of("d/1.png")) is None, "two images have that name, and it is neither"
    thermal = {"images": [{"id": 1, "file_name": "3.png"}], "annotations": [], "categories": []}
    (tmp_path / "ir" / "thermal_annotations.json").write_text(json.dumps(thermal))
    assert Masks("boxes").source_of(of("a/3.png")) == "boxes", "another file lists it"


def test_a_damaged_annotation_file_is_named(tmp_path: Path) -> None:
    pair = annotated(tmp_path)
    path = tmp_path / "images_thermal_val" / "coco.json"
    content = json.loads(path.read_text())
    for text, says in (
        ("{", "cannot be read as JSON"),
        (json.dumps(content | {"categories": None}), "no list of categories"),
        (json.dumps(content | {"annotations": [{"image_id": 7, "category_id": 1, "bbox": "x"}]}), r"annotations\[0\]"),
    ):
        path.write_text(text)
        _annotated.cache_clear()
        with pytest.raises(ValueError, match=says) as refusal:
            Masks("boxes").source_of(pair)
        assert str(refusal.value).startswith(str(path))
