"""Ranks: who am I, averaging over ranks, sharing work, and "only rank 0 writes". Everything works unchanged with one
process."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from util.device import own_gpu

T = TypeVar("T")
MOST_STEPS, SECONDS = 10, 3.0  # from one vote of Votes to the next, at the most
A_WEEK = 7 * 24 * 60.0  # minutes: a rank may wait long for one of a slower device; a dead one is noticed at once


class RankLost(RuntimeError):
    """Another rank does not answer any more."""


@contextmanager
def _together() -> Iterator[None]:
    """What every rank must do at once: when one is gone, the others' call fails in a backend's own words."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[\S+:\d+\]\s*", "", str(error).splitlines()[0])  # the backend's own file and line
        raise RankLost(reason) from error


def start(device: torch.device, minutes: float = 30.0) -> torch.device:
    """Join the other ranks if torchrun started this process; returns this rank's device.

    minutes: how long a rank waits for the others before it gives up."""
    if "RANK" not in os.environ or dist.is_initialized():
        return device
    if device.type == "cuda":
        device = torch.device("cuda", own_gpu())
        torch.cuda.set_device(device)
    # What is said between hosts goes by gloo: it does not wait for a GPU, and fails at once when a rank is gone.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(minutes=minutes))
    return device


def stop() -> None:
    """Leave the other ranks."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Count the processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_writer() -> bool:
    """Whether this process writes files and prints."""
    return rank() == 0


def is_first_here() -> bool:
    """Whether this process is the first of its machine, which prepares what each machine needs on its own disk."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _in_memory_order(tensor: torch.Tensor) -> torch.Tensor:
    """A view whose dimensions are in the order in which the numbers lie, so that flattening copies nothing. Gradients
    lie as their parameters do, and so alike on all ranks."""
    return tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


def average(tensors: Iterable[torch.Tensor | None]) -> None:
    """Replace each tensor by its mean over the ranks, in one message per dtype. None entries are passed over."""
    if world() == 1:
        return
    by_type: dict[torch.dtype, list[torch.Tensor]] = {}
    for tensor in tensors:
        if tensor is not None:
            by_type.setdefault(tensor.dtype, []).append(tensor)
    for group in by_type.values():
        group = [_in_memory_order(tensor) for tensor in group]
        joined = torch.cat([tensor.reshape(-1) for tensor in group])
        with _together():
            dist.all_reduce(joined)
        joined /= world()
        parts = joined.split([tensor.numel() for tensor in group])
        torch._foreach_copy_(group, [part.view_as(t) for part, t in zip(parts, group, strict=True)])


def broadcast(tensors: Sequence[torch.Tensor]) -> None:
    """Give every rank the tensors of rank 0."""
    if world() > 1:
        with _together(), torch.no_grad():
            for tensor in tensors:
                dist.broadcast(tensor, 0)


def largest(values: Sequence[int]) -> list[int]:
    """The largest of each value over the ranks; every rank must ask at the same step. Waits for no GPU."""
    if world() == 1:
        return list(values)
    votes = torch.tensor(values)
    with _together():
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return votes.tolist()


def gather(value: Any) -> list[Any]:
    """Every rank's value, in the order of ranks, on rank 0; an empty list on the others. Tensors must be on the
    CPU."""
    if world() == 1:
        return [value]
    values: list[Any] | None = [None] * world() if is_writer() else None
    with _together():
        dist.gather_object(value, values)
    return values or []


def barrier() -> None:
    """Wait until every rank is here."""
    if world() > 1:
        with _together():
            dist.barrier()


def share(items: Sequence[T]) -> Sequence[T]:
    """What this rank does of items that all ranks have, by position."""
    return items[rank() :: world()]


def from_writer(value: T) -> T:
    """Rank 0's value, on every rank."""
    values = [value]
    if world() > 1:
        with _together():
            dist.broadcast_object_list(values, 0, device=torch.device("cpu"))
    return values[0]


def sharing(command: Callable[..., int]) -> Callable[..., int]:
    """A command whose work the ranks share, if torchrun started this process; only rank 0 prints, but for errors. Where
    another rank is gone, each finishes its own share and ends with one line and exit status 1."""

    @wraps(command)
    def run(*arguments: Any) -> int:
        start(torch.device("cpu"), A_WEEK)  # what they tell each other lies there
        try:
            if is_writer():
                return command(*arguments)
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
                return command(*arguments)
        except RankLost as lost:
            print(
                f"error: lost another rank ({lost}): the same command goes on with what is there, "
                "with any number of ranks",
                file=sys.stderr,
            )
            return 1
        finally:
            stop()

    return run


class Votes:
    """Votes of all ranks on stopping and saving, at the same steps, on which they agree as well: every few steps, and
    not seconds apart, as torchrun kills them half a minute after a signal."""

    def __init__(self, step: int) -> None:
        """step: the last one that was done before the first vote."""
        self._step, self._time, self._next = step, time.monotonic(), step + 1

    def agree(self, step: int, due: bool, stopped: bool) -> tuple[bool, bool]:
        """Whether saving is due on any rank, and whether any was stopped; after a step without a vote, neither."""
        if world() == 1:
            return due, stopped
        if step < self._next:
            return False, False
        pace = (step - self._step) / max(time.monotonic() - self._time, 1e-3)
        pause = min(MOST_STEPS, max(1, int(SECONDS * pace)))
        # The largest of the negative ones: all take the pause of the slowest rank.
        votes = largest([due, stopped, -pause])
        self._step, self._time, self._next = step, time.monotonic(), step - votes[2]
        return bool(votes[0]), bool(votes[1])
