"""From nothing to generated and fused images: what the generator that comes with the project makes, what a short
training on the sample data set adds, both scored beside baselines, galleries.

Every step is a command that a user can run by hand, and is printed as one."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from models.inference.trained import SHIPPED
from options.data import SAMPLE_ROOT
from options.shared import DeviceOptions
from util.command_line import parse, run_command
from util.device import select_device
from util.files import ROOT
from util.text import duration, format_number

# The generator that comes with the project learns on: from guessed pairs, infrared in the range that it knows.
FROM_SHIPPED = (
    f"--model pix2pix --init_from {SHIPPED.relative_to(ROOT)} --pairs weak --infrared_range percentile --lr 2e-4"
)
# Some two minutes on two processors. A discriminator that begins anew has nothing to teach in so short a time.
ON_CPU = (
    f"{FROM_SHIPPED} --load_size 320 --crop_size 192 --lambda_gan 0 --n_epochs 1 --n_epochs_decay 1 --ema 0.98 "
    "--channels_last on --num_threads 1"
)
WITHOUT_BF16 = f"{ON_CPU} --max_dataset_size 100"  # a step takes more than twice as long there
# All detail, for longer; a few minutes on a GPU.
ON_CUDA = f"{FROM_SHIPPED} --load_size 640 --crop_size 384 --batch_size 4 --n_epochs 20 --n_epochs_decay 20 --ema 0.99"
PICTURES = [f"result_images/RGB{i}.png" for i in (1, 2, 3)]  # of README, in no data set
PICTURES_RESULTS = "results/result_images"
METRICS = ("CC", "PSNR", "SSIM")


@dataclass(frozen=True)
class QuickstartOptions(DeviceOptions):
    """Make infrared images by the generator that comes with the project, train it on for minutes on the sample data
    set, and look at what changes."""

    name: str = "quickstart"
    """Name of the run; if it is there already, it goes on where it stopped."""


def run(*words: str, skipping: bool = False) -> None:
    """Run one of the project's commands; its failure ends the quickstart with its status.

    skipping: status 1 only means that some images were skipped."""
    print(f"\n$ python {shlex.join(words)}", flush=True)
    done = subprocess.run([sys.executable, *words], check=False)
    if done.returncode and not (skipping and done.returncode == 1):
        raise SystemExit(done.returncode)


def generate(*words: str) -> None:
    """Infrared images of the sample data set's test pictures, with scores, and of README's pictures."""
    run("test.py", *words, skipping=True)
    run("test.py", *words, "--results_dir", PICTURES_RESULTS, "--dataroot", *PICTURES, skipping=True)


def comparison(before: Path, after: Path) -> list[str]:
    """Lines of a table: the scores before and after the training, and the best baseline's, from two scores.json of
    test.py."""

    def values(mean: Mapping[str, float | None]) -> list[float]:
        return [math.nan if mean.get(metric) is None else mean[metric] for metric in METRICS]

    old, new = (json.loads(path.read_text()) for path in (before, after))
    baselines = [values(mean) for mean in new["baselines"].values()]
    best = [max((v for v in column if not math.isnan(v)), default=math.nan) for column in zip(*baselines, strict=True)]
    rows = {"as it comes": values(old["mean"]), "after training": values(new["mean"]), "best baseline": best}
    lines = [f"{'':16}" + "".join(f"{metric:>9}" for metric in METRICS)]
    return lines + [f"{name:16}" + "".join(f"{format_number(v):>9}" for v in row) for name, row in rows.items()]


def main() -> int:
    """Generate, train, generate again and fuse; returns the exit status."""
    options = parse(QuickstartOptions)
    begun = time.monotonic()
    compute = select_device(options.device)
    on_cpu = WITHOUT_BF16 if compute.dtype == torch.float32 else ON_CPU
    sizes = ON_CUDA if compute.device.type == "cuda" else on_cpu
    device, name = ["--device", str(compute.device)], ["--name", options.name]
    generate("--pairs", "weak", *device)
    again = ["--continue_train"] if (Path("checkpoints") / options.name / "last.pt").exists() else []
    run("train.py", *name, *device, *sizes.split(), *again)
    generate(*name, *device)
    scores = [Path("results") / folder / "scores.json" for folder in (SHIPPED.stem, options.name)]
    if all(path.is_file() for path in scores):
        print("\nThe generator on the sample data set's test pictures:")
        print("\n".join(comparison(*scores)), flush=True)
    run("fuse.py", "--dataroot", str(SAMPLE_ROOT), *device, "--num_test", "12", "--evaluate", skipping=True)
    print(f"\nquickstart took {duration(time.monotonic() - begun)}")
    return 0


if __name__ == "__main__":
    run_command(main)
