"""Work on many items in threads, in their order: headers, pictures, scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import islice
from typing import TypeVar

import torch

from data.pictures import ImageError
from util.device import processors
from util.training.progress import Counting

MOST = 16  # threads or worker processes where nobody asks for a number
GROUP = 32  # headers that a thread reads before it is given more: handing over takes as long as reading one
T = TypeVar("T")
R = TypeVar("R")


def worker_count(wanted: int) -> int:
    """At most as many workers as this process has processors."""
    return min(wanted, processors())


def thread_count(num_threads: int | None) -> int:
    """So many as are asked for; for None as many as there are processors, at most MOST."""
    return worker_count(MOST) if num_threads is None else num_threads


def _in_order(function: Callable[[T], R], items: Sequence[T], count: int) -> Iterator[tuple[T, R]]:
    """(item, function(item)) in so many threads of one processor each; a few results wait at most."""
    if count == 0:
        yield from ((item, function(item)) for item in items)
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            left = iter(items)
            waiting = [(item, pool.submit(function, item)) for item in islice(left, 2 * count)]
            while waiting:
                item, future = waiting.pop(0)
                yield item, future.result()
                waiting += [(item, pool.submit(function, item)) for item in islice(left, 1)]
    finally:
        torch.set_num_threads(before)


def in_threads(
    function: Callable[[T], R], items: Sequence[T], num_threads: int | None, what: str = "", group: int = 1
) -> Iterator[tuple[T, R | ImageError]]:
    """Yields (item, function(item), or the ImageError that it raises) of all items in order. num_threads: as for
    thread_count; 0 works in this thread. what: label of a bar, or a line now and then; "" for none. group: items that
    a thread is given at once."""

    def attempt(part: Sequence[T]) -> list[R | ImageError]:
        found: list[R | ImageError] = []
        for item in part:
            try:
                found.append(function(item))
            except ImageError as error:
                found.append(error)
        return found

    parts = [items[start : start + group] for start in range(0, len(items), group)]
    with Counting(len(items), what) if what else nullcontext() as bar:
        for part, results in _in_order(attempt, parts, thread_count(num_threads)):
            yield from zip(part, results, strict=True)
            if bar is not None:
                bar.update(len(part))


def of_headers(function: Callable[[T], R], items: Sequence[T]) -> list[R | ImageError]:
    """Returns function(item), or its ImageError, of all items. Reading a header waits for the disk more than for the
    processor, so there are as many threads on any machine."""
    return [found for _, found in in_threads(function, items, MOST, group=GROUP)]
