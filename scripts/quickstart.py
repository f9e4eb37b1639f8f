"""From nothing to generated and fused images: sample data, a small model, scores beside baselines, galleries.

Every step is a command that a user can run by hand, and is printed as one."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from models.vgg import VGG16
from options.data import SAMPLE_ROOT
from util.command_line import parse, run_command
from util.device import choose
from util.training.progress import duration

# Small enough for two processors in minutes; about six hundred steps.
ON_CPU = (
    "--load_size 128 --crop_size 96 --netG resnet_6blocks --ngf 24 --ndf 24 --upsample resize --lr 4e-4 --ema 0.99 "
    "--content_layers relu1_2 relu2_2 --lambda_content 10 --self_layers relu2_2 --self_patch_sizes 8 "
    "--n_epochs 1 --n_epochs_decay 2 --num_threads 1"
)
# The networks of the paper at half of a FLIR image's size; a few minutes on a GPU.
ON_CUDA = (
    "--load_size 320 --crop_size 256 --batch_size 4 --upsample resize --ema 0.99 --n_epochs 20 --n_epochs_decay 20"
)


@dataclass(frozen=True)
class QuickstartOptions:
    """Train a small visible -> infrared model on the sample data set and look at what it makes."""

    name: str = "quickstart"
    """Name of the run; if it is there already, it goes on where it stopped."""
    device: str = "auto"
    """auto (a CUDA GPU where there is one), cpu, cuda or cuda:N."""


def run(*words: str, skipping: bool = False) -> None:
    """Run one of the project's commands; its failure ends the quickstart with its status.

    skipping: status 1 only means that some images were skipped."""
    print(f"\n$ python {shlex.join(words)}", flush=True)
    done = subprocess.run([sys.executable, *words], check=False)
    if done.returncode and not (skipping and done.returncode == 1):
        raise SystemExit(done.returncode)


def vgg_weights() -> str:
    """imagenet where torchvision's weights are here or can be had, else random."""
    try:
        VGG16(["relu1_1"], "imagenet")
    except ValueError as error:
        print(f"note: {error}")
        print("note: the quickstart goes on with --vgg_weights random")
        return "random"
    return "imagenet"


def main() -> int:
    """The command."""
    options = parse(QuickstartOptions)
    begun = time.monotonic()
    compute = choose(options.device)
    sizes = ON_CUDA if compute.device.type == "cuda" else ON_CPU
    common = ["--name", options.name, "--device", str(compute.device)]
    again = ["--continue_train"] if (Path("checkpoints") / options.name / "last.pt").exists() else []
    run("train.py", *common, *sizes.split(), *(again or ["--vgg_weights", vgg_weights()]))
    run("test.py", *common, skipping=True)
    run("fuse.py", "--dataroot", str(SAMPLE_ROOT), "--device", str(compute.device), "--num_test", "12", "--evaluate",
        skipping=True)  # fmt: skip
    print(f"\nquickstart took {duration(time.monotonic() - begun)}")
    return 0


if __name__ == "__main__":
    run_command(main)
