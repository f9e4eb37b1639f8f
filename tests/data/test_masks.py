"""Salient-target masks: from thermal images, boxes and outlines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.images import ThermalRange, read_infrared
from data.masks import from_boxes, from_segments, from_thermal
from tests.conftest import SHARED

RELEASED = SHARED / "stdfusionnet" / "train"


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def read_grey(path: Path) -> np.ndarray:
    return read_infrared(path, ThermalRange(mode="percentile", percentile_low=0, percentile_high=100))


def scene(dtype: type = np.uint8, scale: float = 1.0, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A person-like hot target and a slow warm slope on noisy ground: image, target."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:120, :160]
    target = ((rows - 60) / 18) ** 2 + ((columns - 50) / 6) ** 2 < 1
    image = 60 + 40 * columns / 160 + 90 * target + rng.normal(0, 3, target.shape)
    return (offset + scale * image).astype(dtype), target


def test_hot_target_is_found() -> None:
    image, target = scene()
    mask = from_thermal(image)
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) == {0, 1}
    assert intersection_over_union(mask > 0, target) > 0.85


def test_counts_of_16_bits_give_the_same() -> None:
    image, _ = scene()
    deep, _ = scene(np.uint16, 30, 20_000)
    assert intersection_over_union(from_thermal(image) > 0, from_thermal(deep) > 0) > 0.95


@pytest.mark.parametrize("value", [0, 255])
def test_nothing_stands_out(value: int) -> None:
    assert not from_thermal(np.full((30, 50), value, np.uint8)).any()


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (16, 16)])
def test_tiny_images(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    assert from_thermal(image).shape == size


def test_released_masks_are_met_on_average() -> None:
    if not RELEASED.is_dir():
        pytest.skip(f"{RELEASED} is not here")
    scores = []
    for path in sorted((RELEASED / "ir").glob("4*.png")):  # 41, 45, 47, 48, 49
        given = read_grey(RELEASED / "mask" / path.name) > 127
        scores.append(intersection_over_union(from_thermal(read_grey(path)) > 0, given))
    assert np.mean(scores) > 0.65


def test_boxes() -> None:
    mask = from_boxes([(2, 1, 3, 2), (-4, 5, 6, 100)], (8, 7))
    expected = np.zeros((8, 7), np.float32)
    expected[1:3, 2:5] = 1
    expected[5:, :2] = 1
    np.testing.assert_array_equal(mask, expected)
    assert not from_boxes([], (3, 4)).any()


def test_segments() -> None:
    outline = [(10, 5, 40, 5, 40, 25, 10, 25), (50, 40, 59, 40, 50, 49)]
    mask = from_segments(outline, (50, 60))
    assert mask[5:25, 10:40].all()
    assert mask.sum() == pytest.approx(30 * 20 + 81 / 2, rel=0.12)
    assert not mask[:, 42:49].any()
