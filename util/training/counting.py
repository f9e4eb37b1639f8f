"""Progress through a known number of items: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tqdm import tqdm

from util.text import duration

EVERY_S = 10.0  # between two lines


class Counting:
    """A context in which `update` counts items; both bar and lines go to stderr."""

    def __init__(self, total: int, what: str, unit: str = "image", clock: Callable[[], float] = time.monotonic) -> None:
        """total: 0 if nobody knows. what: the label, such as scoring. unit: of one item. clock: in seconds."""
        self.total, self.what, self.unit, self.clock = total, what, unit, clock
        self.done, self.began = 0, clock()
        self.lined = self.began
        self.bar = tqdm(total=total or None, unit=unit, desc=what, leave=False) if sys.stderr.isatty() else None

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
        if now - self.lined < EVERY_S or 0 < self.total <= self.done:
            return
        self.lined = now
        rate = self.done / (now - self.began)
        of_all = f" of {self.total}" if self.total else ""
        left = f", {duration((self.total - self.done) / rate)} left" if self.total else ""
        line = f"{self.what:9} {self.done}{of_all} {self.unit}s, {rate:.3g} a second{left}"
        print(line, file=sys.stderr, flush=True)
