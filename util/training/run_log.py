"""What a run records and shows while it goes on: losses, scores and events, a line of losses.jsonl each."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch

from util.device import Device
from util.training import messages, ranks
from util.training.progress import Progress
from util.training.run_folder import RunFolder
from util.training.run_reader import RunReader
from util.training.state import NotFinite, TrainingState

Means = tuple[int, dict[str, float]]  # a step, and the mean of each term over the steps up to it


class LossLog:
    """Sums terms on the device; means reach the host one collection late, when the copy has long arrived."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: list[torch.Tensor] = []
        self._count = 0
        self._pending: tuple[list[str], torch.Tensor, int, torch.cuda.Event | None] | None = None

    def add(self, terms: Mapping[str, torch.Tensor]) -> None:
        """Add the terms of one step, scalars on the device."""
        values = [term.detach().float() for term in terms.values()]
        if self._count == 0 or len(values) != len(self._sums):
            self._names, self._sums, self._count = list(terms), [value.clone() for value in values], 0
        else:
            torch._foreach_add_(self._sums, values)
        self._count += 1

    def collect(self, step: int) -> Means | None:
        """Send the means since the last collection on their way; return those sent the time before, or None.

        Averages over ranks, so every rank must call it at the same steps."""
        arrived = self._arrived()
        if self._count:
            sums = torch.stack(self._sums) / self._count
            ranks.average([sums])
            event = None
            if sums.device.type == "cuda":
                host = torch.empty(sums.shape, dtype=sums.dtype, pin_memory=True)
                host.copy_(sums, non_blocking=True)
                event = torch.cuda.Event()
                event.record()
            else:
                host = sums
            self._pending = (self._names, host, step, event)
            self._count = 0
        return arrived

    def flush(self, step: int) -> list[Means]:
        """Collect and wait: everything up to this step, oldest first."""
        return [means for means in (self.collect(step), self._arrived()) if means is not None]

    def _arrived(self) -> Means | None:
        if self._pending is None:
            return None
        names, host, step, event = self._pending
        if event is not None:
            event.synchronize()
        self._pending = None
        return step, dict(zip(names, host.tolist(), strict=True))


class RunLog:
    """Losses, scores and events on their way to losses.jsonl and the terminal; a loss that is no finite number is
    NotFinite. Every rank calls it at the same steps, as losses are means over ranks; rank 0 writes and prints."""

    def __init__(self, run: RunFolder, state: TrainingState, device: Device, progress: Progress) -> None:
        self.run, self.state, self.device, self.progress = run, state, device, progress
        self.reader = RunReader(run.path)
        self._losses = LossLog()

    def note(self, **facts: Any) -> None:
        """One more line of losses.jsonl: facts, the time, and the present step and epoch where they name no other."""
        if ranks.is_writer():
            at = {"step": self.state.total, "epoch": self.state.epoch}
            self.run.append(at | facts | {"time": round(time.time(), 2)})

    def add(self, terms: Mapping[str, torch.Tensor]) -> None:
        """Add the terms of one step, scalars on the device; never waits for it."""
        self._losses.add(terms)

    def collect(self) -> None:
        """Send the losses since the last time on their way, and record those sent before; never waits."""
        means = self._losses.collect(self.state.total)
        if means:
            self._record(*means)

    def flush(self) -> None:
        """Record all losses up to this step."""
        for means in self._losses.flush(self.state.total):
            self._record(*means)

    def _record(self, step: int, losses: Mapping[str, float]) -> None:
        for name, value in losses.items():
            if not math.isfinite(value):
                raise NotFinite(f"the loss {name} at step {step}")
        self.progress.show(losses)
        self.note(
            step=step,
            losses=losses,
            lr=self.state.optimizers.rate,
            images_per_second=self.progress.rate,
            data_wait=self.progress.wait_share,
            **self.device.memory(),
        )

    def validated(self, scores: Mapping[str, Mapping[str, float]], is_best: bool) -> None:
        """The scores after an epoch, method -> metric -> mean; is_best: whether its weights are the best so far."""
        known = {name: {m: v for m, v in values.items() if math.isfinite(v)} for name, values in scores.items()}
        self.note(val=known, best=is_best)
        if ranks.is_writer():
            self.reader.read()
            lines = messages.validated(self.state.epoch, scores, is_best)
            lines += messages.inverted([record["val"] for record in self.reader.scores])
            print("\n".join(lines), flush=True)
