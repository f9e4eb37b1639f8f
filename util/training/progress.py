"""What a person sees while work goes on: a tqdm bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from tqdm import tqdm

from util.text import duration
from util.training import ranks

EVERY_S = 10.0  # between two lines of Counting
RECENT_S = 30.0  # rates are of the last steps: neither the first, slow ones nor validations count
FIRST = 5  # steps in which kernels are built and caches filled


def grouped(terms: Iterable[str], groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Group -> its terms, which are of one scale, and so shown together; a term of none is a group by itself."""
    found: dict[str, list[str]] = {}
    for term in terms:
        group = next((name for name, members in groups.items() if term in members), term)
        found.setdefault(group, []).append(term)
    return found


class Progress:
    """One bar for each epoch. Rates count from here on, so they are right at once after a resume."""

    def __init__(
        self,
        epochs: int,
        steps: int,
        done: int,
        images: int,
        every: float,
        shown: bool,
        groups: Mapping[str, Sequence[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """steps: of an epoch. done: before now. images: of each kind in a step. every: seconds between lines.
        groups: name -> loss terms that are shown as one."""
        self.epochs, self.steps, self.images, self.every, self.clock = epochs, steps, images, every, clock
        self.done, self.groups, self.settled = done, groups, done + FIRST
        self.left = epochs * steps
        self.lined = clock()
        self.marks: deque[tuple[float, int, float]] = deque()  # (time, steps done, seconds waited) while stepping
        self.waited = 0.0
        self.between: list[float] = []  # seconds from the end of an epoch to the beginning of the next
        self.ended: float | None = None
        self.smooth: dict[str, float] = {}
        self.shown = shown
        self.interactive = shown and sys.stderr.isatty()
        self.bar: tqdm | None = None

    def start_epoch(self, epoch: int, at: int) -> None:
        """epoch from 0; at: steps of it already done."""
        self.epoch = epoch
        now = self.clock()
        if self.ended is not None:  # the marks move on as if nothing had been between
            self.between.append(now - self.ended)
            self.marks = deque((then + now - self.ended, done, waited) for then, done, waited in self.marks)
        else:
            self.marks.append((now, self.done, 0.0))
        if self.interactive:
            self.bar = tqdm(
                total=self.steps,
                initial=at,
                desc=f"epoch {epoch + 1}/{self.epochs}",
                leave=False,
                dynamic_ncols=True,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
            )
            self._caption()

    def step(self, waited: float) -> None:
        """Count one more step; waited: seconds spent waiting for its images."""
        self.done += 1
        self.waited += waited
        now = self.clock()
        self.marks.append((now, self.done, self.waited))
        while len(self.marks) > 2 and (self.marks[0][1] < self.settled or now - self.marks[1][0] > RECENT_S):
            self.marks.popleft()
        if self.bar is not None:
            self.bar.update()
        elif self.shown and now - self.lined >= self.every:
            self.lined = now
            in_epoch = self.done - self.epoch * self.steps
            print(f"epoch {self.epoch + 1}/{self.epochs} step {in_epoch}/{self.steps}  {self._now()}", flush=True)

    def show(self, losses: Mapping[str, float]) -> None:
        """Fresh losses, smoothed for the eye; those of one group are added up."""
        for group, terms in grouped(losses, self.groups).items():
            value = sum(losses[term] for term in terms)
            self.smooth[group] = 0.8 * self.smooth.get(group, value) + 0.2 * value
        self._caption()

    def end_epoch(self) -> None:
        """The bar of this epoch is done."""
        self.ended = self.clock()
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _now(self) -> str:
        waits = f"waits {self.wait_share:.0%} for images, " if self.wait_share >= 0.1 else ""
        losses = " ".join(f"{group} {value:.3g}" for group, value in self.smooth.items())
        return f"{self.rate:.3g} img/s, {waits}{duration(self.remaining)} left in all, {losses}".rstrip(", ")

    def _caption(self) -> None:
        if self.bar is not None and len(self.marks) > 1:
            self.bar.set_postfix_str(self._now(), refresh=False)

    def _recent(self) -> tuple[float, int, float]:
        """(seconds, steps, seconds of waiting) of the last while."""
        if len(self.marks) < 2:
            return 1e-9, 0, 0.0
        (began, done_then, waited_then), (now, done, waited) = self.marks[0], self.marks[-1]
        return max(1e-9, now - began), done - done_then, waited - waited_then

    @property
    def rate(self) -> float:
        """Images of each kind a second, over all ranks."""
        seconds, steps, _ = self._recent()
        return steps * self.images / seconds

    @property
    def wait_share(self) -> float:
        """Share of the time spent waiting for images."""
        seconds, _, waited = self._recent()
        return waited / seconds

    @property
    def remaining(self) -> float:
        """Seconds to the end: steps at the present rate, and what came after epochs so far (validating, saving)."""
        seconds, steps, _ = self._recent()
        between = sum(self.between) / len(self.between) if self.between else 0.0
        return (self.left - self.done) * seconds / max(1, steps) + (self.epochs - self.epoch) * between


class Counting:
    """A context in which `update` counts items, of a known number or not; both bar and lines go to stderr, by rank 0,
    of its own share."""

    def __init__(self, total: int, what: str, unit: str = "image", clock: Callable[[], float] = time.monotonic) -> None:
        """total: 0 if nobody knows. what: the label, such as scoring. unit: of one item. clock: in seconds."""
        self.total, self.what, self.unit, self.clock = total, what, unit, clock
        self.done, self.began = 0, clock()
        self.lined = self.began
        self.shown, self.bar = ranks.is_writer(), None
        if self.shown and sys.stderr.isatty():
            self.bar = tqdm(total=total or None, unit=unit, desc=what, leave=False)

    def __enter__(self) -> Counting:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
            return
        now = self.clock()
        if not self.shown or now - self.lined < EVERY_S or 0 < self.total <= self.done:
            return
        self.lined = now
        rate = self.done / (now - self.began)
        of_all = f" of {self.total}" if self.total else ""
        left = f", {duration((self.total - self.done) / rate)} left" if self.total else ""
        line = f"{self.what:9} {self.done}{of_all} {self.unit}s, {rate:.3g} a second{left}"
        print(line, file=sys.stderr, flush=True)
