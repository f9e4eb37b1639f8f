"""Speed of training steps: images a second without and with the loader, stages, FLOP/s, memory; beside a reference."""

from __future__ import annotations

import gc
import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from options.cycle_gan import CycleGANOptions
from options.data import TrainDataOptions
from options.train import InputOptions, LoopOptions, RunOptions, TrainOptions, for_method
from scripts.benchmarks.common import (
    BenchmarkOptions,
    Report,
    machine,
    matrix_rate,
    peak_memory,
    reset_peak_memory,
    streets,
    write_files,
)
from scripts.benchmarks.reference import reference_step
from scripts.benchmarks.timed_steps import TimedMethod
from util.command_line import parse, to_dict
from util.device import select_device
from util.files import check_file
from util.training import ranks

PAIRS = 4096  # of images that are written: the reference's loader starts its workers anew for every epoch
READ_AHEAD = 2  # batches that each of its workers holds ready
PLAIN: dict[str, Any] = {"lambda_content": 0.0, "lambda_self": 0.0, "lambda_cycle": 10.0}


@dataclass(frozen=True)
class Options(BenchmarkOptions):
    """Time training steps of the CycleGAN, 3 -> 1 channels, for every combination of the values given. Under torchrun
    the ranks train together, and images a second are those of all."""

    objective: tuple[Literal["plain", "full"], ...] = ("plain", "full")
    """plain: adversarial and pixel cycle losses only; full: this project's objective."""
    batch_size: tuple[int, ...] = (1,)
    """Images of each kind in a step."""
    precision: tuple[Literal["auto", "bf16", "fp16", "fp32"], ...] = ("auto",)
    """Arithmetic."""
    cuda_graph: tuple[Literal["on", "off"], ...] = ("on",)
    """Whether steps are replayed as a CUDA graph, on a CUDA GPU."""
    compile: tuple[Literal["off", "default"], ...] = ("off",)
    """Whether networks are compiled."""
    channels_last: Literal["auto", "on", "off"] = "auto"
    """Memory layout of the networks."""
    load_size: int = 286
    """Images are resized to squares of this side."""
    crop_size: int = 256
    """Side of the random crop."""
    netG: Literal["resnet_9blocks", "resnet_6blocks", "unet_256", "unet_128"] = "resnet_9blocks"
    """Generator."""
    ngf: int = 64
    """Channels of the generators' first layer."""
    ndf: int = 64
    """Channels of the discriminators' first layer."""
    dataroot: Path | None = None
    """CycleGAN folder with trainA (visible) and trainB (infrared); none given means rendered streets, 640x512."""
    num_threads: int = 4
    """Worker processes that read images."""
    steps: int = 20
    """Timed steps of each kind, at least."""
    seconds: float = 5.0
    """Least time that they take together."""
    warm_up: int = 5
    """Steps before them that are not counted; with a loader also as many as its workers have read ahead."""
    profile: int = 0
    """Print, for each combination, that many of the operators and kernels in which its steps spend most time."""
    reference: Path | None = None
    """Checkout of pytorch-CycleGAN-and-pix2pix to time beside it, plain objective, on the same images and sizes; at
    batch size 1, its default, too."""

    def __post_init__(self) -> None:
        self.check_at_least(steps=1, warm_up=1, seconds=0, profile=0)
        for name in ("objective", "batch_size", "precision", "cuda_graph", "compile"):
            if not getattr(self, name):
                raise ValueError(f"--{name}: give at least one value")
        if not all(size >= 1 for size in self.batch_size):
            raise ValueError("--batch_size: give whole numbers of at least 1")


def write_streets(folder: Path) -> Path:
    """trainA and trainB of 640x512 JPEGs; the folder."""
    scenes = streets(PAIRS)
    write_files(folder / "trainA", (scene.visible for scene in scenes), PAIRS, ".jpg")
    write_files(folder / "trainB", (scene.thermal for scene in scenes), PAIRS, ".jpg")
    return folder


def train_options(
    options: Options, objective: str, batch: int, precision: str, graph: str, mode: str, root: Path
) -> TrainOptions:
    """What train.py would be told."""
    size: dict[str, Any] = {"load_size": options.load_size, "crop_size": options.crop_size}
    networks: dict[str, Any] = {"netG": options.netG, "ngf": options.ngf, "ndf": options.ndf, "vgg_weights": "random"}
    return for_method(CycleGANOptions)(
        run=RunOptions(
            device=options.device,
            precision=precision,
            channels_last=options.channels_last,
            cuda_graph=graph == "on",
            compile=mode,
        ),
        data=TrainDataOptions(dataroot=(root,)),
        input=InputOptions(preprocess="resize_and_crop", batch_size=batch, num_threads=options.num_threads, **size),
        loop=LoopOptions(),
        method=CycleGANOptions(**networks, **(PLAIN if objective == "plain" else {})),
    )


