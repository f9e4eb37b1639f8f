"""scripts/inspect_data.py: the report, the sheet, --verify and a user's mistakes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.images import ThermalRange
from data.layouts import find
from options.data import DataOptions
from scripts.inspect_data import InspectOptions, inspect, main, report
from scripts.pair_sheet import EDGE_COLOUR, draw_sheet, edges, overlay, shares, split_rows
from tests import layout_fixtures as make
from util.command_line import run_command

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """Five pairs of noise, so that a file can be cut short."""
    noise = np.random.default_rng(0)
    for name in "12345":
        for side in ("vi", "ir"):
            path = tmp_path / "set" / side / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 256, (40, 56), np.uint8)).save(path)
    return tmp_path / "set"


def test_edges_follow_a_step_of_the_infrared():
    infrared = np.full((20, 30), 40, np.uint8)
    infrared[:, 18:] = 200
    found = edges(infrared)
    assert found.shape == (20, 30)
    assert set(np.flatnonzero(found.any(axis=0))) <= {16, 17, 18, 19}
    assert found[:, 16:20].any(axis=1).all()
    assert not edges(np.full((20, 30), 40, np.uint8)).any()


def test_overlay_shows_infrared_edges_over_grey_visible():
    infrared = np.full((20, 30), 40, np.uint8)
    infrared[:, 18:] = 200
    visible = np.zeros((20, 30, 3), np.uint8)
    visible[:, :, 1] = 100
    picture = overlay(visible, infrared)
    assert (picture[5, 16:20] == EDGE_COLOUR).all(axis=1).any()
    assert len(set(picture[5, 2].tolist())) == 1


def test_the_report_counts_splits_skipped_files_and_sizes(folder):
    (folder / "vi" / "2.png").write_bytes(b"")
    make.picture(folder / "ir" / "3.png", (20, 10), 1)
    text = report(find(DataOptions(dataroot=folder)))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith(("train", "val"))}
    assert rows["train"] == ["2", "2", "3", "0", "1", "0", "0"]
    assert "skipped, empty file: 1" in text
    assert str(folder / "vi" / "2.png") in text
    assert "infrared sizes: 56x40 (4), 20x10 (1)" in text
    assert "1 infrared without visible partner: 2" in text


def spoil(path):
    """A picture whose header is right and whose pixels are not there."""
    path.write_bytes(path.read_bytes()[:900])


def test_the_sheet_has_a_row_of_three_pictures_for_each_pair(folder, capsys):
    out = folder.parent / "sheets" / "pairs.png"
    assert inspect(InspectOptions(dataroot=folder, out=out, count=3)) == 0
    sheet = np.array(Image.open(out))
    one = draw_sheet(find(DataOptions(dataroot=folder)), 1, ThermalRange()).picture
    assert sheet.shape[0] == 3 * one.shape[0]
    assert (sheet == EDGE_COLOUR).all(axis=2).any()
    assert f"wrote {out}: 3 pairs (visible" in capsys.readouterr().out


def test_the_sheet_replaces_no_image(folder):
    with pytest.raises(ValueError, match=r"--out \S*1\.png: is \S*1\.png, which this command reads"):
        inspect(InspectOptions(dataroot=folder, out=folder / "vi" / "1.png"))


def test_the_sheet_is_a_picture_that_can_say_who_drew_it(folder):
    with pytest.raises(ValueError, match=r"--out pairs\.bmp: give the name of a PNG or JPEG"):
        InspectOptions(dataroot=folder, out=Path("pairs.bmp"))


def test_every_split_has_rows():
    assert shares({"train": 900, "val": 0, "test": 2}, 8) == {"train": 6, "val": 0, "test": 2}
    assert shares({"train": 3, "val": 1, "test": 1}, 3) == {"train": 1, "val": 1, "test": 1}
    assert shares({"train": 2}, 8) == {"train": 2}


def test_unpaired_images_are_drawn_without_overlay(folder, capsys):
    sheet = draw_sheet(find(DataOptions(dataroot=folder, pairs="none")), 9, ThermalRange())
    assert (len(sheet.rows), sheet.unpaired) == (5, 5)
    assert not sheet.failures
    assert not (sheet.picture == EDGE_COLOUR).all(axis=2).any()
    out = folder.parent / "sheet.png"
    assert inspect(InspectOptions(dataroot=folder, pairs="none", out=out)) == 0
    assert f"wrote {out}: 5 rows of images that are not paired" in capsys.readouterr().out


def test_an_unpaired_split_is_shown_beside_a_paired_one(folder):
    listing = find(DataOptions(dataroot=folder))
    unpaired = find(DataOptions(dataroot=folder, pairs="none"))
    splits = {"train": unpaired.splits["train"], "test": listing.splits["test"]}
    rows = split_rows("train", splits["train"])
    assert [row.label for row in rows] == [f"train, not paired  {i}  |  {i}" for i in "123"]
    sheet = draw_sheet(type(listing)(listing.layout, listing.root, splits), 8, ThermalRange())
    assert (len(sheet.rows), sheet.unpaired) == (4, 3)
    fewer = type(splits["train"])(visible=splits["train"].visible, infrared=splits["train"].infrared[:1])
    assert [row.infrared.stem for row in split_rows("train", fewer)] == ["1", "1", "1"]
    alone = split_rows("train", type(fewer)(visible=fewer.visible))
    assert [(row.infrared, row.label) for row in alone][:1] == [(None, "train, not paired  1  |  none")]


def test_a_row_that_cannot_be_drawn_makes_room_for_the_next(folder, capsys):
    spoil(folder / "ir" / "1.png")
    out = folder.parent / "sheet.png"
    assert inspect(InspectOptions(dataroot=folder, out=out, count=3)) == 1
    text = capsys.readouterr().out
    assert f"not drawn: {folder / 'ir' / '1.png'}: " in text and f"wrote {out}: 3 pairs" in text
    sheet = draw_sheet(find(DataOptions(dataroot=folder)), 5, ThermalRange())
    assert (len(sheet.rows), len(sheet.failures)) == (4, 1)


def test_without_a_row_nothing_is_written_and_a_reason_is_given_once(folder, capsys):
    for path in (folder / "ir").iterdir():
        spoil(path)
    out = folder.parent / "sheet.png"
    assert inspect(InspectOptions(dataroot=folder, out=out)) == 1
    text = capsys.readouterr().out
    assert f"nothing written to {out}: no row could be drawn" in text and not out.exists()
    assert "not drawn: 5 images: " in text and text.count("not drawn: ") == 1
    assert all(f"\n             {path}\n" in text for path in (folder / "ir").iterdir())


def test_verify_finds_what_headers_hide(folder, capsys):
    assert inspect(InspectOptions(dataroot=folder, verify=True)) == 0
    path = folder / "ir" / "4.png"
    spoil(path)
    assert inspect(InspectOptions(dataroot=folder)) == 0
    assert inspect(InspectOptions(dataroot=folder, verify=True)) == 1
    text = capsys.readouterr().out
    assert "verified: 0 images cannot be decoded" in text and "verified: 1 image cannot be decoded" in text
    assert f"{path}: " in text


def test_the_report_says_what_the_camera_crop_cuts(tmp_path):
    make.flir_adas_v2(tmp_path)
    text = report(find(DataOptions(dataroot=tmp_path)))
    line = next(line for line in text.splitlines() if line.startswith("camera crop: "))
    assert line == "camera crop:    flir_v2 cuts 122x102 (12) to 100x79"
    text = report(find(DataOptions(dataroot=tmp_path, camera_crop=False)))
    assert "\ncamera crop:    none" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataroot", "absent"], "--dataroot absent does not exist"),
        (["--count", "0"], "--count is 0"),
        (["--layout", "zebra"], "zebra"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["inspect_data", *arguments])
    with pytest.raises(SystemExit) as stop:
        run_command(main)
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert message in text
    assert len(text.strip().splitlines()) == 1


def test_the_command_runs_as_a_module(folder):
    command = [sys.executable, "-m", "scripts.inspect_data", "--dataroot", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(f"two_folders in {folder}: train 3 pairs")
