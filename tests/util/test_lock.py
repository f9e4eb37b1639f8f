"""A folder in which one command at a time writes."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from util.lock import alone_in

ASK = """import os, sys; from pathlib import Path; from util.lock import alone_in
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
