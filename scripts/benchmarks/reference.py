"""pytorch-CycleGAN-and-pix2pix in a process of its own, from a checkout of it; its training step timed there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

# Runs inside the checkout, whose packages are called as ours are. What it times is what its train.py does for every
# batch: with its loader, and then again and again on one batch.
DRIVER = """
import itertools, json, os, sys, time
import torch
from options.train_options import TrainOptions
from data import create_dataset
from models import create_model
from util.util import init_ddp

warm, ahead, least_steps = (int(os.environ["BENCHMARK_" + name]) for name in ("WARM_UP", "READ_AHEAD", "STEPS"))
least_seconds = float(os.environ["BENCHMARK_SECONDS"])
opt = TrainOptions().parse()
opt.device = torch.device(init_ddp())
dataset = create_dataset(opt)
model = create_model(opt)
model.setup(opt)

def wait():
    if opt.device.type == "cuda":
        torch.cuda.synchronize()

def seconds(data, warm):
    for _ in range(warm):
        model.set_input(next(data)); model.optimize_parameters()
    wait(); begun, steps = time.perf_counter(), 0
    while steps < least_steps or time.perf_counter() - begun < least_seconds:
        model.set_input(next(data)); model.optimize_parameters()
        steps += 1
    wait()
    return (time.perf_counter() - begun) / steps

def forever():
    while True:
        yield from dataset

loaded = seconds(forever(), warm + ahead)
batch = {name: part.to(opt.device) if torch.is_tensor(part) else part for name, part in next(iter(dataset)).items()}
alone = seconds(itertools.repeat(batch), warm)
memory = torch.cuda.max_memory_allocated() if opt.device.type == "cuda" else None
print("RESULT " + json.dumps({"loaded": loaded, "alone": alone, "memory": memory, "images": len(batch["A"])}))
"""


def reference_environment(folder: Path, device: torch.device) -> dict[str, str]:
    """Variables of a process that runs the reference on a device; folder: for the module that it wants and does not
    use, wandb."""
    (folder / "wandb.py").write_text("")
    # It takes the first GPU that it sees, and the CPU where it sees none.
    visible = ""
    if device.type == "cuda":
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        visible = seen.split(",")[device.index or 0] if seen else str(device.index or 0)
    return dict(os.environ) | {"PYTHONPATH": str(folder), "CUDA_VISIBLE_DEVICES": visible}


def reference_step(
    checkout: Path, dataroot: Path, device: torch.device, options: Sequence[str], timing: Mapping[str, float]
) -> dict[str, float | None]:
    """Time {"loaded", "alone"}: seconds a step with its own loader and on one batch that lies on the device; "memory":
    peak bytes on CUDA; "images" of a step. dataroot: trainA, trainB. ValueError where the checkout cannot run.

    timing: STEPS and SECONDS, the least that is timed; WARM_UP steps before, READ_AHEAD more with the loader."""
    if not (checkout / "models" / "cycle_gan_model.py").is_file():
        raise ValueError(f"--reference {checkout}: is no checkout of pytorch-CycleGAN-and-pix2pix")
    with tempfile.TemporaryDirectory() as scratch:
        environment = reference_environment(Path(scratch), device)
        environment["PYTHONPATH"] = f"{checkout.resolve()}{os.pathsep}{environment['PYTHONPATH']}"
        environment |= {f"BENCHMARK_{name}": str(value) for name, value in timing.items()}
        words = ["--dataroot", str(dataroot.resolve()), "--name", "benchmark", "--checkpoints_dir", scratch,
                 "--model", "cycle_gan", "--input_nc", "3", "--output_nc", "1", "--lambda_identity", "0", "--no_html",
                 *options]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, *words], cwd=scratch, env=environment, capture_output=True, text=True
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ValueError(f"--reference {checkout}: its training step failed: {reason}")
    return json.loads(lines[-1].removeprefix("RESULT "))
