"""util.files: a folder in which one command at a time writes; what cannot be written is told before the work, by every
command that has an output option."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.images import write_image
from tests.conftest import ROOT
from util.files import alone_in, check_apart, check_file, check_folder, first_inside, naming, write_whole

ASK = """import os, sys; from pathlib import Path; from util.files import alone_in
with alone_in(Path(sys.argv[1]), 'wait'): {}"""


def ask(folder: Path, then: str = "pass") -> subprocess.CompletedProcess:
    """Another process that asks for the folder."""
    words = [sys.executable, "-c", ASK.format(then), str(folder)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True)


def test_the_second_is_refused_and_nothing_stays_behind_a_crash(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    with alone_in(folder, "wait"):
        refused = ask(folder)
        assert "ValueError" in refused.stderr and f"{folder}: another command is writing there; wait" in refused.stderr
        assert ask(tmp_path / "other").returncode == 0
    assert ask(folder, "os.kill(os.getpid(), 9)").returncode == -9
    assert ask(folder).returncode == 0


def test_where_there_are_no_locks_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", none)
    with alone_in(tmp_path, "wait"):
        assert list(tmp_path.iterdir()) == [tmp_path / ".lock"]
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with alone_in(tmp_path, "wait"):
        pass


def test_what_can_be_written_passes_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "old.json").touch()
    check_file("--out", None)
    (tmp_path / ".old.json.7.part").touch()  # of a command that was killed
    check_file("--out", tmp_path / "old.json")
    check_file("--out", tmp_path / "new" / "deep" / "a.json")
    check_folder("--out", tmp_path)
    check_folder("--out", tmp_path / "new", "run")
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]


def test_what_cannot_be_written_is_named_with_its_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "fifo").parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.chdir(tmp_path)
    for check, path, says in (
        (check_file, "file/a.json", "--out file/a.json: file is not a folder; give another"),
        (check_file, "file/b/a.json", f"--out file/b/a.json: {tmp_path / 'file'} is not a folder; give another"),
        (check_file, ".", "--out .: is a folder; give a file"),
        (check_file, "fifo", "--out fifo: is no plain file; give another"),
        (check_folder, "file", "--out file: file is not a folder; give another"),
    ):
        with pytest.raises(ValueError) as refused:
            check("--out", Path(path))
        assert str(refused.value) == says
    (tmp_path / "shut").mkdir()
    shut = str(tmp_path / "shut")
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != shut)  # root may write anywhere
    for path in ("shut/a.json", f"{shut}/b/a.json"):
        with pytest.raises(ValueError, match=rf"--out {path}: the folder \S*shut is not writable; give another"):
            check_file("--out", Path(path))
    with pytest.raises(ValueError, match=f"--results_dir {shut}: the folder {shut} is not writable; give another"):
        check_folder("--results_dir", tmp_path / "shut", "run")


def test_a_disk_that_is_full_or_read_only_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(ValueError, match=r"is not writable \(No space left on device\); give another"):
        check_file("--out", tmp_path / "a.json")


def test_a_failed_write_names_the_file_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as failed:
        write_whole(tmp_path / "a.json", b"{}")
    assert failed.value.filename == str(tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


COMMANDS = (
    "fuse.py --visible . --infrared . --results_dir",
    "scripts.augment --weights none --out",
    "scripts.benchmark data --out",
    "scripts.benchmark fuse --out",
    "scripts.benchmark generate --out",
    "scripts.benchmark metrics --out",
    "scripts.benchmark train --out",
    "scripts.evaluate detection --arms real --out",
    "scripts.evaluate detection --arms real --results_dir",
    "scripts.evaluate fusion --fused . --visible . --infrared . --out",
    "scripts.evaluate generation --generated . --real . --out",
    "scripts.export --weights none --out",
    "scripts.export --weights none --format torchscript --out",
    "scripts.export --weights none --format aoti --out",
    "scripts.import_weights --from_tf none --model fusion_gan --out",
    "scripts.inspect_data --dataroot . --out",
    "scripts.make_sample_data --out",
    "scripts.result_images --out",
    "test.py --weights none --results_dir",
    "train.py --vgg_weights random --checkpoints_dir",
)
ENDINGS = {
    "import_weights": ".safetensors",
    "inspect_data": ".png",
    "torchscript": ".pt",
    "aoti": ".pt2",
    "export": ".onnx",
}


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_asks_before_it_works(command: Callable, tmp_path: Path, words: str) -> None:
    (tmp_path / "file").touch()
    place = "file/a" + next((ending for word, ending in ENDINGS.items() if word in words), ".json")
    done = command(*words.split(), place, status=2)
    assert done.stderr.startswith(f"error: {words.split()[-1]} {place}: ") and done.stderr.count("\n") == 1, done.stderr
    assert "file is not a folder; give another" in done.stderr
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_told_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    for error in (OSError(errno.ENOSPC, "No space left on device"), OSError(errno.ENOSPC, "No space", str(path))):
        with pytest.raises(OSError, match=r"No space.*a\.jpg"), naming(path):
            raise error
    with pytest.raises(OSError, match=r"a\.jpg: cannot be written \(encoder error -2"), naming(path):
        raise OSError("encoder error -2 when writing image file")
    with pytest.raises(OSError, match=r"b\.png"), naming(path):
        raise OSError(errno.ENOENT, "No such file", "b.png")


def test_what_is_read_is_found_by_any_name(tmp_path: Path) -> None:
    for name in ("a/b/x.png", "c/y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "to_b").symlink_to(tmp_path / "a/b")
    (tmp_path / "c/to_x.png").symlink_to(tmp_path / "a/b/x.png")
    inside = [tmp_path / "a/b/x.png", tmp_path / "to_b/x.png", tmp_path / "c/to_x.png", tmp_path / "c/../a/b/x.png"]
    assert all(first_inside([tmp_path / "c/y.png", path], [tmp_path / "a"]) == path for path in inside)
    assert first_inside([tmp_path / "c/y.png", tmp_path / "none/z.png"], [tmp_path / "a", tmp_path / "new"]) is None
    check_apart("--out", [tmp_path / "new.json", tmp_path / "c/y.png"], inside)
    with pytest.raises(ValueError, match=r"--out .*to_x\.png: is .*x\.png, which this command reads"):
        check_apart("--out", [tmp_path / "c/to_x.png"], inside[:1])


def test_a_file_of_others_is_not_replaced(tmp_path: Path) -> None:
    mine, table = tmp_path / "a.json", tmp_path / "a.csv"
    check_file("--out", mine, "mark", [table])
    table.write_text("1, 2")
    with pytest.raises(ValueError, match=r"--out .*a\.csv is there, which goes with it; give another"):
        check_file("--out", mine, "mark", [table])
    mine.write_text("{}")
    with pytest.raises(ValueError, match=r"a\.json: is there, and this command did not write it; give another"):
        check_file("--out", mine, "mark", [table])
    mine.write_text('{"mark": 1}')
    check_file("--out", mine, "mark", [table])
    for name in ("a.png", "a.jpg"):
        write_image(tmp_path / name, np.zeros((4, 5), np.uint8), "a mark")
        check_file("--out", tmp_path / name, "a mark")
