"""Losses on their way from the device to the log, without making the training step wait."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from util.training import ranks


class LossLog:
    """Sums terms on the device; means reach the host one collection late, when the copy has long arrived."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: list[torch.Tensor] = []
        self._count = 0
        self._pending: tuple[list[str], torch.Tensor, int, torch.cuda.Event | None] | None = None

    def add(self, terms: Mapping[str, torch.Tensor]) -> None:
        """The terms of one step, scalars on the device."""
        values = [term.detach().float() for term in terms.values()]
        if self._count == 0 or len(values) != len(self._sums):
            self._names, self._sums, self._count = list(terms), [value.clone() for value in values], 0
        else:
            torch._foreach_add_(self._sums, values)
        self._count += 1

    def collect(self, step: int) -> dict[str, float] | None:
        """Send the means since the last collection on their way; return those sent the time before, or None.

        Averages over ranks, so every rank must call it at the same steps. {"step": ..., term: mean}."""
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

    def flush(self, step: int) -> list[dict[str, float]]:
        """Collect and wait: everything up to this step, oldest first."""
        return [record for record in (self.collect(step), self._arrived()) if record is not None]

    def _arrived(self) -> dict[str, float] | None:
        if self._pending is None:
            return None
        names, host, step, event = self._pending
        if event is not None:
            event.synchronize()
        self._pending = None
        return {"step": step} | dict(zip(names, host.tolist(), strict=True))


def first_bad(record: Mapping[str, float]) -> str | None:
    """Name of the first term that is no finite number."""
    return next((name for name, value in record.items() if not math.isfinite(value)), None)
