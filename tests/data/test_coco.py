"""COCO files of others: what is read, what one line refuses, and where labels lie in images of another size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as reference

from data.coco import Placement, labelled_size, read_coco
from data.coco_entries import outlines
from data.masks import from_runs, from_segments


def written(folder: Path, **changes: Any) -> Path:
    """A folder whose coco.json has two images, two categories and three boxes, with other lists where given."""
    images = [{"id": k, "file_name": f"data/{k}.jpg", "width": 160, "height": 128} for k in range(2)]
    notes = [{"id": k, "image_id": k // 2, "category_id": 3, "bbox": [20, 20, 40, 60]} for k in range(3)]
    content = {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "a"}, {"id": 3, "name": "b"}]}
    folder.mkdir(exist_ok=True)
    (folder / "coco.json").write_text(json.dumps(content | changes))
    return folder


def note(**changes: Any) -> dict[str, list[dict[str, Any]]]:
    """Annotations of which the last has other values."""
    return {"annotations": [{"id": 5, "image_id": 0, "category_id": 1, "bbox": [0, 0, 9, 9]},
                            {"id": 6, "image_id": 0, "category_id": 1, "bbox": [0, 0, 9, 9]} | changes]}  # fmt: skip


def image(**changes: Any) -> dict[str, list[dict[str, Any]]]:
    """One image with other values, and no annotation."""
    return {"images": [{"id": 0, "file_name": "data/0.jpg"} | changes], "annotations": []}


def test_text_is_read_as_the_number_it_spells(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        images=[{"id": "7", "file_name": "data\\sub\\0.jpg", "width": "160", "height": 128.0}],
        categories=[{"id": "3", "name": "car"}],
        annotations=[{"id": "1", "image_id": "7", "category_id": "3", "bbox": ["20", "20.5", 40, 60], "iscrowd": "0"}],
    )
    labels = read_coco(folder)
    assert labels.images == [{"id": 7, "file_name": "data/sub/0.jpg", "width": 160, "height": 128}]
    assert labels.file(labels.images[0]) == folder / "data" / "sub" / "0.jpg"
    assert labels.categories == {3: "car"}
    assert labels.annotations[7] == [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [20, 20.5, 40, 60], "area": 2400, "iscrowd": 0}
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (note(bbox=[0, "x", 9, 9]), r"annotations\[1\] \(id 6\): bbox\[1\] is 'x'"),
        (note(bbox=[0, None, 9, 9]), r"bbox\[1\] is None"),
        (note(bbox=[0, [1], 9, 9]), r"bbox\[1\] is \[1\]"),
        (note(bbox=[0, True, 9, 9]), r"bbox\[1\] is True"),
        (note(bbox=[0, 0, -9, 9]), r"bbox\[2\] is -9: give a number from 0"),
        (note(bbox=[0, 0, 1e300, 9]), r"bbox\[2\] is 1e\+300"),
        (note(bbox={"x": 1}), r"has a box \{'x': 1\}: give left, top, width, height"),
        (note(bbox=None), "has a box None"),
        (note(id=5), "two annotations have the id 5"),
        (note(id=[6]), r"id is \[6\]"),
        (note(image_id={"a": 1}), "image_id is"),
        (note(image_id=0.5), "image_id is 0.5: give a whole number"),
        (note(category_id=[1]), "category_id is"),
        (note(area="large"), "area is 'large'"),
        (note(iscrowd=[0]), "iscrowd is"),
        (note(segmentation=[[1, 2, 3, "x", 5, 6]]), "segmentation is 'x'"),
        (note(segmentation="0 0 1 1"), "segmentation is '0 0 1 1'"),
        (note(segmentation={"counts": "\u00ff", "size": [2, 2]}), "counts is damaged"),
        ({"annotations": [["a", "b"]]}, r"annotations\[0\] is \['a', 'b'\]: give an object"),
        ({"annotations": [{"image_id": 0, "category_id": 1, "bbox": [0, 0, 9, 9]}]}, "lacks 'id'"),
        ({"annotations": [{"id": 1, "image_id": 0, "category_id": 1}]}, "lacks 'bbox'"),
        ({"annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [0.1, 0, 0.5, 1]}]}, "not shares"),
        (image(id="0", file_name=5.5, width=[80]), r"images\[0\] \(id '0'\): width is \[80\]"),
        (image(width=-4), "width is -4"),
        (image(file_name=None), "file_name is None"),
        (image(file_name="a\0b.jpg"), "file_name is"),
        (image(file_name="a\ud800.jpg"), "file_name is"),
        (image(id=None), "id is None"),
        ({"images": [{"id": 0, "file_name": "a.jpg"}, {"id": "0", "file_name": "b.jpg"}]}, "two images have the id 0"),
        ({"images": [{"id": 0, "file_name": "d/a.jpg"}, {"id": 1, "file_name": "d\\a.jpg"}]}, "are called d/a.jpg"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1.0, "name": "b"}]}, "two categories have the id 1"),
        ({"categories": [{"id": 1, "name": []}]}, "name is"),
        ({"categories": {"1": "a"}}, "no list of categories"),
    ],
)
def test_one_line_with_file_and_entry(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as refusal:
        read_coco(written(tmp_path, **changes))
    assert str(refusal.value).startswith(f"{tmp_path / 'coco.json'}: ") and "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200 + len(str(tmp_path))


def test_sides_the_wrong_way_round_are_those_of_the_file() -> None:
    assert labelled_size({"width": 128, "height": 160}, (160, 128)) == (160, 128)
    assert labelled_size({"width": 320, "height": 256}, (160, 128)) == (320, 256)
    assert labelled_size({"width": 0, "height": None}, (160, 128)) == (160, 128)


def test_outlines_are_cut_where_the_image_ends() -> None:
    place = Placement.of((100, 50), (100, 50), "none", None)
    inside = [10.0, 10.0, 90.0, 10.0, 50.0, 40.0]
    assert place.outline(inside) == inside
    # A triangle whose peak lies above the image is cut to a trapezium, not bent to a smaller triangle.
    assert place.outline([0, 50, 100, 50, 50, -50]) == [25, 0, 0, 50, 100, 50, 75, 0]
    assert place.outline([200, 10, 300, 10, 250, 40]) == []


def square(left: float, top: float, side: float) -> list[float]:
    return [left, top, left + side, top, left + side, top + side, left, top + side]


def test_masks_of_outlines_are_those_of_pycocotools() -> None:
    assert from_segments([square(20, 30, 50)], (128, 160)).sum() == 2500
    rng = np.random.default_rng(0)
    for _ in range(5):
        polygons = rng.uniform(-20, 180, (2, 10)).tolist()
        expected = reference.decode(reference.merge(reference.frPyObjects(polygons, 128, 160)))
        np.testing.assert_array_equal(from_segments(polygons, (128, 160)), expected)
    assert from_segments([square(-1e9, 1e9, 5)], (128, 160)).sum() == 0, "and what is far outside takes no memory"
    assert from_segments([], (3, 4)).shape == (3, 4)


def test_run_lengths_packed_and_plain() -> None:
    rng = np.random.default_rng(0)
    for mask in (rng.random((50, 37)) > 0.5, np.ones((5, 7)), np.zeros((5, 7)), np.eye(300, 200)):
        packed = reference.encode(np.asfortranarray(mask, np.uint8))
        read = outlines({"size": list(mask.shape), "counts": packed["counts"].decode()}, "x")
        np.testing.assert_array_equal(from_runs(read["counts"], mask.shape, mask.shape), mask)
        assert outlines(read, "x") == read
    assert from_runs([0, 4], (2, 2), (3, 5)).sum() == 15 and from_runs([1, 3], (2, 2), (4, 4))[:2, :2].sum() == 0
    for damaged in ("x", "", "1", packed["counts"].decode()[:-1], "0" * 30, [3], [-1, 5], [1.5, 2.5], None, "é"):
        with pytest.raises(ValueError, match="counts"):
            outlines({"size": [2, 2], "counts": damaged}, "x")
    with pytest.raises(ValueError, match="size"):
        outlines({"counts": [4]}, "x")
    with pytest.raises(ValueError, match="counts"):
        outlines({"size": [10**6, 10**6], "counts": [5 * 10**11] * 2}, "x")


def test_odd_outlines() -> None:
    triangle = [0.0, 0.0, 4.0, 0.0, 4.0, 4.0]
    assert outlines(triangle, "x") == [triangle], "one outline that is in no list"
    assert outlines([triangle, [1, 1, 2, 2], []], "x") == [triangle], "less than three points enclose nothing"
    assert outlines([], "x") == outlines(None, "x") == []
