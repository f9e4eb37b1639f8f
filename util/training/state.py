"""All that training changes, how it is saved, and how a run goes on from it: weights and their average, optimizers,
pools, position; weights for use are safetensors files that carry what they are for."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from util.files import write_whole
from util.text import reason
from util.training import ranks
from util.training.optimizers import Optimizers
from util.training.run_folder import CHECKPOINT_FORMAT

METADATA, CHECKSUM = "__metadata__", "checksum"  # names in a weights file's header


class NotFinite(ValueError):
    """A loss or a weight is no finite number any more."""


def _header(content: bytes | memoryview) -> tuple[dict[str, Any], int]:
    """(what the file says of itself, where its numbers begin)."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(bytes(content[8 : 8 + length])), 8 + length


def _checksum(metadata: Mapping[str, str], header: Mapping[str, Any], numbers: memoryview) -> str:
    """Of all that a file holds, but this itself; the format has none of its own."""
    about = {name: value for name, value in metadata.items() if name != CHECKSUM}
    found = hashlib.sha256(json.dumps([about, dict(header) | {METADATA: None}], sort_keys=True).encode())
    found.update(numbers)
    return found.hexdigest()


def save_weights(path: Path, state_dict: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and what they are for, the same bytes for the same; a reader never sees half a file."""
    # One copy each, in the default layout: safetensors refuses shared or strided memory.
    tensors = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format).contiguous()
        for name, tensor in state_dict.items()
    }
    content = memoryview(save(tensors))
    header, begin = _header(content)
    numbers = content[begin:]
    about = dict(metadata) | {CHECKSUM: _checksum(metadata, header, numbers)}
    # safetensors would write these in an order of chance.
    text = json.dumps({METADATA: dict(sorted(about.items())), **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # numbers lie at multiples of 8 bytes
    write_whole(path, b"".join([len(text).to_bytes(8, "little"), text, numbers]))


def load_weights(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Metadata and tensors (on the CPU) of a file; ValueError where it is not an intact safetensors file."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    with path.open("rb"):  # an OSError names the file
        pass
    try:
        with safe_open(path, framework="pt") as file:
            metadata, tensors = dict(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: is not an intact safetensors file ({error})") from None
    if wanted := metadata.pop(CHECKSUM, None):
        content = memoryview(path.read_bytes())
        header, begin = _header(content)
        if _checksum(metadata, header, content[begin:]) != wanted:
            raise ValueError(f"{path}: is damaged: its numbers are not those that were written; make or copy it anew")
    return dict(sorted(metadata.items())), tensors


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
        pairs = zip(self.average.parameters(), self.network.parameters(), strict=True)
        trained = [pair for pair in pairs if pair[1].requires_grad]  # a frozen encoder stays as it is
        torch._foreach_lerp_([ours for ours, _ in trained], [theirs for _, theirs in trained], 1 - decay)
        for own, other in zip(self.average.buffers(), self.network.buffers(), strict=True):
            own.copy_(other)


def on_cpu(state: Any) -> Any:
    """The same nest of dicts and lists with its tensors on the CPU."""
    if isinstance(state, torch.Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {key: on_cpu(value) for key, value in state.items()}
    return [on_cpu(value) for value in state] if isinstance(state, list) else state


KINDS: dict[str, Any] = {
    "epoch": int, "step": int, "total": int, "steps": int, "data": str, "method": dict, "optimizers": dict,
    "ranks": list, "ema": (dict, NoneType), "best": (float, NoneType), "mean_infrared": float, "judged_by": str,
}  # fmt: skip
"""What of a checkpoint is of which kind."""


class TrainingState:
    """A training at one moment. The loop moves it on; it knows nothing of the loop."""

    def __init__(
        self,
        method: Any,
        optimizers: Optimizers,
        ema_decay: float | None,
        device: torch.device,
        steps: int,
        fingerprint: str,
        judged_by: str,
    ) -> None:
        """method: as in models, in its place. steps: of an epoch. fingerprint: of the data set. judged_by: what changes
        where validation scores cannot be compared any more."""
        self.method, self.optimizers, self.device = method, optimizers, device
        self.steps, self.fingerprint, self.judged_by = steps, fingerprint, judged_by
        self.trained: nn.Module = method.players()[method.trained]
        self.ema = EMA(self.trained, ema_decay) if ema_decay is not None else None
        self.epoch, self.step = 0, 0  # that come next
        self.total = 0  # steps done since the beginning
        self.best: float | None = None  # validation score so far
        self.mean_infrared: float | None = None  # grey level of the training images, in [-1, 1]

    @property
    def network(self) -> nn.Module:
        """The networks as they are used after training: averaged if EMA is on."""
        return self.ema.average if self.ema else self.trained

    def stepped(self) -> None:
        """The optimizers have taken one more step: the average follows, the position moves on."""
        if self.ema:
            self.ema.update(self.total)
        self.step, self.total = self.step + 1, self.total + 1

    def improves(self, score: float, higher_is_better: bool) -> bool:
        """Whether a validation score is the best so far, which is then kept; NaN never is."""
        sign = 1 if higher_is_better else -1
        is_best = score == score and (self.best is None or sign * score > sign * self.best)
        if is_best:
            self.best = score
        return is_best

    def average_statistics(self) -> None:
        """Bring the running statistics of batch norms, which each rank has of its own batches, to their mean."""
        networks = [self.method] + ([self.ema.average] if self.ema else [])
        ranks.average(buffer for network in networks for buffer in self._statistics(network).values())

    @staticmethod
    def _statistics(network: nn.Module) -> dict[str, torch.Tensor]:
        return {name: buffer for name, buffer in network.named_buffers() if ".running_" in f".{name}"}

    def check_finite(self) -> None:
        """NotFinite where a weight is no finite number."""
        norm = torch.stack(torch._foreach_norm(list(self.method.parameters()))).sum()
        if not torch.isfinite(norm):
            raise NotFinite("the weights")

    def save_weights(self, path: Path, about: Mapping[str, str]) -> None:
        """Write the networks that are used after training. about: what else the file says of the run."""
        metadata = {
            "epoch": str(self.epoch),
            "mean_infrared": f"{self.mean_infrared:.6f}",
            "range": "clip",
        }
        save_weights(path, self.network.state_dict(), {**about, **metadata})

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds; every rank must ask at the same step, and rank 0 gets the whole."""
        return {
            "format": CHECKPOINT_FORMAT,
            "epoch": self.epoch,
            "step": self.step,
            "total": self.total,
            "steps": self.steps,
            "data": self.fingerprint,
            "method": {name: part.state_dict() for name, part in self._saved(modules=True)},
            "optimizers": self.optimizers.state_dict(),
            "ema": self.ema.average.state_dict() if self.ema else None,
            "best": self.best,
            "mean_infrared": self.mean_infrared,
            "judged_by": self.judged_by,
            "ranks": ranks.gather(self._own_state()),
        }

    def _saved(self, modules: bool) -> Iterator[tuple[str, Any]]:
        """The method's networks, which are the same on all ranks, or what each rank has of its own."""
        return ((n, part) for n, part in self.method.saved().items() if isinstance(part, nn.Module) == modules)

    def _own_state(self) -> dict[str, Any]:
        """What this rank alone has: image pools, running statistics and random states, on the CPU."""
        return {
            "statistics": on_cpu(self._statistics(self.method)),
            "pools": {name: on_cpu(part.state_dict()) for name, part in self._saved(modules=False)},
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> list[str]:
        """Go on from a checkpoint, also with other data or ranks than before; returns remarks for the user on that.

        ValueError where it is that of another method, of other networks, or lacks something."""
        try:
            return self._load(state)
        except Exception as error:  # what does not fit fails in many ways inside torch
            raise ValueError(f"does not fit the run's options: {reason(error, 200)}") from None

    def _load(self, state: Mapping[str, Any]) -> list[str]:
        for name, kinds in KINDS.items():
            if not isinstance(state[name], kinds) or isinstance(state[name], bool):
                raise TypeError(f"{name} is {state[name]!r}"[:80])
        if not (0 <= state["step"] <= state["steps"] and state["epoch"] >= 0 and state["total"] >= 0 < state["steps"]):
            raise ValueError("its position is none")
        own = state["ranks"][ranks.rank() % len(state["ranks"])]
        for name, part in self._saved(modules=True):
            part.load_state_dict(state["method"][name])
        for name, part in self._saved(modules=False):
            part.load_state_dict(own["pools"][name])
        self.optimizers.load_state_dict(state["optimizers"])
        if self.ema:
            self.ema.average.load_state_dict(state["ema"] or self.trained.state_dict())
        self.epoch, self.step, self.total = state["epoch"], state["step"], state["total"]
        self.best, self.mean_infrared = state["best"], state["mean_infrared"]
        for name, buffer in self._statistics(self.method).items():
            buffer.copy_(own["statistics"][name])
        torch.set_rng_state(own["random"])
        if own["random_cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(own["random_cuda"])
        remarks = []
        if state["steps"] != self.steps:
            self.step = self.step * self.steps // state["steps"]
            remarks.append(
                f"an epoch has {self.steps} steps, not {state['steps']} as before: goes on at the same share"
            )
        if state["data"] != self.fingerprint:
            remarks.append("the data set has changed since the run began: the run goes on, but not as it would have")
        if state["judged_by"] != self.judged_by:
            self.best = self.mean_infrared = None
            self.optimizers.forget_scores()
            remarks.append("validation scores are not comparable with those before: the best weights are chosen anew")
        if len(state["ranks"]) != ranks.world():
            remarks.append(f"goes on with {ranks.world()} rank(s); before there were {len(state['ranks'])}")
        return remarks