def measure(options: Options, train: TrainOptions, objective: str, rates: dict[str, float]) -> dict[str, Any]:
    """A row of the table. rates: matrix rate by precision, filled as needed."""
    bench = TimedMethod(train)
    device, count = bench.device, train.input.batch_size * ranks.world()
    flop = bench.flop()
    device.compile(bench.method.networks(), train.run.compile)
    bench.step(bench.batch)
    reset_peak_memory(device.device)
    least = options.steps, options.seconds
    warm_up = max(options.warm_up, bench.stepper.WARM_UP + 1)  # of which the last records the graph
    alone, _ = bench.seconds(itertools.repeat(bench.batch), warm_up, *least)
    peak = peak_memory(device.device)
    stages = bench.stages(options.steps)
    batches = (bench.on_device(batch) for batch in bench.loader)
    loaded, share = bench.seconds(batches, warm_up + bench.read_ahead, *least)
    batches.close()
    if options.profile:
        table = bench.dearest(options.profile, 3)
        print(table if ranks.is_writer() else "", end="")
    precision = device.precision
    if precision not in rates:
        rates[precision] = matrix_rate(device.device, device.dtype)
    return {
        "objective": objective,
        "ranks": ranks.world(),
        "batch": train.input.batch_size,
        "precision": precision,
        "compile": train.run.compile,
        "cuda_graph": bench.stepper.graph is not None,
        "images_per_second": count / alone,
        "with_loader": count / loaded,
        "data_wait": share,
        **{f"{name}_ms": 1e3 * seconds for name, seconds in stages.items()},
        "gflop_per_image": flop / train.input.batch_size / 1e9,
        "tflop_per_second": flop / alone / 1e12,
        "of_matrix_rate": flop / alone / rates[precision],
        "peak_memory_gb": peak / 1e9,
    }


def reference_row(options: Options, root: Path, batch: int, device: torch.device) -> dict[str, Any]:
    """The reference's row: its own train.py's step in fp32, with its own loader."""
    arguments = ["--batch_size", str(batch)]
    for name in ("load_size", "crop_size", "netG", "ngf", "ndf", "num_threads"):
        arguments += [f"--{name}", str(getattr(options, name))]
    timing = {"STEPS": options.steps, "SECONDS": options.seconds, "WARM_UP": options.warm_up}
    timing["READ_AHEAD"] = options.num_threads * READ_AHEAD
    found = reference_step(options.reference, root, device, arguments, timing)
    memory = found["memory"]
    return {
        "objective": "reference",
        "batch": batch,
        "precision": "fp32",
        "compile": "off",
        "cuda_graph": False,
        "images_per_second": batch / found["alone"],
        "with_loader": batch / found["loaded"],
        "peak_memory_gb": memory / 1e9 if memory else None,
    }


def main(argv: list[str]) -> int:
    """Time training steps of every setting that argv names; returns the exit status."""
    options = parse(Options, argv)
    check_file("--out", options.out)
    device = ranks.start(select_device(options.device).device)
    rates: dict[str, float] = {}
    title = f"Training steps, {options.netG}, {options.crop_size} px"
    report = Report(title, machine(device) | {"options": to_dict(options)}, options.out)
    references: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = options.dataroot or write_streets(Path(scratch))
        for size in dict.fromkeys((1, *options.batch_size)) if options.reference and ranks.is_writer() else ():
            references[size] = reference_row(options, root, size, device)
            report.add(references[size])
        ranks.barrier()
        for mode, graph, batch, objective, precision in itertools.product(
            options.compile, options.cuda_graph, options.batch_size, options.objective, options.precision
        ):
            train = train_options(options, objective, batch, precision, graph, mode, root)
            row = measure(options, train, objective, rates)
            for column, size in (("times_reference", batch), ("times_reference_at_1", 1)):
                if size in references:
                    row[column] = row["with_loader"] / references[size]["with_loader"]
            report.facts |= {f"matrix_tflop_per_second_{dtype}": rate / 1e12 for dtype, rate in rates.items()}
            if ranks.is_writer():
                report.add(row)
            torch._dynamo.reset()
            gc.collect()
    if ranks.is_writer():
        report.show()
    ranks.stop()
    return 0
