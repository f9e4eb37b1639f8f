"""What tests share: one thread, small data sets, running commands."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from data.images import write_image

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


def pytest_configure() -> None:
    # Threads of several test processes, or of a browser beside them, would wait for each other.
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="no CUDA GPU")
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(skip)


def write_pairs(root: Path, count: int, size: tuple[int, int] = (40, 48), seed: int = 0) -> Path:
    """A two-folder data set of blobs: bright where the visible image is red."""
    rng = np.random.default_rng(seed)
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    for i in range(count):
        y, x, r = rng.uniform(5, height - 5), rng.uniform(5, width - 5), rng.uniform(4, 9)
        blob = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / r**2)
        noise = rng.normal(0, 4, (height, width))
        visible = np.stack([40 + 180 * blob, 90 + 60 * columns / width, 120 - 60 * blob], axis=-1)
        infrared = 60 + 170 * blob + noise
        write_image(root / "visible" / f"{i:03d}.png", np.clip(visible, 0, 255).astype(np.uint8))
        write_image(root / "infrared" / f"{i:03d}.png", np.clip(infrared, 0, 255).astype(np.uint8))
    return root


@pytest.fixture(scope="session")
def pairs_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty small aligned pairs: 16 train, 2 val, 2 test."""
    return write_pairs(tmp_path_factory.mktemp("pairs"), 20)


@dataclass
class Done:
    """What a command printed and how it ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., Done]:
    """Runs a command of the project in a fresh folder, within this process: command("train.py", "--name", "x")
    or command("scripts.inspect_data", ...). Checks its exit status."""

    def run(script: str, *arguments: object, status: int = 0) -> Done:
        file = ROOT / (script if script.endswith(".py") else script.replace(".", "/") + ".py")
        monkeypatch.chdir(tmp_path)
        if script == "train.py" and not {"--display", "--continue_train"} & set(arguments):
            arguments = (*arguments, "--display", "none")  # whoever tests may have a dashboard open
        monkeypatch.setattr(sys, "argv", [str(file), *map(str, arguments)])
        capsys.readouterr()
        code: object = 0
        try:
            runpy.run_path(str(file), run_name="__main__")
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        assert code == status, f"exit {code}\n{out}\n{err}"
        return Done(code, out, err)

    return run


def modified(folder: Path) -> dict[str, int]:
    """Name -> when it was last written, of the files in a folder."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


TINY = [
    "--display", "none", "--device", "cpu", "--num_threads", "0", "--load_size", "40", "--crop_size", "32",
    "--netG", "resnet_6blocks", "--ngf", "4", "--ndf", "4", "--vgg_weights", "random", "--content_layers", "relu1_2",
    "--self_layers", "relu1_2", "--self_patch_sizes", "8", "--self_patches", "16",
]  # fmt: skip
