"""fuse.py on a CUDA device that need not be there: its loop copies both ways without waiting for the device."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import fuse
from data.counts import ThermalRange
from data.images import ImageError, Source
from data.inputs import Job
from models import METHODS
from models.cycle_gan import CycleGAN
from models.inference.fuser import Fuser
from models.inference.translator import Translator
from options.cycle_gan import CycleGANOptions
from options.fuse import FuseOptions, NetworkOptions
from tests.models.test_cuda_rehearsal import BFLOAT16, cuda_of_fakes, on_cuda
from tests.util.training.test_step import SMALL
from util.device import Device

SIZE = (90, 101)


class Event:
    """Of CUDA: remembers which threads waited for it."""

    waited: set[int] = set()
    recorded = 0

    def record(self) -> None:
        Event.recorded += 1

    def synchronize(self) -> None:
        Event.waited.add(threading.get_ident())


class Results:
    """What reaches the writer threads."""

    def __init__(self) -> None:
        self.errors: list[ImageError] = []
        self.written: list[tuple[dict[str, Any], torch.Tensor, torch.Tensor]] = []

    def finish(self, item: dict[str, Any], fused: torch.Tensor, span: torch.Tensor, *options: Any) -> None:
        """As fuse.finish, whose first argument is what it is a method of here; the last waits for the device."""
        options[-1]()
        self.written.append((item, fused, span))


def make_partner(monkeypatch: pytest.MonkeyPatch) -> fuse.Partner:
    translator = Translator(CycleGAN.network(CycleGANOptions(**SMALL)), Device(torch.device("cpu"), torch.bfloat16,
                          torch.channels_last))  # fmt: skip
    translator.device = BFLOAT16
    return fuse.Partner(translator, ThermalRange(), None, Path("w.safetensors"), None, "a generator")


@pytest.mark.parametrize("generated", [False, True])
def test_the_loop_never_waits_for_the_device(generated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [Job(Source(Path(f"{n}.png"), f"{n}"), None if generated else Source(Path("ir.png"), "ir")) for n in (0, 1)]
    network, partner = METHODS["fusion_gan"].network(METHODS["fusion_gan"].Options()), None
    if generated:
        partner = make_partner(monkeypatch)
    read: list[bool] = []

    def batches(*arguments: Any) -> Iterator[tuple[torch.Tensor, list[dict[str, Any]]]]:
        read.append(arguments[-1])
        for _ in range(3):
            items = [{"job": job} for job in jobs]
            if not generated:
                items = [item | {"infrared": torch.empty(1, *SIZE, dtype=torch.uint8)} for item in items]
            yield torch.empty(2, 3, *SIZE, dtype=torch.uint8), items

    monkeypatch.setattr(fuse, "read_batches", batches)
    monkeypatch.setattr(fuse, "finish", Results.finish)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(Event, "waited", set())
    monkeypatch.setattr(Event, "recorded", 0)
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, *_, **__: module)
    results = Results()
    with cuda_of_fakes(monkeypatch):
        fuser = Fuser(on_cuda(network), BFLOAT16, NetworkOptions(), "minmax")
        if partner:
            on_cuda(partner.translator.network)
        fuse.fuse_images(FuseOptions(), jobs, fuser, partner, results, set())
    assert read == [True], "read into pinned memory"
    assert Event.recorded == 3 and threading.get_ident() not in Event.waited and Event.waited
    assert len(results.written) == 6
    for item, fused, span in results.written:
        tensors = {"visible": item["visible"], "infrared": item["infrared"], "fused": fused, "span": span}
        assert {tensor.device.type for tensor in tensors.values()} == {"cpu"}
        assert [tuple(tensor.shape) for tensor in tensors.values()] == [(3, *SIZE), (1, *SIZE), (1, *SIZE), (2,)]
