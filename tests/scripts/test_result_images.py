"""The figures of README are made by the generator that comes with the project, or by a run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data.images import write_image
from scripts import result_images


def pretend(words: list[str], **_: object) -> subprocess.CompletedProcess:
    """A command that makes grey images where the real one does."""
    results = Path(words[words.index("--results_dir") + 1])
    if words[1] == "test.py":
        name = words[words.index("--name") + 1] if "--name" in words else "to_infrared"
        made = [results / name / "infrared" / Path(picture).name for picture in words[words.index("--dataroot") + 1 :]]
    else:
        made = [results / words[words.index("--model") + 1] / "fused" / f"{i}.png" for i in range(3)]
    for path in made:
        write_image(path, np.zeros((24, 30), np.uint8))
    return subprocess.CompletedProcess(words, 0)


@pytest.mark.parametrize("named", [[], ["--name", "mine"]])
def test_every_figure_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: list[str]) -> None:
    scene = SimpleNamespace(visible=np.zeros((24, 30, 3), np.uint8), thermal=np.zeros((24, 30), np.uint8))
    monkeypatch.setattr(result_images, "render", lambda seed, time_of_day: scene)
    ran: list[list[str]] = []
    monkeypatch.setattr(result_images.subprocess, "run", lambda words, **_: ran.append(words) or pretend(words))
    monkeypatch.setattr("sys.argv", ["result_images", "--out", str(tmp_path), *named])
    assert result_images.main() == 0
    assert [words[2:4] for words in ran if words[1] == "test.py" and "--name" in words] == [named] * bool(named)
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"{kind}{i}.png" for i in (1, 2, 3) for kind in ("RGB", "IR")), *result_images.FIGURES
    }  # fmt: skip


def test_a_failing_command_ends_it_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 2)
    monkeypatch.setattr(result_images.subprocess, "run", lambda words, **_: failed)
    with pytest.raises(SystemExit) as stop:
        result_images.run("test.py")
    assert stop.value.code == 2
