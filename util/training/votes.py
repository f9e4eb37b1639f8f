"""When ranks agree on stopping and saving: every few steps, and not seconds apart, as torchrun kills them half a minute
after a signal."""

from __future__ import annotations

import time

from util.training import ranks

MOST_STEPS, SECONDS = 10, 3.0  # from one vote to the next, at the most


class Votes:
    """Votes of all ranks at the same steps, which they agree on as well."""

    def __init__(self, step: int) -> None:
        """step: the last one that was done before the first vote."""
        self._step, self._time, self._next = step, time.monotonic(), step + 1

    def agree(self, step: int, due: bool, stopped: bool) -> tuple[bool, bool]:
        """Whether saving is due on any rank, and whether any was stopped; after a step without a vote, neither."""
        if ranks.world() == 1:
            return due, stopped
        if step < self._next:
            return False, False
        pace = (step - self._step) / max(time.monotonic() - self._time, 1e-3)
        pause = min(MOST_STEPS, max(1, int(SECONDS * pace)))
        # The largest of the negative ones: all take the pause of the slowest rank.
        due, stopped, pause = ranks.largest([due, stopped, -pause])
        self._step, self._time, self._next = step, time.monotonic(), step - pause
        return bool(due), bool(stopped)
