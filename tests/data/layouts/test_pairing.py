"""data/layouts/pairing.py: blocks held out for validation and test."""

from pathlib import Path

import pytest

from data.images import Source
from data.layouts import Pair, Split
from data.layouts.pairing import assign, bare_stem, cut, hold_out, join


@pytest.mark.parametrize(
    ("count", "fractions", "expected"),
    [
        (100, (0.1, 0.1), (80, 90)),
        (180, (0.1, 0.1), (144, 162)),
        (3, (0.1, 0.1), (1, 2)),
        (2, (0.1, 0.1), (2, 2)),
        (4, (0.5, 0.5), (1, 3)),
        (10, (0, 0.2), (8, 8)),
        (10, (0.2, 0), (8, 10)),
        (10, (0, 0), (10, 10)),
    ],
)
def test_cut_holds_out_blocks(count, fractions, expected):
    first, second = cut([""] * count, *fractions)
    assert (first, second) == expected


def test_cut_falls_between_videos_where_there_are_enough():
    groups = ["a"] * 5 + ["b"] * 3 + ["c"] * 4
    assert cut(groups, 0.1, 0.1) == (5, 8)
    assert cut(["a"] * 6 + ["b"] * 6, 0.1, 0) == (6, 12)
    assert cut(["a"] * 10, 0.1, 0.1) == (8, 9)


def test_unpaired_images_stay_with_their_neighbours():
    def source(kind, stem):
        return Source(Path(kind, f"{stem}.png"), stem)

    stems = [str(number) for number in range(1, 11)]
    pairs = tuple(Pair(stem, source("vi", stem), source("ir", stem)) for stem in stems if stem not in ("5", "9"))
    whole = Split(pairs, tuple(source("vi", stem) for stem in stems[:-1]) + (pairs[-1].visible,), (source("ir", "9"),))
    parts = hold_out(whole, 0.1, 0.2)
    assert [[pair.stem for pair in part.pairs] for part in parts.values()] == [
        ["1", "2", "3", "4", "6"],
        ["7"],
        ["8", "10"],
    ]
    assert [source.stem for source in parts["train"].visible] == ["1", "2", "3", "4", "5", "6"]
    assert [source.stem for source in parts["test"].infrared] == ["9"]


def test_a_paired_image_goes_with_its_pair_whatever_its_own_name():
    visible = tuple(Source(Path(f"{stem}_vi.png"), f"{stem}_vi") for stem in ("a", "a_b", "c"))
    infrared = tuple(Source(Path(f"{stem}_ir.png"), f"{stem}_ir") for stem in ("a", "a_b", "c"))
    pairs = tuple(Pair(*item) for item in zip(("a", "a_b", "c"), visible, infrared, strict=True))
    parts = hold_out(Split(pairs, visible, infrared), 0.1, 0.1)
    assert [part.visible for part in parts.values()] == [(source,) for source in visible]


def test_long_lists_hold_out_blocks_from_all_parts() -> None:
    labels = assign([""] * 180, 0.1, 0.1)
    assert labels[:30] == [0] * 24 + [1] * 3 + [2] * 3 and labels == labels[:30] * 6
    assert assign([""] * 20, 0.1, 0.1) == [0] * 16 + [1] * 2 + [2] * 2, "few images are held out in one block"
    assert assign([""] * 180, 0.1, 0).count(1) == 18 and 2 not in assign([""] * 180, 0.1, 0)
    videos = ["a"] * 60 + ["b"] * 60 + ["c"] * 60
    assert assign(videos, 0.1, 0.1) == [0] * 60 + [1] * 60 + [2] * 60, "videos stay whole"


def sources(side, *stems):
    return [Source(Path(side, f"{stem}.png"), stem) for stem in stems]


def joined(visible, infrared):
    return {(p.stem, p.visible.stem, p.infrared.stem) for p in join(sources("vi", *visible), sources("ir", *infrared))}


@pytest.mark.parametrize(
    ("visible", "infrared", "stem"),
    [
        ("DJI_20240301_0001_V", "DJI_20240301_0001_T", "DJI_20240301_0001"),
        ("DJI_20240301_0001_W", "DJI_20240301_0001_T", "DJI_20240301_0001"),
        ("scene_WIDE", "scene_THRM", "scene"),
        ("VIS1", "IR1", "1"),
        ("rgb_0001", "thermal_0001", "0001"),
        ("road-rgb-0001", "road-tir-0001", "road-0001"),
        ("IR_1234_photo", "IR_1234", "1234"),
        ("scene.vis", "scene.ir", "scene"),
        ("12rgb", "12ir", "12"),
        ("1", "1_lwir", "1"),
        ("visible", "infrared", "visible"),
        ("FLIR_0001_visual", "FLIR_0001_thermal", "FLIR_0001"),
        ("0001_EO", "0001_IR", "0001"),
        ("DJI_0001_Z", "DJI_0001_T", "DJI_0001"),
        ("optical_1", "thr_1", "1"),
    ],
)
def test_names_that_cameras_write(visible, infrared, stem):
    assert joined([visible], [infrared]) == {(stem, visible, infrared)}


def test_words_inside_words_say_nothing():
    for stem in ("irene_1", "video_1", "vista", "set00_V000_I00001", "view_2", "00001D"):
        assert bare_stem(stem) == stem
    assert joined(["irene"], ["ene"]) == set()


def test_what_is_ambiguous_does_not_pair():
    assert joined(["1_V", "1_W", "2_V"], ["1_T", "2_T"]) == {("2", "2_V", "2_T")}
    assert joined(["a", "1_V"], ["a", "1_T"]) == {("a", "a", "a")}, "plain names pair first, and then alone"


def test_unicode_and_case_pair_where_they_are_alone():
    composed, decomposed = "Br\u00fccke", "Bru\u0308cke"
    assert joined([composed], [decomposed]) == {(composed, composed, decomposed)}
    assert joined([composed, decomposed], [composed, decomposed]) == set(), "which is which is not told"
    assert joined(["img1", "IMG1"], ["IMG1", "img1"]) == {("img1", "img1", "img1"), ("IMG1", "IMG1", "IMG1")}
    assert joined(["img1", "IMG1"], ["Img1"]) == set()
    assert joined(["01", "1"], ["1", "01"]) == {("01", "01", "01"), ("1", "1", "1")}


def test_videos_are_held_out_from_all_parts_and_stay_whole() -> None:
    videos = [f"v{number // 20:02d}" for number in range(800)]  # 40 of 20 frames
    labels = assign(videos, 0.1, 0.1)
    assert labels.count(1) == labels.count(2) == 120, "six chapters, one video of each"
    of_video = {video: {label for label, its in zip(labels, videos, strict=True) if its == video} for video in videos}
    assert all(len(its) == 1 for its in of_video.values())
    first = [place for place, label in enumerate(labels) if label == 1]
    assert first[0] < 150 and first[-1] > 650


def test_lone_images_go_where_their_neighbours_go() -> None:
    visible = sources("vi", *(f"visible_{number:03d}" for number in range(40)))
    infrared = sources("ir", *(f"ir_{number:03d}" for number in range(0, 40, 2)))
    splits = hold_out(Split(join(visible, infrared), tuple(visible), tuple(infrared)), 0.1, 0.1)
    assert [len(splits[name].visible) for name in ("train", "val", "test")] == [32, 4, 4]
