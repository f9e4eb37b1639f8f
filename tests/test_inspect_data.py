"""scripts/inspect_data.py: the report, the sheet, --verify and a user's mistakes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.images import ThermalRange
from data.layouts import find
from options.cli import run_command
from options.data import DataOptions
from scripts.inspect_data import (
    EDGE_COLOUR,
    InspectOptions,
    choose_rows,
    contact_sheet,
    edges,
    inspect,
    main,
    overlay,
    report,
)
from tests import layout_fixtures as make

ROOT = Path(__file__).parents[1]


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
    assert rows["train"] == ["2", "2", "3", "0", "1", "0"]
    assert "skipped, empty file: 1" in text
    assert str(folder / "vi" / "2.png") in text
    assert "infrared sizes: 56x40 (4), 20x10 (1)" in text
    assert "1 infrared without visible partner: 2" in text


def test_the_sheet_has_a_row_of_three_pictures_for_each_pair(folder, capsys):
    out = folder.parent / "sheets" / "pairs.png"
    assert inspect(InspectOptions(dataroot=folder, out=out, count=3)) == 0
    sheet = np.array(Image.open(out))
    rows = choose_rows(find(DataOptions(dataroot=folder)), 3)
    assert [row.label.split() for row in rows] == [["train", "1"], ["train", "3"], ["test", "5"]]
    one, _ = contact_sheet(rows[:1], ThermalRange())
    assert sheet.shape[0] == 3 * one.shape[0]
    assert (sheet == EDGE_COLOUR).all(axis=2).any()
    assert str(out) in capsys.readouterr().out


def test_unpaired_images_are_drawn_without_overlay(folder):
    rows = choose_rows(find(DataOptions(dataroot=folder, pairs="none")), 9)
    assert len(rows) == 5
    sheet, failures = contact_sheet(rows, ThermalRange())
    assert not failures
    assert not (sheet == EDGE_COLOUR).all(axis=2).any()


def test_verify_finds_what_headers_hide(folder, capsys):
    assert inspect(InspectOptions(dataroot=folder, verify=True)) == 0
    path = folder / "ir" / "4.png"
    path.write_bytes(path.read_bytes()[:900])
    assert inspect(InspectOptions(dataroot=folder)) == 0
    assert inspect(InspectOptions(dataroot=folder, verify=True)) == 1
    text = capsys.readouterr().out
    assert "verified: 1 images cannot be decoded" in text
    assert f"{path}: " in text


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
