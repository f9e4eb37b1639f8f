"""Training steps to be timed: a method with its optimizers and its loader, whole steps or stage by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from data.layouts import find
from data.training_images import TrainingImages, make_loader
from models import METHODS
from options.train import TrainOptions
from scripts.benchmarks.common import wait
from util.device import Device, select_device
from util.training import ranks
from util.training.optimizers import Optimizers
from util.training.step import Batch, Stepper, Terms, train_step

STAGES = ("generators", "discriminators", "averaging", "optimizer")


class Stopwatch:
    """Seconds of each stage, the device waited for at every mark."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, dict.fromkeys(STAGES, 0.0)
        self.start()

    def start(self) -> None:
        """What comes now belongs to the next mark."""
        wait(self.device)
        self.last = time.perf_counter()

    def mark(self, stage: str) -> None:
        """The time since the last mark was this stage's."""
        wait(self.device)
        now = time.perf_counter()
        self.seconds[stage], self.last = self.seconds[stage] + now - self.last, now


class TimedOptimizers(Optimizers):
    """Optimizers that tell a stopwatch when a player's gradients are there and when it has moved."""

    watch: Stopwatch | None = None

    def backward(self, player: str, terms: Mapping[str, torch.Tensor], share: float = 1.0) -> None:
        super().backward(player, terms, share)
        if self.watch:
            self.watch.mark(player)

    def average(self, player: str) -> None:
        super().average(player)
        if self.watch:
            self.watch.mark("averaging")

    def step(self, player: str) -> None:
        super().step(player)
        if self.watch:
            self.watch.mark("optimizer")


class TimedMethod:
    """A CycleGAN as train.py would train it: the method, its optimizers, its loader, one batch on the device."""

    def __init__(self, train: TrainOptions) -> None:
        torch.manual_seed(0)
        run, loop = train.run, train.loop
        device = select_device(run.device, run.precision, run.channels_last)
        self.device: Device = replace(device, device=ranks.start(device.device))
        self.device.expect_one_size()
        self.method = self.device.place(METHODS["cycle_gan"](train.method))
        self.optimizers = TimedOptimizers(self.method.players(), loop.lr, loop.beta1, None, self.device)
        self.stepper = Stepper(self.method, self.optimizers, self.device, run.cuda_graph)
        dataset = TrainingImages(find(train.data).splits["train"], train)
        self.loader = make_loader(dataset, train, ranks.rank(), ranks.world())
        self.batch = self.on_device(next(iter(self.loader)))

    def on_device(self, batch: dict[str, Any]) -> Batch:
        """A batch of the loader's as the method takes it."""
        if "error" in batch:
            raise batch["error"]
        return {name: self.device.images(batch[name]) for name in ("visible", "infrared")}

    def step(self, batch: Batch) -> Terms:
        """Take one training step on a batch."""
        return self.stepper.take([batch])

    def step_as_written(self) -> Terms:
        """Take one on the batch at hand, not as a CUDA graph."""
        return train_step(self.method, [self.batch], self.optimizers, self.device)

    def flop(self) -> int:
        """Floating-point operations of one step, a multiply-add counted as two; for networks not yet compiled."""
        with FlopCounterMode(display=False) as counter:
            self.step_as_written()
        return counter.get_total_flops()

    def enough(self, passed: bool) -> bool:
        """Whether the time has passed on any rank: all take the same number of steps."""
        return bool(ranks.largest([passed])[0])

    @property
    def read_ahead(self) -> int:
        """Batches that the loader's workers hold ready: a burst that says nothing about their speed."""
        return self.loader.num_workers * self.loader.prefetch_factor

    def seconds(
        self, batches: Iterator[Batch], warm_up: int, least_steps: int, least_seconds: float
    ) -> tuple[float, float]:
        """(Mean seconds of a step, share of it spent waiting for the next batch), steps running on without a pause."""
        for _ in range(warm_up):
            self.step(next(batches))
        wait(self.device.device)
        begun, waited, steps = time.perf_counter(), 0.0, 0
        while steps < least_steps or not self.enough(time.perf_counter() - begun >= least_seconds):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            self.step(batch)
            steps += 1
        wait(self.device.device)
        whole = time.perf_counter() - begun
        return whole / steps, waited / whole

    def stages(self, steps: int) -> dict[str, float]:
        """Seconds of each stage of a step as written, each waited for, so that their sum is more than a step takes."""
        self.optimizers.watch = watch = Stopwatch(self.device.device)
        for _ in range(steps):
            watch.start()
            self.step_as_written()
        self.optimizers.watch = None
        return {name: seconds / steps for name, seconds in watch.seconds.items()}

    def dearest(self, count: int, steps: int) -> str:
        """A table of the `count` operators and kernels in which steps spend most time of the device."""
        kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (self.device.device.type == "cuda")
        with profile(activities=kinds) as seen:
            for _ in range(steps):
                self.step(self.batch)
            wait(self.device.device)
        order = f"self_{self.device.device.type}_time_total"
        return seen.key_averages().table(sort_by=order, row_limit=count, max_name_column_width=70)
