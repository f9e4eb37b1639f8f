"""Ctrl-C and SIGTERM ask a run to stop after its step; a second Ctrl-C stops it at once."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any


class StopSignal:
    """A context; `number` is the signal that came while it was open, or None."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number


def ignore_ctrl_c(worker: int = 0) -> None:
    """For a loader's worker process in a command that a signal ends at once: Ctrl-C is its parent's matter. Its parent
    ends it by SIGTERM where an error keeps the loader alive to the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def ignore_in_worker(worker: int = 0) -> None:
    """For a loader's worker process: signals meant for the whole group are its parent's matter. It ends when
    its parent tells it to, or is gone."""
    ignore_ctrl_c()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
