"""A training step: player after player lowers its terms; on CUDA, the whole step as one CUDA graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch

from util.device import Device
from util.text import reason
from util.training import ranks
from util.training.optimizers import Optimizers

Batch = Mapping[str, torch.Tensor]
Terms = dict[str, torch.Tensor]


class Method(Protocol):
    """What yields (player, terms to lower) from a batch; the code after a yield sees that player updated."""

    def updates(self, batch: Batch) -> Iterator[tuple[str, Terms]]: ...


def train_step(method: Method, batches: Sequence[Batch], optimizers: Optimizers, device: Device) -> Terms:
    """Update every player once for each of the method's yields; returns every term's mean over the batches, scalars
    on the device. Several batches go through the method in step with each other, so that each player moves by the
    mean gradient over all of them, as it would on the joined batch. Never waits for the device."""
    turns = [device.steps(method.updates(batch)) for batch in batches]
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


class Stepper:
    """Takes training steps as train_step does. On CUDA it records one, after some that warm up, and replays it: then
    the host starts one graph instead of thousands of kernels one by one, which takes it longer than the GPU needs for
    them where batches are small.

    A graph holds the learning rates and the size of the images, so it is recorded anew when they change. What the
    networks and losses draw at random, they draw on the device."""

    WARM_UP = 3

    def __init__(self, method: Method, optimizers: Optimizers, device: Device, replays: bool) -> None:
        """replays: whether graphs are wanted."""
        self.method, self.optimizers, self.device = method, optimizers, device
        self.replays = replays and device.device.type == "cuda" and not device.needs_scaling and ranks.world() == 1
        self.stream = torch.cuda.Stream(device.device) if self.replays else None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: list[dict[str, torch.Tensor]] = []
        self.form: Any = None
        self.settings: Any = None
        self.terms: Terms = {}
        self.warm = 0

    def take(self, batches: Sequence[Batch]) -> Terms:
        """Take a step, as train_step does. The terms it returns are overwritten by the next one's."""
        form = [(name, image.shape, image.dtype) for batch in batches for name, image in batch.items()]
        if not self.replays:
            return self._as_written(batches)
        if form != self.form:
            self.graph, self.settings, self.form, self.warm = None, None, form, 0
        if self.warm < self.WARM_UP:
            self.warm += 1
            return self._warming(batches)
        if self.settings != self.optimizers.settings and not self._record(batches):
            return self._as_written(batches)
        assert self.graph is not None
        for own, batch in zip(self.inputs, batches, strict=True):
            for name, image in batch.items():
                own[name].copy_(image, non_blocking=True)
        self.graph.replay()
        return self.terms

    def _as_written(self, batches: Sequence[Batch]) -> Terms:
        return train_step(self.method, batches, self.optimizers, self.device)

    def _warming(self, batches: Sequence[Batch]) -> Terms:
        """A step as written, on the stream on which the graph will be recorded."""
        assert self.stream is not None
        present = torch.cuda.current_stream(self.device.device)
        self.stream.wait_stream(present)
        with torch.cuda.stream(self.stream):
            terms = self._as_written(batches)
        present.wait_stream(self.stream)
        return terms

    def _record(self, batches: Sequence[Batch]) -> bool:
        """Record a step, which is not taken yet; whether that was possible."""
        self.graph, self.terms = None, {}  # its memory is the next one's
        self.inputs = [{name: image.clone() for name, image in batch.items()} for batch in batches]
        graph, present = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device.device)
        try:
            # thread_local: the loader's thread may ask for pinned memory meanwhile.
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                self.terms = self._as_written(self.inputs)
        except Exception as error:  # whatever in it cannot be recorded
            torch.cuda.set_stream(present)
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
            generator.graphsafe_set_state(generator.clone_state())  # which may believe that it is still being recorded
            self.replays, self.inputs, self.terms = False, [], {}
            self.optimizers.forget()
            error = error.__context__ if isinstance(error.__context__, Exception) else error  # the first of them
            if ranks.is_writer():
                print(f"note      steps run as they are written, not as a CUDA graph ({reason(error)})", flush=True)
            return False
        self.graph, self.settings = graph, self.optimizers.settings
        return True
