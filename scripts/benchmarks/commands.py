"""Whole commands timed, ours and those of pytorch-CycleGAN-and-pix2pix, on the same images with the same weights."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.images import read_visible
from scripts.benchmarks.reference import reference_environment
from util.files import ROOT

MAKE_WEIGHTS = """
import sys, torch
from models import networks
torch.manual_seed(0)
net = networks.define_G(3, 1, int(sys.argv[2]), sys.argv[1], "instance", False)
networks.init_weights(net, "xavier", 1.0)
torch.save(net.state_dict(), sys.argv[3])
"""


# A process starts with the memory peak of the one that started it, so a small one does.
MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
open(sys.argv[1], "w").write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""


def run_logged(words: list[str], folder: Path, environment: dict[str, str], log: Path, name: str) -> float:
    """Run a command in a folder to its end; returns its peak memory, MB. ValueError with its last line if it fails."""
    peak = log.with_suffix(".peak")
    with log.open("w", encoding="utf-8") as file:
        outer = [sys.executable, "-S", "-c", MEASURE, str(peak), *words]
        done = subprocess.run(outer, cwd=folder, stdout=file, stderr=file, env=environment, check=False)
    if done.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise ValueError(f"{name} failed: {''.join(last)}")
    return int(peak.read_text()) / 1e3


@dataclass
class Command:
    """A command with --num_test, run on fewer and on more images, so that its start cancels out."""

    name: str
    words: list[str]
    folder: Path
    environment: dict[str, str]
    few: int
    many: int
    rates: list[float] = field(default_factory=list)
    memory: float = 0.0

    def run(self) -> None:
        """Both runs; adds to rates (images a second) and memory (MB, of the main process)."""
        self.folder.mkdir(exist_ok=True)
        seconds = []
        for count in (self.few, self.many):
            words, log = [*self.words, "--num_test", str(count)], self.folder / "command.log"
            begun = time.perf_counter()
            memory = run_logged(words, self.folder, self.environment, log, self.name)
            seconds.append(time.perf_counter() - begun)
            self.memory = max(self.memory, memory)
        if seconds[1] <= seconds[0]:
            raise ValueError(
                f"{self.name}: {self.many} images took no longer than {self.few}, so its start hides its speed: give "
                "more --images (--reference_images)"
            )
        self.rates.append((self.many - self.few) / (seconds[1] - seconds[0]))

    def row(self) -> dict[str, Any]:
        """Its line of a report."""
        rate = sorted(self.rates)[len(self.rates) // 2]
        return {"what": self.name, "images_per_second": rate, "ms_per_image": 1e3 / rate, "memory_mb": self.memory}


class Reference:
    """A checkout of pytorch-CycleGAN-and-pix2pix, run where it lies; what it writes goes to a folder of ours."""

    def __init__(self, checkout: Path, folder: Path, netG: str, ngf: int, device: torch.device) -> None:
        self.checkout, self.folder, self.netG, self.ngf = checkout, folder / "reference", netG, ngf
        stub = self.folder / "path"
        stub.mkdir(parents=True)
        self.environment = reference_environment(stub, device)

    def make_weights(self, ours: Path) -> None:
        """Random weights of its generator, as its own file and, imported, as ours."""
        theirs = self.folder / "checkpoints" / "b" / "latest_net_G.pth"
        theirs.parent.mkdir(parents=True)
        words = [sys.executable, "-c", MAKE_WEIGHTS, self.netG, str(self.ngf), str(theirs)]
        log = self.folder / "weights.log"
        run_logged(words, self.checkout, self.environment, log, "making weights by the reference")
        words = [sys.executable, "-m", "scripts.import_weights", "--from_pix2pix", str(theirs), "--direction",
                 "to_infrared", "--out", str(ours)]  # fmt: skip
        run_logged(words, ROOT, dict(os.environ), log, "importing the reference's weights")

    def command(self, images: Path, count: int) -> Command:
        """Its test.py on a folder of images at their own size."""
        words = [sys.executable, str(self.checkout / "test.py"), "--dataroot", str(images), "--name", "b", "--model",
                 "test", "--netG", self.netG, "--ngf", str(self.ngf), "--input_nc", "3", "--output_nc", "1", "--norm",
                 "instance", "--no_dropout", "--preprocess", "none", "--checkpoints_dir",
                 str(self.folder / "checkpoints"), "--results_dir", str(self.folder / "results")]  # fmt: skip
        return Command("reference test.py", words, self.folder, self.environment, max(1, count // 4), count)

    def difference(self, ours: Path, count: int) -> float:
        """Mean absolute difference of the first images that both made, in grey levels."""
        made = self.folder / "results" / "b" / "test_latest" / "images"
        pairs = [(path, made / f"{path.stem}_fake.png") for path in sorted(ours.iterdir())]
        pairs = [pair for pair in pairs if pair[1].is_file()][:count]
        if not pairs:
            raise ValueError(f"the reference wrote no images that ours did: look into {made}")
        images = [[read_visible(path).astype(np.float32) for path in pair] for pair in pairs]
        return float(np.mean([np.abs(a - b).mean() for a, b in images]))
