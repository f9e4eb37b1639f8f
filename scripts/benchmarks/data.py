"""Speed of the input: reading, augmenting and collating training images, by workers and cache; each stage alone."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from data.images import read_infrared, read_reduced
from data.layouts import find
from data.loader import Loader
from data.training_images import TrainingImages, collate, make_loader
from data.transforms import Preprocess, to_size
from options.cycle_gan import CycleGANOptions
from options.data import TrainDataOptions
from options.train import InputOptions, RunOptions, TrainOptions, for_method
from scripts.benchmarks.common import BenchmarkOptions, Report, machine, streets, write_files
from util.command_line import parse, to_dict
from util.files import check_file

VISIBLE_SIZE = (1600, 1800)  # height, width of FLIR ADAS v1's visible pictures


@dataclass(frozen=True)
class Options(BenchmarkOptions):
    """Time the input of training. A pair is a visible and an infrared image, decoded, resized, cropped, flipped. For a
    CUDA GPU batches come in pinned memory; nothing is computed there."""

    dataroot: Path | None = None
    """Data set to read; none given writes 1800x1600 visible JPEGs and 640x512 thermal ones."""
    pairs: int = 64
    """Pairs of an epoch."""
    workers: tuple[int, ...] = (0, 1, 2)
    """Worker processes; 0 reads in the main process."""
    cache: tuple[Literal["off", "memory", "disk"], ...] = ("off", "memory")
    """Caches of decoded images."""
    preprocess: Literal["resize_and_crop", "scale_width_and_crop"] = "scale_width_and_crop"
    """How images are resized."""
    load_size: int = 320
    """Size that images are resized to."""
    crop_size: int = 256
    """Side of the crop."""
    batch_size: int = 8
    """Pairs of a batch."""

    def __post_init__(self) -> None:
        self.check_at_least(pairs=1, batch_size=1)
        if self.pairs < self.batch_size:
            raise ValueError(f"--pairs {self.pairs} is less than --batch_size {self.batch_size}: raise it")
        for name in ("workers", "cache"):
            if not getattr(self, name):
                raise ValueError(f"--{name}: give at least one value")


def enlarged(visible: np.ndarray, grain: np.random.Generator) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 of VISIBLE_SIZE, with the fine grain that cameras have, which JPEG has to keep."""
    large = to_size(visible, VISIBLE_SIZE).permute(1, 2, 0).numpy()
    return np.clip(large + grain.normal(0, 4, large.shape), 0, 255).astype(np.uint8)


def write_pictures(folder: Path, count: int) -> Path:
    """visible/*.jpg of VISIBLE_SIZE and infrared/*.jpg of 640x512; the folder."""
    scenes, grain = streets(count), np.random.default_rng(0)
    write_files(folder / "visible", (enlarged(scene.visible, grain) for scene in scenes), count, ".jpg")
    write_files(folder / "infrared", (scene.thermal for scene in scenes), count, ".jpg")
    return folder


def train_options(options: Options, root: Path, cache: str, workers: int, scratch: Path) -> TrainOptions:
    """What train.py would be told."""
    where = scratch / f"cache_{workers}" if cache == "disk" else None
    return for_method(CycleGANOptions)(
        run=RunOptions(device=options.device, checkpoints_dir=scratch),
        data=TrainDataOptions(dataroot=(root,), val_fraction=0.0, test_fraction=0.0),
        input=InputOptions(
            preprocess=options.preprocess, load_size=options.load_size, crop_size=options.crop_size,
            batch_size=options.batch_size, num_threads=workers, max_dataset_size=options.pairs,
            cache=cache, cache_dir=where,
        ),
    )  # fmt: skip


def epochs(loader: Loader, count: int, per_epoch: int) -> list[float]:
    """Seconds of each epoch; the workers have started when the first begins."""
    batches = iter(loader)
    first = next(batches)
    if "error" in first:
        raise first["error"]
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        for _ in range(per_epoch):
            next(batches)
        seconds.append(time.perf_counter() - begun)
    batches.close()
    return seconds


def loader_row(options: Options, root: Path, cache: str, workers: int, scratch: Path) -> dict[str, Any]:
    """Pairs a second of the whole loader, in its first epoch and later."""
    train = train_options(options, root, cache, workers, scratch)
    dataset = TrainingImages(find(train.data).splits["train"], train)
    loader = make_loader(dataset, train)
    steps = max(1, len(dataset) // options.batch_size)
    begun = time.process_time()
    seconds = epochs(loader, 3, steps)
    work = time.process_time() - begun
    row = {
        "what": "loader",
        "cache": cache,
        "workers": loader.num_workers,
        "pairs_per_second": steps * options.batch_size / seconds[0],
        "later_epochs": steps * options.batch_size / statistics.median(seconds[1:]),
    }
    if not loader.num_workers and cache == "off":  # all the work is this process's: what a core can do
        each = work / (3 * steps * options.batch_size + options.batch_size)
        row |= {"cpu_ms_per_pair": 1e3 * each, "pairs_per_core_second": 1 / each}
    return row


def spent(function: Callable[[int], object], count: int) -> float:
    """Processor seconds of this process for a call, mean over calls function(0), function(1), ..., after one."""
    function(0)
    begun = time.process_time()
    for i in range(count):
        function(i)
    return (time.process_time() - begun) / count


def stage_rows(options: Options, root: Path, scratch: Path) -> list[dict[str, Any]]:
    """Processor time of each stage alone, in one process."""
    train = train_options(options, root, "off", 0, scratch)
    dataset = TrainingImages(find(train.data).splits["train"], train)
    preprocess = Preprocess.from_options(train.input)
    visible, infrared, thermal = dataset.visible, dataset.infrared, dataset.reader.thermal
    size_of = preprocess.working_size
    arrays = [read_reduced(source, size_of) for source in visible[:4]]
    greys = [read_infrared(source, thermal) for source in infrared[:4]]
    sized = [to_size(*pair) for pair in arrays], [to_size(grey, size_of(*grey.shape)) for grey in greys]
    generator = torch.Generator()
    samples = [dataset[0, i] for i in range(options.batch_size)]
    stages: dict[str, Callable[[int], object]] = {
        "decode visible": lambda i: read_reduced(visible[i % len(visible)], size_of),
        "decode infrared": lambda i: read_infrared(infrared[i % len(infrared)], thermal),
        "resize visible": lambda i: to_size(*arrays[i % len(arrays)]),
        "resize infrared": lambda i: to_size(greys[i % len(greys)], size_of(*greys[i % len(greys)].shape)),
        "crop and flip both": lambda i: [preprocess([images[i % len(images)]], generator) for images in sized],
        "collate": lambda i: collate(samples) if i % options.batch_size == 0 else None,
    }
    count = min(options.pairs, 32)
    return [{"what": name, "cpu_ms_per_pair": 1e3 * spent(stage, count)} for name, stage in stages.items()]


def main(argv: list[str]) -> int:
    """Time every cache and number of workers that argv names; returns the exit status."""
    options = parse(Options, argv)
    check_file("--out", options.out)
    torch.set_num_threads(1)  # as in a worker
    facts = machine(torch.device("cpu")) | {"options": to_dict(options)}
    title = f"Input: {options.preprocess} {options.load_size}, crop {options.crop_size}, batch {options.batch_size}"
    report = Report(title, facts, options.out)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        root = options.dataroot or write_pictures(scratch / "pictures", options.pairs)
        for cache, workers in itertools.product(options.cache, options.workers):
            report.add(loader_row(options, root, cache, workers, scratch))
        report.add(*stage_rows(options, root, scratch))
    report.show()
    return 0
