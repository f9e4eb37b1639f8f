"""Results on their way from the device to files: copied without the caller waiting, written in threads, and only so
many at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from types import TracebackType
from typing import Any

import torch

from util.training.progress import Counting

WAITING_BYTES = 64 << 20  # of images that may wait to be written

Wait = Callable[[], object]
"""Returns once what was fetched has arrived."""


def fetch(tensors: Sequence[torch.Tensor | None], device: torch.device) -> tuple[list[torch.Tensor | None], Wait]:
    """The tensors on their way from the device to the CPU, and a function that waits until they are there: on CUDA,
    where they go to pinned memory, the caller does not."""
    fetched = [None if tensor is None else tensor.to("cpu", non_blocking=True) for tensor in tensors]
    if device.type != "cuda":
        return fetched, bool
    arrived = torch.cuda.Event()
    arrived.record()
    return fetched, arrived.synchronize


class Writers:
    """A context of threads that write results. At its end all are written, or an error of theirs is raised."""

    def __init__(self, threads: int, limit: int = WAITING_BYTES) -> None:
        """limit: bytes that may wait; `submit` waits where more would."""
        self.pool, self.limit = ThreadPoolExecutor(max(1, threads)), limit
        self.waiting: deque[tuple[Future, int]] = deque()

    def __enter__(self) -> Writers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with Counting(len(self.waiting), "writing") if self.waiting else nullcontext() as bar:
                while self.waiting and kind is None:
                    self.waiting.popleft()[0].result()
                    bar.update()
        finally:
            self.pool.shutdown(cancel_futures=True)

    def submit(self, size: int, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function in a thread; size: bytes that its arguments hold."""
        self.waiting.append((self.pool.submit(function, *arguments), size))
        while self.waiting and (self.waiting[0][0].done() or sum(held for _, held in self.waiting) > self.limit):
            self.waiting.popleft()[0].result()
