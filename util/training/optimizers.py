"""An optimizer for each player: backward for that player alone, averaging over ranks, clipping, schedule."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import reduce
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from util.device import Device
from util.training import ranks


def _lay_out_as_parameters(adam: torch.optim.Adam) -> None:
    """Give loaded moments their parameters' memory layout. A run may go on in another layout than it was saved in, and
    the fused Adam would take the numbers in the order in which they lie, or refuse. ValueError where they are another
    parameter's, or none."""
    for parameter, kept in adam.state.items():
        if not {"step", "exp_avg", "exp_avg_sq"} <= kept.keys():
            raise ValueError("a parameter has no moments")
        for name, value in kept.items():
            if name != "step":
                if value.shape != parameter.shape:
                    shapes = f"{tuple(value.shape)} for a parameter of {tuple(parameter.shape)}"
                    raise ValueError(f"moments of shape {shapes}")
                kept[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


# As a CUDA graph's steps need it: what warms up, and what no graph can hold, runs so too, and is no mistake.
warnings.filterwarnings("ignore", r".*capturable=True.*running without CUDA graph capture", UserWarning)


class Optimizers:
    """Adam for each player. Gradients reach only the player whose turn it is."""

    def __init__(
        self, players: Mapping[str, nn.Module], lr: float, beta1: float, clip: float | None, device: Device
    ) -> None:
        self.lr, self.beta1, self.clip = lr, beta1, clip
        graphs = device.device.type == "cuda"  # then a CUDA graph can hold a step
        learning = {name: [p for p in player.parameters() if p.requires_grad] for name, player in players.items()}
        self.parameters = learning  # a frozen encoder's are not among them
        self.adam = {
            name: torch.optim.Adam(parameters, lr, (beta1, 0.999), fused=True, capturable=graphs)
            for name, parameters in self.parameters.items()
        }
        self.scalers = {
            name: torch.amp.GradScaler(device.device.type, enabled=device.needs_scaling) for name in players
        }
        self.schedules: dict[str, LRScheduler] = {}

    def schedule(self, policy: str, n_epochs: int, n_epochs_decay: int, decay_iters: int, best_is_max: bool) -> None:
        """Choose how the rate falls from epoch to epoch."""

        def linear(epoch: int) -> float:
            return 1.0 - max(0, epoch + 1 - n_epochs) / (n_epochs_decay + 1)

        def step(epoch: int) -> float:
            return 0.1 ** (epoch // decay_iters)

        def cosine(epoch: int) -> float:
            return 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / (n_epochs + n_epochs_decay))))

        for name, adam in self.adam.items():
            if policy == "plateau":
                mode: Literal["max", "min"] = "max" if best_is_max else "min"
                self.schedules[name] = ReduceLROnPlateau(adam, mode, factor=0.2, patience=5, threshold=0)
            else:
                self.schedules[name] = LambdaLR(adam, {"linear": linear, "step": step, "cosine": cosine}[policy])

    def backward(self, player: str, terms: Mapping[str, torch.Tensor], share: float = 1.0) -> None:
        """Add the gradient of share times the sum of the terms to this player's, and to nobody else's."""
        loss = reduce(torch.add, terms.values())
        self.scalers[player].scale(share * loss if share != 1 else loss).backward(inputs=self.parameters[player])

    def average(self, player: str) -> None:
        """Average the player's gradients over ranks."""
        ranks.average(parameter.grad for parameter in self.parameters[player])

    def step(self, player: str) -> None:
        """Move this player by its gradients, averaged over ranks; never waits for the device."""
        adam, scaler, parameters = self.adam[player], self.scalers[player], self.parameters[player]
        self.average(player)
        if self.clip is not None:
            scaler.unscale_(adam)
            nn.utils.clip_grad_norm_(parameters, self.clip)
        scaler.step(adam)
        scaler.update()
        adam.zero_grad(set_to_none=True)

    def end_epoch(self, score: float | None) -> None:
        """Move every schedule on by one epoch; score: the validation score that plateau watches."""
        for schedule in self.schedules.values():
            if not isinstance(schedule, ReduceLROnPlateau):
                schedule.step()
            elif score is not None:
                schedule.step(score)
            else:
                schedule.last_epoch += 1

    def forget_scores(self) -> None:
        """Let plateau compare later scores with each other alone."""
        for schedule in self.schedules.values():
            if isinstance(schedule, ReduceLROnPlateau):
                schedule.best, schedule.num_bad_epochs = schedule.mode_worse, 0

    def forget(self) -> None:
        """Drop gradients that are not used."""
        for adam in self.adam.values():
            adam.zero_grad(set_to_none=True)

    @property
    def settings(self) -> list[dict[str, Any]]:
        """All that the next step depends on besides tensors."""
        groups = [adam.param_groups[0] for adam in self.adam.values()]
        return [{name: value for name, value in group.items() if name != "params"} for group in groups]

    @property
    def rate(self) -> float:
        """Learning rate of the first player."""
        return next(iter(self.adam.values())).param_groups[0]["lr"]

    def state_dict(self) -> dict[str, Any]:
        """Moments, scales and schedules of every player."""
        parts: dict[str, Mapping[str, Any]] = {"adam": self.adam, "scalers": self.scalers, "schedules": self.schedules}
        states = {part: {name: h.state_dict() for name, h in holders.items()} for part, holders in parts.items()}
        return states | {"lr": self.lr}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from another's state, with this one's own first rate, momentum and schedule."""
        for name, adam in self.adam.items():
            own = {k: v for k, v in adam.param_groups[0].items() if k not in ("params", "lr", "initial_lr")}
            adam.load_state_dict(state["adam"][name])
            adam.param_groups[0].update(own)
            _lay_out_as_parameters(adam)
            if state["scalers"][name]:  # a run in another precision has no scale
                self.scalers[name].load_state_dict(state["scalers"][name])
        for name, adam in self.adam.items():
            schedule, stored, group = self.schedules[name], state["schedules"][name], adam.param_groups[0]
            ours = schedule.state_dict()
            both = {"last_epoch", "_step_count"} & ours.keys() & stored.keys()
            if any(type(stored[key]) is not type(ours[key]) for key in both):
                raise ValueError("a schedule's position is none")
            if stored.keys() != ours.keys():  # another --lr_policy than before
                schedule.last_epoch = stored["last_epoch"]
                group["lr"] = self.lr * (
                    schedule.lr_lambdas[0](schedule.last_epoch) if isinstance(schedule, LambdaLR) else 1.0
                )
                continue
            # Whether higher is better may have changed with --best_metric.
            schedule.load_state_dict(stored | {name: ours[name] for name in ("mode", "mode_worse") if name in ours})
            if isinstance(schedule, LambdaLR):
                schedule.base_lrs = [self.lr]
                group["lr"] = self.lr * schedule.lr_lambdas[0](schedule.last_epoch)
            else:
                group["lr"] *= self.lr / state["lr"]
