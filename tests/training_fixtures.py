"""A training of a toy method, in milliseconds."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from models.discriminators import ImagePool
from util.device import select_device
from util.training.optimizers import Optimizers
from util.training.state import TrainingState


class Toy(nn.Module):
    """A method of two small players and a pool, which draws random numbers."""

    trained = "generator"

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.discriminator, self.pool = nn.Linear(3, 2), nn.Linear(2, 1), ImagePool(2)

    def players(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator}

    def saved(self) -> dict[str, Any]:
        return self.players() | {"pool": self.pool}

    def remarks(self) -> list[str]:
        return ["a toy"]


def begun(
    seed: int = 0, ema_decay: float | None = None, steps: int = 4, fingerprint: str = "a", judged_by: str = "cc"
) -> TrainingState:
    """A training of Toy that has not begun."""
    torch.manual_seed(seed)
    method, device = Toy(), select_device("cpu", "fp32")
    optimizers = Optimizers(method.players(), 0.1, 0.5, None, device)
    optimizers.schedule("linear", 1, 1, 1, True)
    state = TrainingState(method, optimizers, ema_decay, device.device, steps, fingerprint, judged_by)
    state.mean_infrared = 0.25
    return state


def yields(method: nn.Module, batch: dict[str, torch.Tensor]) -> list[tuple[str, set[str]]]:
    """(player, names of its terms) of each yield of a method, which must move that player alone."""
    optimizers, found = Optimizers(method.players(), 1e-3, 0.5, None, select_device("cpu", "fp32")), []
    for player, terms in method.updates(batch):
        before = {name: [p.clone() for p in part.parameters()] for name, part in method.players().items()}
        optimizers.backward(player, terms)
        optimizers.step(player)
        for name, part in method.players().items():
            moved = any(not torch.equal(a, b) for a, b in zip(before[name], part.parameters(), strict=True))
            assert moved == (name == player), (player, name)
        found.append((player, set(terms)))
    return found


def train(state: TrainingState, count: int) -> None:
    """Steps of the first player, which depend on random numbers, the pool and the other player."""
    for _ in range(count):
        made = state.method.generator(torch.rand(2, 3))
        older = state.method.pool.query(made[..., None, None])[..., 0, 0]
        state.optimizers.backward(
            "generator", {"loss": (state.method.discriminator(made) + state.method.discriminator(older)).square().sum()}
        )
        state.optimizers.step("generator")
        state.stepped()
