"""Pairs to fuse: stems, suffixes, splits, what is left over; batches bounded by pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.images import Source, ThermalRange, write_image
from data.inputs import (
    Inputs,
    Job,
    find_pairs,
    find_to_generate,
    find_visible,
    of_data_set,
    pair_jobs,
    unlike_stems,
    visible_jobs,
)
from data.layouts import find
from data.remarks import CUTS, note_views
from data.transforms import grey_tensor
from data.visible_images import BATCH_PIXELS, FusionInputs, images_in
from options.data import DataOptions
from options.test import TestDataOptions
from tests.layout_fixtures import picture, two_folders


def find_data_set(options: DataOptions, split: str, with_infrared: bool) -> Inputs:
    return of_data_set(find(options), split, pair_jobs if with_infrared else visible_jobs)


def note_other_views(jobs: list[Job]) -> list[str]:
    pairs = [(job.visible, job.ground_truth) for job in jobs if job.ground_truth is not None]
    return note_views(pairs, "visible images", "their infrared partners", CUTS.format("--visible"), why="of that")


def names(found: object) -> list[tuple[str, str]]:
    return [(job.visible.stem, job.ground_truth.path.name) for job in found.jobs]


def test_equal_stems_whatever_the_suffix(tmp_path: Path) -> None:
    for stem in ("2", "10", "b"):
        picture(tmp_path / "vi" / f"{stem}.jpg")
        picture(tmp_path / "ir" / f"{stem.upper()}.png", channels=1)
    assert names(find_pairs(tmp_path / "vi", tmp_path / "ir")) == [("2", "2.png"), ("10", "10.png"), ("b", "B.png")]


def test_endings_are_left_away_where_most_pair_so_as_in_data_sets(tmp_path: Path) -> None:
    for visible, infrared in (("a_RGB", "a_PreviewData"), ("b_co", "b_ir"), ("c-visible", "c-thermal")):
        picture(tmp_path / "vi" / f"{visible}.png")
        picture(tmp_path / "ir" / f"{infrared}.png")
    picture(tmp_path / "ir" / "left.png")
    found = find_pairs(tmp_path / "vi", tmp_path / "ir")
    wanted = [("a", "a_PreviewData.png"), ("b", "b_ir.png"), ("c", "c-thermal.png")]
    assert names(found) == wanted and [error.path.name for error in found.skipped] == ["left.png"]
    assert "without endings: a_RGB.png and a_PreviewData.png" in found.summary
    for same in ("d", "e", "f"):  # one equal name is an accident, as many as there are endings are the rule
        picture(tmp_path / "vi" / f"{same}.png")
        picture(tmp_path / "ir" / f"{same}.png")
        found = find_pairs(tmp_path / "vi", tmp_path / "ir")
        if same == "d":
            assert names(found) == [*wanted, ("d", "d.png")] and "without endings: a_RGB.png" in found.summary
    assert names(found) == [(same, f"{same}.png") for same in ("d", "e", "f")]
    assert "without endings" not in found.summary
    alone = {error.path.name: error.reason for error in found.skipped}
    assert len(alone) == 7 and alone["left.png"] == "no visible image has its stem"
    assert alone["a_RGB.png"].startswith("no infrared image has its stem; a_PreviewData.png would be its partner if")
    assert alone["b_ir.png"].startswith("no visible image has its stem; b_co.png would be its partner if")
    options = DataOptions(dataroot=tmp_path, val_fraction=0, test_fraction=0)
    assert names(find_data_set(options, "train", with_infrared=True)) == names(found), "one rule for both"


def test_views_that_differ_are_told(tmp_path: Path) -> None:
    sizes = {"a": ((1800, 1600), (640, 512)), "b": ((1800, 1600), (320, 256)), "c": ((63, 50), (64, 51))}
    for stem, (visible, infrared) in sizes.items():
        picture(tmp_path / "vi" / f"{stem}.png", visible)
        picture(tmp_path / "ir" / f"{stem}.png", infrared, 1)
    (line,) = note_other_views(find_pairs(tmp_path / "vi", tmp_path / "ir").jobs)
    assert line.startswith("2 of 3 visible images seem to show another view than their infrared partners (1800x1600")
    assert "of that: --dataroot ROOT, in place of --visible" in line and "a, b)" in line
    jobs = find_pairs(tmp_path / "vi" / "c.png", tmp_path / "ir" / "c.png").jobs
    assert note_other_views([*jobs, *find_visible(tmp_path / "vi").jobs]) == []
    picture(tmp_path / "ir" / "c.png", (50, 50), 1)
    (line,) = note_other_views(jobs)
    assert "1 of 1" in line and "--dataroot" not in line and "cut both to one view" in line


def test_folders_below(tmp_path: Path) -> None:
    for video in ("x", "y"):
        for side in ("vi", "ir"):
            picture(tmp_path / side / video / "1.png")
    assert names(find_pairs(tmp_path / "vi", tmp_path / "ir")) == [("x_1", "1.png"), ("y_1", "1.png")]


def test_visible_alone(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (job,) = find_visible(tmp_path).jobs
    assert job.ground_truth is None


def test_a_data_set_by_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        two_folders(tmp_path / split, "vi", "ir", ["1", f"only_{split}"])
    picture(tmp_path / "test" / "vi" / "alone.png")
    (tmp_path / "test" / "ir" / "broken.png").write_bytes(b"no image")
    options = DataOptions(dataroot=tmp_path, val_fraction=0)
    found = find_data_set(options, "test", with_infrared=True)
    assert {job.visible.stem for job in found.jobs} == {"1", "only_test"}
    assert [error.path.name for error in found.skipped] == ["broken.png"]
    every = find_data_set(options, "all", with_infrared=True)
    assert {job.visible.stem for job in every.jobs} == {"train_1", "test_1", "only_train", "only_test"}
    assert not find_data_set(options, "train", with_infrared=True).skipped
    visible = find_data_set(options, "test", with_infrared=False)
    assert "alone" in {job.visible.stem for job in visible.jobs} and all(
        job.ground_truth is None for job in visible.jobs
    )
    with pytest.raises(ValueError, match="no val split"):
        find_data_set(options, "val", with_infrared=True)


def test_items_and_batches(tmp_path: Path) -> None:
    two_folders(tmp_path, "vi", "ir", ["1", "2", "3"])
    picture(tmp_path / "ir" / "2.png", (30, 22), 1)
    found = find_pairs(tmp_path / "vi", tmp_path / "ir")
    inputs = FusionInputs(found.jobs, ThermalRange())
    item = inputs[1]
    assert item["visible"].shape == (3, 11, 15) and item["infrared"].shape == (1, 11, 15)
    assert item["resized"] == (22, 30) and "resized" not in inputs[0]
    assert inputs.batches(2) == ([[0, 1], [2]], [])


def test_large_images_make_small_batches() -> None:
    limits = (8, BATCH_PIXELS)
    assert images_in(limits, 512, 640) == 8
    assert images_in(limits, 4096, 4096) == BATCH_PIXELS // 4096**2
    assert images_in(limits, 20000, 20000) == 1


def test_sixteen_bits_are_rounded(tmp_path: Path) -> None:
    counts = np.array([[0, 128, 129, 257, 65535]], np.uint16)
    assert grey_tensor(counts).tolist() == [[[0, 0, 1, 1, 255]]]
    write_image(tmp_path / "x.png", counts)


def test_renamed_stems_never_meet() -> None:
    def job(stem: str) -> Job:
        return Job(Source(Path(f"{stem}.png"), stem))

    jobs = unlike_stems({"train": [job("1"), job("test_1")], "test": [job("1")]})
    stems = [j.visible.stem for j in jobs]
    assert len({stem.casefold() for stem in stems}) == 3 and "test_1" in stems


def test_one_stem_several_suffixes_and_folders(tmp_path: Path) -> None:
    for name in ("x.jpg", "x.png", "a/1.png", "b/1.png", "y.jpg", "y.bmp"):
        picture(tmp_path / "vi" / name)
    for name in ("x.png", "b/1.png", "y.png"):
        picture(tmp_path / "ir" / name, channels=1)
    found = find_pairs(tmp_path / "vi", tmp_path / "ir")
    pairs = {job.visible.path.relative_to(tmp_path / "vi").as_posix(): job.ground_truth.path.name for job in found.jobs}
    assert pairs == {"x.png": "x.png", "b/1.png": "1.png"}
    reasons = {error.path.relative_to(tmp_path).as_posix(): error.reason for error in found.skipped}
    assert reasons.keys() == {"vi/x.jpg", "vi/a/1.png", "vi/y.jpg", "vi/y.bmp", "ir/y.png"}
    assert reasons["vi/y.jpg"].startswith("y.png has its stem, but so has another image")


def test_results_that_can_have_no_name_are_skipped(tmp_path: Path) -> None:
    for side in ("vi", "ir"):
        for name in ("x" * 241, "a", "b/" + "y" * 251, "c/" + "y" * 251):
            picture(tmp_path / side / f"{name}.png")
    found = find_pairs(tmp_path / "vi", tmp_path / "ir")
    assert {len(job.visible.stem) for job in found.jobs} == {1, 241}
    assert [error.reason for error in found.skipped] == ["its result would have too long a name: shorten it"] * 2


def test_several_data_sets_are_joined(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for split in ("train", "test"):
            two_folders(tmp_path / name / split, "vi", "ir", ["1", f"{name}_{split}"])
    roots = (tmp_path / "a", tmp_path / "b")
    found = find_to_generate(TestDataOptions(dataroot=roots, val_fraction=0))
    assert {job.visible.stem for job in found.jobs} == {"a_test_1", "a_test", "b_test_1", "b_test"}
    assert all(job.ground_truth is not None for job in found.jobs)
    picture(tmp_path / "c" / "1.png")
    found = find_to_generate(TestDataOptions(dataroot=(*roots, tmp_path / "c")))
    assert len(found.jobs) == 17 and sum("reads it as a data set" in note for note in found.notes) == 2
