"""The figures of README, from the sample data set: RGB1.png IR1.png to RGB3.png IR3.png, the overview, and fusion.

Runs the project's own commands on one street by day, one at dusk and one at night, which no run has trained on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from data.images import write_image
from data.sample import RenderedPair, render
from models.inference.trained import SHIPPED
from util.command_line import parse, run_command
from util.files import ROOT, check_file, check_folder
from util.pages.sheet import sheet

SCENES = (("day", 900_003), ("dawn/dusk", 900_013), ("night", 900_022))  # no scenes of the sample data set
FIGURES = ("overview.png", "fusion.png", "FusionGAN.png", "STDFusionNet.png", "RGB_BEFORE.png", "IR_BEFORE.png")
FIGURE = "figure of scripts.result_images"  # in its file, which tells it from other pictures
WIDTH = 480  # of an image in the joined figures, pixels


@dataclass(frozen=True)
class ResultImagesOptions:
    """Make the figures of README from the sample data set's renderer and a generator."""

    name: str | None = None
    """Run that generates the infrared images; by default the generator that comes with the project does."""
    checkpoints_dir: Path = Path("checkpoints")
    """Folder of all runs."""
    out: Path = Path("result_images")
    """Folder for the figures."""


def run(*words: object) -> None:
    """One of the project's commands; its failure, which it names, ends this one with its status."""
    done = subprocess.run([sys.executable, *map(str, words)], check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(done.returncode)


def figure(path: Path, columns: list[tuple[str, list[np.ndarray]]]) -> None:
    """Write one PNG of columns of images under their labels, all WIDTH pixels wide."""
    images = [[Image.fromarray(image).convert("RGB") for image in column] for _, column in columns]
    shrunk = [[image.resize((WIDTH, image.height * WIDTH // image.width)) for image in column] for column in images]
    rows = [("", row) for row in zip(*shrunk, strict=True)]
    write_image(path, np.asarray(sheet(rows, [name for name, _ in columns])), FIGURE)


def read(path: Path) -> np.ndarray:
    """An image as it is."""
    return np.asarray(Image.open(path))


def fused(scenes: list[RenderedPair], out: Path) -> list[tuple[str, list[np.ndarray]]]:
    """Both methods' images of the scenes, as columns; the night's also as RGB_BEFORE.png and so on."""
    columns = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i, scene in enumerate(scenes):
            write_image(folder / "visible" / f"{i}.png", scene.visible)
            write_image(folder / "infrared" / f"{i}.png", scene.thermal)
        for model, title in (("fusion_gan", "FusionGAN"), ("stdfusion_net", "STDFusionNet")):
            run("fuse.py", "--model", model, "--visible", folder / "visible", "--infrared", folder / "infrared",
                "--results_dir", folder, "--gallery", 0)  # fmt: skip
            images = [read(folder / model / "fused" / f"{i}.png") for i in range(len(scenes))]
            columns.append((title, images))
            write_image(out / f"{title}.png", images[-1], FIGURE)
    write_image(out / "RGB_BEFORE.png", scenes[-1].visible, FIGURE)
    write_image(out / "IR_BEFORE.png", scenes[-1].thermal, FIGURE)
    return columns


def main() -> int:
    """Draw the figures of result_images; returns the exit status."""
    options = parse(ResultImagesOptions)
    out = options.out
    check_folder("--out", out)
    names = [f"{kind}{i}.png" for i in range(1, len(SCENES) + 1) for kind in ("RGB", "IR")] + list(FIGURES)
    for name in names if out.resolve() != (ROOT / "result_images").resolve() else ():
        check_file("--out", out / name, FIGURE)
    scenes = [render(seed, time_of_day) for time_of_day, seed in SCENES]
    for i, scene in enumerate(scenes, 1):
        write_image(out / f"RGB{i}.png", scene.visible, FIGURE)
    visible = [out / f"RGB{i}.png" for i in range(1, len(scenes) + 1)]
    named = ["--name", options.name, "--checkpoints_dir", options.checkpoints_dir] if options.name else []
    with tempfile.TemporaryDirectory() as folder:
        run("test.py", *named, "--results_dir", folder, "--gallery", 0, "--dataroot", *visible)
        made = Path(folder) / (options.name or SHIPPED.stem) / "infrared"
        for i in range(1, len(scenes) + 1):
            write_image(out / f"IR{i}.png", read(made / f"RGB{i}.png"), FIGURE)
    generated = [read(out / f"IR{i}.png") for i in range(1, len(scenes) + 1)]
    columns = [("visible", [scene.visible for scene in scenes]), ("generated infrared", generated)]
    thermal = [scene.thermal for scene in scenes]
    figure(out / "overview.png", [*columns, ("rendered infrared", thermal)])
    figure(out / "fusion.png", [("visible", [s.visible for s in scenes]), ("infrared", thermal), *fused(scenes, out)])
    print(f"wrote {', '.join(path.name for path in sorted(out.glob('*.png')))} in {out}")
    return 0


if __name__ == "__main__":
    run_command(main)
