"""Batches on their way from a loader's workers to the device, a step's worth at a time."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter
from tqdm import tqdm

from util.device import Device
from util.training.signals import ignore_ctrl_c

PATIENCE = 600  # seconds that workers may take for a batch
END = object()


def _shared(value: Any) -> Any:
    """The same, its tensors in shared memory. Where they would only be put there by the thread that sends them, an
    error would reach nobody, and the batch would be waited for without an end."""
    if isinstance(value, torch.Tensor):
        value.share_memory_()
    elif isinstance(value, (list, tuple, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            _shared(part)
    return value


def _to_hand_over(collate: Callable[[Sequence[Any]], Any], items: Sequence[Any]) -> Any:
    return _shared(collate(items))


class _Keys:
    """Keys of batches, and those of them that were handed out and are still waited for."""

    def __init__(self, keys: Iterable[Sequence[Any]]) -> None:
        self.left, self.waiting = iter(keys), deque[Sequence[Any]]()

    def __iter__(self) -> Iterator[Sequence[Any]]:
        for key in self.left:
            self.waiting.append(key)
            yield key


def _end_workers(reading: _MultiProcessingDataLoaderIter) -> None:
    """End the workers, though somebody may still hold the iterator, and whatever signals they ignore."""
    reading._shutdown_workers()
    _kill(reading)


def _kill(reading: _MultiProcessingDataLoaderIter) -> None:
    for worker in reading._workers:
        worker.kill()


class _Watch:
    """A context in which a batch is waited for: after PATIENCE seconds in it the workers are killed. A dead one is
    noticed without it, a hanging one is not. One thread looks on until `ended` is set."""

    def __init__(self, reading: _MultiProcessingDataLoaderIter) -> None:
        self.reading, self.since, self.ended = reading, math.inf, threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def __enter__(self) -> None:
        self.since = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self.since = math.inf

    def _look(self) -> None:
        while not self.ended.wait(min(1.0, PATIENCE / 10)):
            if time.monotonic() - self.since > PATIENCE:
                _kill(self.reading)


class Loader:
    """Batches of a dataset's items, read ahead by worker processes. Where these fail - killed, hanging, or without
    the memory to hand over what they read - one line says so and the rest is read in this process. To be iterated
    once; closing its iterator ends the workers."""

    def __init__(
        self,
        dataset: Dataset,
        keys: Iterable[Sequence[Any]],
        collate: Callable[[Sequence[Any]], Any],
        num_workers: int,
        pinned: bool = False,
        prepare: Callable[[int], None] = ignore_ctrl_c,
        prefetch_factor: int = 2,
    ) -> None:
        """keys: of the items of each batch. pinned: whether tensors lie in memory that a GPU can fetch by itself.
        prepare: called in each worker. prefetch_factor: batches that each worker reads ahead."""
        self.dataset, self.keys, self.collate = dataset, keys, collate
        self.num_workers, self.pinned, self.prepare = num_workers, pinned, prepare
        self.prefetch_factor = prefetch_factor

    def __iter__(self) -> Generator[Any, None, None]:
        keys = _Keys(self.keys)
        if self.num_workers:
            try:
                yield from self._by_workers(keys)
                return
            except Exception as error:  # whatever it was: here it is read, or says what is wrong
                reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
                tqdm.write(
                    f"note      worker processes failed ({reason[0]}): images are read in the main process from here "
                    "on, which is slower; --num_threads 0 or fewer, or more memory (docker run --shm-size 8g), "
                    "avoids it",
                    file=sys.stderr,
                )
        yield from self._loader(chain(keys.waiting, keys.left), self.collate, 0)

    def _loader(self, keys: Iterable[Any], collate: Callable[[Sequence[Any]], Any], workers: int) -> DataLoader:
        return DataLoader(
            self.dataset,
            batch_sampler=keys,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=self.pinned,
            prefetch_factor=self.prefetch_factor if workers else None,
            worker_init_fn=self.prepare,
            # What is read depends on keys alone, so the loader must leave torch's own generator untouched.
            generator=torch.Generator(),
        )

    def _by_workers(self, keys: _Keys) -> Iterator[Any]:
        before = signal.getsignal(signal.SIGCHLD)
        reading: Any = iter(self._loader(keys, partial(_to_hand_over, self.collate), self.num_workers))
        if before is not None and threading.current_thread() is threading.main_thread():
            # torch's handler would raise anywhere in the main thread when a worker dies.
            signal.signal(signal.SIGCHLD, before)
        watch = _Watch(reading)
        try:
            while True:
                try:
                    with watch:
                        batch = next(reading, END)
                except Exception:
                    _kill(reading)  # another may hang
                    raise
                if batch is END:
                    return
                keys.waiting.popleft()
                yield batch
        finally:
            watch.ended.set()
            _end_workers(reading)


def _through(batches: Iterable[Any]) -> Generator[Any, None, None]:
    yield from batches  # its close() closes theirs too, where they have one


class Batches:
    """A context in which a loader is read; at its end the loader's workers end too."""

    def __init__(self, loader: Iterable[Any], count: int, device: Device) -> None:
        """count: batches in a step."""
        self.count, self.device = count, device
        self.skipped: set[str] = set()
        self._iterator = _through(loader)

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *error: object) -> None:
        # Workers ignore signals, so nobody else would end them while an error keeps the iterator alive.
        self._iterator.close()

    def read(self) -> tuple[list[dict[str, torch.Tensor]], float]:
        """The batches of a step on the device, and the seconds spent waiting for them."""
        began = time.monotonic()
        read = [next(self._iterator) for _ in range(self.count)]
        waited = time.monotonic() - began
        return [self._on_device(batch) for batch in read], waited

    def _on_device(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Images alone; those that could not be read are named once, or end the run where the loader says so."""
        if "error" in batch:
            raise batch["error"]
        for path, reason in batch.pop("skipped"):
            if path not in self.skipped:
                self.skipped.add(path)
                tqdm.write(f"skipped {path}: {reason} ({len(self.skipped)} so far)", file=sys.stderr)
        return {name: self.device.images(image) for name, image in batch.items()}
