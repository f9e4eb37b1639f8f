"""Exponential moving average of a network's weights (Yazici et al., ICLR 2019, for GANs)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class EMA:
    """`average` is a copy of the network, ready to run; update() moves it towards the network."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self.average = copy.deepcopy(network).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """average <- decay * average + (1 - decay) * network; buffers are copied. steps: done before, of which the
        first ones count less: the decay is (1 + steps) / (10 + steps) until that reaches its own value."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)
        for ours, theirs in zip(self.average.buffers(), self.network.buffers(), strict=True):
            ours.copy_(theirs)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights."""
        return self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over averaged weights."""
        self.average.load_state_dict(state)
