"""fuse.py goes on: what the same weights and options have fused is kept, with its scores; what changed is made anew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.images import write_image
from tests.commands.test_fuse_command import CPU, pixels, weights_file
from tests.commands.test_fuse_generator import make_generator
from tests.conftest import ROOT, modified, write_pairs
from util.training.progress import Counting

KILLED = """
import os, runpy, signal, sys
from data.output.results import Results

def add(self, *words, record=Results.add):
    record(self, *words)
    if len(self.records) > 5:
        os.kill(os.getpid(), signal.SIGKILL)

Results.add = add
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""A command that is killed once it has recorded six results, as kill -9 does."""
KINDS = ("fused", "previews/visible", "previews/infrared")


def of(root: Path, weights: Path, *more: object) -> tuple[object, ...]:
    """fuse.py with its options."""
    visible, infrared = root / "visible", root / "infrared"
    return ("fuse.py", "--visible", visible, "--infrared", infrared, "--weights", weights, *CPU, *more)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return weights_file(tmp_path / "stdfusion_net.safetensors")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data", 4, (41, 53))


def test_a_killed_command_goes_on_where_it_stopped(command: Callable, tmp_path: Path, weights: Path) -> None:
    """kill -9 in the middle; the next one keeps what is finished, and its scores, records and page are as if nothing
    had happened."""
    root = write_pairs(tmp_path / "many", 40)
    words = of(root, weights, "--evaluate", "--gallery", 30)
    results = tmp_path / "results/stdfusion_net"
    made = results / "made.jsonl"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, ROOT / "fuse.py", *map(str, words[1:])],
        cwd=tmp_path, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    finished = made.read_text().count("\n") - 1
    assert killed.returncode == -signal.SIGKILL and 6 <= finished < 40
    before = modified(results / "fused")
    with made.open("a") as file:
        file.write('{"name": "torn')  # as a kill in the middle of a line leaves it
    for kind in KINDS:
        (results / kind / ".039.png.1.part").write_bytes(b"half")  # and one in the middle of an image
    done = command(*words)
    assert f"note      {finished} of 40 images are there already" in done.stdout and "images    40 in" in done.stdout
    after = modified(results / "fused")
    assert sum(after.get(name) == stamp for name, stamp in before.items()) >= finished and len(after) == 40
    assert not list(results.rglob("*.part"))
    command(*words, "--results_dir", "through")
    through = tmp_path / "through/stdfusion_net"
    for name in ("scores.json", "scores.csv", "results.json", "index.html"):
        assert (results / name).read_bytes() == (through / name).read_bytes(), name
    assert (results / "index.html").read_text().count('class="row"') == 30


def test_other_weights_or_options_make_every_image_anew(
    command: Callable, tmp_path: Path, root: Path, weights: Path
) -> None:
    fused = tmp_path / "results/stdfusion_net/fused"
    command(*of(root, weights))
    words = of(root, weights_file(tmp_path / "x" / "stdfusion_net.safetensors", range="clip"))
    cases = {"weights": (), "gray": ("--gray",), "range": ("--range", "minmax"), "tiles": ("--tile", 30)}
    for what, more in cases.items():
        before, words = modified(fused), (*words, *more)
        done = command(*words)
        assert f"made with other {what}: every image is made anew" in done.stdout and "already" not in done.stdout
        assert all(modified(fused)[name] > before[name] for name in before)
    (fused / "002.png").unlink()
    (fused.parent / "previews/visible/003.jpg").unlink()  # the page needs it
    assert "2 of 4 images are there already" in command(*words).stdout


def test_scores_alone_are_made_where_they_lack(command: Callable, tmp_path: Path, root: Path, weights: Path) -> None:
    results = tmp_path / "results/stdfusion_net"
    write_image(root / "infrared" / "001.png", np.arange(63, dtype=np.uint8).reshape(7, 9) * 4)  # of another size
    command(*of(root, weights))
    before = modified(results / "fused")
    done = command(*of(root, weights, "--evaluate"))
    assert "4 of 4 images are there already" in done.stdout and modified(results / "fused") == before
    assert "resized to its visible image's size in 1 pair: 001" in done.stdout
    command(*of(root, weights, "--evaluate", "--results_dir", "through"))
    for name in ("scores.json", "scores.csv", "results.json", "index.html"):
        assert (results / name).read_bytes() == (tmp_path / "through/stdfusion_net" / name).read_bytes(), name
    table = json.loads((results / "scores.json").read_text())["mean"]
    text = (results / "made.jsonl").read_text()
    (results / "made.jsonl").write_text(text.replace('"EN": ', '"Other": '))  # as another version scored
    command(*of(root, weights, "--evaluate"))
    assert json.loads((results / "scores.json").read_text())["mean"] == table
    command(*of(root, weights))
    assert not (results / "scores.json").exists() and not (results / "scores.csv").exists(), "of no command any more"
    assert json.loads((results / "results.json").read_text())["images"].keys() == {"000", "001", "002", "003"}
    command(*of(root, weights, "--gallery", 0))
    assert not (results / "index.html").exists()


def test_what_is_of_no_input_is_told_and_only_overwrite_lets_it_go(
    command: Callable, tmp_path: Path, root: Path, weights: Path
) -> None:
    fused = tmp_path / "results/stdfusion_net/fused"
    command(*of(root, weights))
    for side in ("visible", "infrared"):
        (root / side / "002.png").unlink()
    done = command(*of(root, weights))
    assert "note      1 image of no input of this command stays in results/stdfusion_net/fused: 002.png" in done.stdout
    assert "3 of 3 images are there already" in done.stdout and len(list(fused.iterdir())) == 4
    record = json.loads((fused.parent / "results.json").read_text())
    assert set(record["images"]) == {"000", "001", "003"} and "002" not in (fused.parent / "index.html").read_text()
    before = modified(fused), (fused.parent / "made.jsonl").read_bytes()
    error = command(*of(root, weights, "--range", "minmax"), status=2).stderr
    assert "holds 1 image of other inputs, made with other range: give another --results_dir" in error
    assert (modified(fused), (fused.parent / "made.jsonl").read_bytes()) == before
    done = command(*of(root, weights, "--range", "minmax", "--overwrite"))
    assert "stay" not in done.stdout, "those of another range do not lie among these"
    assert {path.name for path in fused.iterdir()} == {"000.png", "001.png", "003.png"}
    assert not (fused.parent / "previews/visible/002.jpg").exists()


def test_generated_infrared_is_kept_with_its_generator(
    command: Callable, tmp_path: Path, root: Path, weights: Path
) -> None:
    make_generator(tmp_path / "checkpoints", "gen", load_size=40, crop_size=32)
    make_generator(tmp_path / "checkpoints", "other", seed=1, load_size=40, crop_size=32)
    results = tmp_path / "results/stdfusion_net"
    words = ("fuse.py", "--visible", root / "visible", "--weights", weights, *CPU, "--generator")
    command(*words, "gen")
    (results / "infrared/001.png").unlink()
    before = modified(results / "fused")
    done = command(*words, "gen", "--evaluate")
    after = modified(results / "fused")
    assert "3 of 4 images" in done.stdout and [n for n in before if before[n] != after[n]] == ["001.png"]
    command(*words, "gen", "--evaluate", "--results_dir", "through")
    for name in ("scores.json", "results.json"):
        assert (results / name).read_bytes() == (tmp_path / "through/stdfusion_net" / name).read_bytes()
    made = pixels(results / "infrared/001.png")
    assert "already" not in command(*words, "other").stdout
    assert not np.array_equal(made, pixels(results / "infrared/001.png"))
    assert "already" not in command(*of(root, weights)).stdout
    (root / "visible/000.png").rename(root / "visible/alone.png")
    assert "image of no input of this command stays" in command(*words, "gen").stdout, "pairs and others lie together"


def test_an_unreadable_image_is_tried_again(command: Callable, tmp_path: Path, root: Path, weights: Path) -> None:
    whole = (root / "visible/002.png").read_bytes()
    (root / "visible/002.png").write_bytes(whole[:80])
    assert "images    3 in" in command(*of(root, weights), status=1).stdout
    assert "images    3 in" in command(*of(root, weights), status=1).stdout
    (root / "visible/002.png").write_bytes(whole)
    assert "3 of 4 images are there already" in command(*of(root, weights)).stdout
    (root / "visible/002.png").write_bytes(whole[:80])
    assert "images    3 in" in command(*of(root, weights), status=1).stdout, "what was made of another file is of none"
    assert "002" not in json.loads((tmp_path / "results/stdfusion_net/results.json").read_text())["images"]


def test_progress_is_told_without_a_terminal(
    command: Callable, tmp_path: Path, root: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("util.training.progress.EVERY_S", 0.0)
    told = command(*of(root, weights, "--batch_size", 1)).stderr.splitlines()
    lines = [line for line in told if line.startswith("fusing ")]
    assert lines[0].startswith("fusing    1 of 4 images, ") and "a second, " in lines[0] and lines[0].endswith(" left")
    generator = make_generator(tmp_path / "checkpoints", "gen") / "last.safetensors"
    words = ("--weights", generator, "--dataroot", root / "visible", "--batch_size", 1, *CPU)
    assert command("test.py", *words).stderr.startswith("generating 1 of 4 images, ")


def test_progress_of_what_nobody_has_counted(capsys: pytest.CaptureFixture) -> None:
    now = [0.0]
    with Counting(0, "fusing", "frame", clock=lambda: now[0]) as counting:
        for _ in range(30):
            now[0] += 0.5
            counting.update()
    assert capsys.readouterr().err == "fusing    20 frames, 2 a second\n"


def test_other_views_are_told_of_folders_alone(command: Callable, tmp_path: Path, weights: Path) -> None:
    root = write_pairs(tmp_path / "data", 20, (40, 48))
    for number in range(20):
        write_image(root / "visible" / f"{number:03d}.png", np.zeros((40, 64, 3), np.uint8))
    words = "20 of 20 visible images seem to show another view than their infrared partners (64x40 beside 48x40"
    assert words in command(*of(root, weights, "--gallery", 0)).stdout
    assert "another view" not in command("fuse.py", "--dataroot", root, "--weights", weights, *CPU).stdout
