"""What a person sees while a run goes on: a tqdm bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm


def duration(seconds: float) -> str:
    """E.g. 42 s, 3 min 5 s, 2 h 10 min."""
    seconds = int(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


class Progress:
    """One bar for each epoch. Rates count from here on, so they are right at once after a resume."""

    def __init__(self, epochs: int, steps: int, done: int, images: int, every: float, shown: bool) -> None:
        self.epochs, self.steps, self.images, self.every = epochs, steps, images, every
        self.first = self.done = done
        self.left = epochs * steps
        self.started = self.lined = time.monotonic()
        self.waited = 0.0
        self.smooth: dict[str, float] = {}
        self.shown = shown
        self.interactive = shown and sys.stderr.isatty()
        self.bar: tqdm | None = None

    def start_epoch(self, epoch: int, at: int) -> None:
        """epoch from 0; at: steps of it already done."""
        self.epoch = epoch
        if self.interactive:
            self.bar = tqdm(total=self.steps, initial=at, desc=f"epoch {epoch + 1}/{self.epochs}", leave=False)

    def step(self, waited: float) -> None:
        """One more step; waited: seconds spent waiting for its images."""
        self.done += 1
        self.waited += waited
        if self.bar is not None:
            self.bar.update()
        elif self.shown and time.monotonic() - self.lined >= self.every:
            self.lined = time.monotonic()
            in_epoch = self.done - self.epoch * self.steps
            print(
                f"epoch {self.epoch + 1}/{self.epochs} step {in_epoch}/{self.steps}  "
                f"{self.rate:.3g} img/s  {duration(self.remaining)} left  {self._losses()}",
                flush=True,
            )

    def show(self, losses: Mapping[str, float]) -> None:
        """Fresh losses, smoothed for the eye."""
        for name, value in losses.items():
            if name != "step":
                self.smooth[name] = 0.8 * self.smooth.get(name, value) + 0.2 * value
        if self.bar is not None:
            self.bar.set_postfix_str(f"{duration(self.remaining)} in all, {self._losses()}", refresh=False)

    def end_epoch(self) -> None:
        """The bar of this epoch is done."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    @property
    def elapsed(self) -> float:
        """Seconds since the start of this process's training."""
        return max(1e-9, time.monotonic() - self.started)

    @property
    def rate(self) -> float:
        """Images of each kind a second, over all ranks."""
        return (self.done - self.first) * self.images / self.elapsed

    @property
    def wait_share(self) -> float:
        """Share of the time spent waiting for images."""
        return self.waited / self.elapsed

    @property
    def remaining(self) -> float:
        """Seconds to the end at the rate so far."""
        return (self.left - self.done) * self.elapsed / max(1, self.done - self.first)

    def _losses(self) -> str:
        """Terms added up by what stands before their first "_": adv_infrared and adv_visible make adv."""
        groups: dict[str, float] = {}
        for name, value in self.smooth.items():
            group = name.partition("_")[0]
            groups[group] = groups.get(group, 0.0) + value
        return " ".join(f"{group} {value:.3g}" for group, value in groups.items())
