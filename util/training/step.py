"""One training step: player after player lowers its terms, with gradients gathered over one or more batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import torch

from util.device import Compute
from util.training.optimizers import Optimizers

Batch = Mapping[str, torch.Tensor]
Terms = dict[str, torch.Tensor]


class Method(Protocol):
    """What yields (player, terms to lower) from a batch; the code after a yield sees that player updated."""

    def updates(self, batch: Batch) -> Iterator[tuple[str, Terms]]: ...


def train_step(method: Method, batches: Sequence[Batch], optimizers: Optimizers, compute: Compute) -> Terms:
    """Update every player once for each of the method's yields; returns every term's mean over the batches, scalars
    on the device. Several batches go through the method in step with each other, so that each player moves by the
    mean gradient over all of them, as it would on the joined batch. Never waits for the device."""
    turns = [compute.steps(method.updates(batch)) for batch in batches]
    share = 1 / len(turns)
    logged: Terms = {}
    while True:
        moved = None
        for turn in turns:
            update = next(turn, None)
            if update is None:
                continue
            moved, terms = update
            optimizers.backward(moved, terms, share)
            for name, term in terms.items():
                value = term.detach() if share == 1 else share * term.detach()
                logged[name] = logged[name] + value if turn is not turns[0] else value
        if moved is None:
            return logged
        optimizers.step(moved)
