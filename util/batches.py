"""Batches on their way from a loader's workers to the device, a step's worth at a time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter
from tqdm import tqdm

from util.compute import Compute


def end_workers(iterator: Iterator[Any]) -> None:
    """End the workers of a loader that is being read, if it has any, though somebody may still hold its iterator."""
    if isinstance(iterator, _MultiProcessingDataLoaderIter):
        iterator._shutdown_workers()


class Batches:
    """A context in which a loader is read; at its end the loader's workers end too."""

    def __init__(self, loader: DataLoader, count: int, compute: Compute) -> None:
        """count: batches in a step."""
        self.count, self.compute = count, compute
        self.skipped: set[str] = set()
        self._iterator = iter(loader)

    def __enter__(self) -> Batches:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Workers ignore signals, so nobody else would end them while an error keeps the iterator alive.
        end_workers(self._iterator)

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
        return {name: self.compute.images(image) for name, image in batch.items()}
