"""A training step on a CUDA device that need not be there: tensors know their device and shape, and have no content.

Fake tensors raise where tensors of two devices meet, and where the host would wait for a value of the device. Their
backward does not run without a GPU, so gradients are made up in its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from models import METHODS, fused
from models.cycle_gan import CycleGAN
from models.detection.detectors import Centre
from models.generators import OneDirection, make_generator
from models.inference.fuser import Fuser
from models.inference.translator import Translator
from options.cycle_gan import CycleGANOptions
from options.fuse import NetworkOptions
from tests.util.training.test_step import FEW_CHANNELS, SMALL
from util.device import Device
from util.metrics.fusion import fusion_scores
from util.metrics.generation import generation_scores
from util.training.optimizers import Optimizers
from util.training.run_log import LossLog
from util.training.state import EMA
from util.training.step import train_step

CUDA = torch.device("cuda", 0)
BFLOAT16 = Device(CUDA, torch.bfloat16, torch.channels_last)


class HostWaits(TorchDispatchMode):
    """Raises at what makes the host wait for the device and yet needs no value: copies from it that do not say
    non_blocking."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type == "cpu" and not (kwargs or {}).get("non_blocking"):
            sources = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.device.type == "cuda"]
            assert not sources, f"{function} brings a tensor from the device to the host"
        return result


class HostDraws(TorchDispatchMode):
    """Raises where a tensor of the host, which a CUDA graph would not see again, enters the device."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type == "cuda":
            sources = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.device.type == "cpu"]
            assert not sources, f"{function} brings a tensor of the host to the device"
        return result


class MadeUpGradients(Optimizers):
    """Optimizers whose backward fills in gradients of zero for the player whose turn it is."""

    def backward(self, player: str, terms: Mapping[str, torch.Tensor], share: float = 1.0) -> None:
        loss = share * sum(terms.values())
        assert loss.shape == () and loss.requires_grad and loss.device == CUDA
        assert loss.dtype == torch.float32, "terms are summed in full precision"
        for parameter in self.parameters[player]:
            parameter.grad = torch.zeros_like(parameter)


@contextmanager
def cuda_of_fakes(monkeypatch: pytest.MonkeyPatch, may_wait: bool = False) -> Iterator[None]:
    """What is made with device CUDA is a fake tensor there, under autocast too. may_wait: whether the host may fetch
    tensors from it."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    with FakeTensorMode(), fused.as_written(), nullcontext() if may_wait else HostWaits():
        yield


def on_cuda(network: nn.Module) -> nn.Module:
    """The network, made on the CPU, with fakes on the device for its tensors."""
    for module in network.modules():
        for name, value in module.named_parameters(recurse=False):
            layout = torch.channels_last if value.dim() == 4 else torch.contiguous_format
            fake = torch.empty(value.shape, dtype=value.dtype, device=CUDA, memory_format=layout)
            module.register_parameter(name, nn.Parameter(fake, value.requires_grad))
        for name, value in module.named_buffers(recurse=False):
            module.register_buffer(name, torch.empty(value.shape, dtype=value.dtype, device=CUDA))
    return network


def batches(count: int) -> list[dict[str, torch.Tensor]]:
    """uint8, on the host, as the loader gives them."""
    names = {"visible": 3, "infrared": 1, "mask": 1}
    return [
        {name: torch.empty(2, channels, 76, 76, dtype=torch.uint8) for name, channels in names.items()}
        for _ in range(count)
    ]


VARIANTS = [
    ("cycle_gan", {}),
    ("cycle_gan", {"lambda_cycle": 1.0, "lambda_paired": 1.0, "self_keep": 0.25}),
    ("cycle_gan", {"pool_size": 3}),
    ("cycle_gan", {"norm": "batch", "gan_mode": "hinge"}),
    ("pix2pix", {}),
    ("fusion_gan", {}),
    ("stdfusion_net", {}),
]


@pytest.mark.parametrize(("name", "changed"), VARIANTS)
def test_a_step_stays_on_the_device_and_never_waits(name: str, changed: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    options = METHODS[name].Options(**FEW_CHANNELS[name] | changed)
    method, average = METHODS[name](options), METHODS[name].network(options)
    with cuda_of_fakes(monkeypatch):
        if "pool_size" in changed:  # as a checkpoint leaves it
            images = [torch.empty(1, 1, 76, 76) for _ in range(changed["pool_size"])]
            method.infrared_pool.load_state_dict({"images": images})
        optimizers = MadeUpGradients(on_cuda(method).players(), 1e-3, 0.5, 1.0, BFLOAT16)
        ema, log = EMA(nn.Identity(), 0.999), LossLog()
        ema.network, ema.average = method.players()[method.trained], on_cuda(average)
        for count, warm in ((1, False), (1, True), (2, True)):
            placed = [{key: BFLOAT16.images(image) for key, image in batch.items()} for batch in batches(count)]
            with HostDraws() if warm else nullcontext():  # what a checkpoint left is brought in the first step
                terms = train_step(method, placed, optimizers, BFLOAT16)
            assert {term.device for term in terms.values()} == {CUDA}
            ema.update(1000)
            log.add(terms)


def test_the_rehearsal_would_find_a_wait_and_a_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    with cuda_of_fakes(monkeypatch):
        value = torch.zeros(3, device=CUDA)
        with pytest.raises(DataDependentOutputException):
            value.sum().item()
        with pytest.raises(AssertionError, match="to the host"):
            value.cpu()
        with pytest.raises(RuntimeError, match=r"same device|two devices|different devices"):
            value + torch.zeros(3)
        with HostDraws(), pytest.raises(AssertionError, match="of the host"):
            torch.rand(3).to(CUDA, non_blocking=True)


@pytest.mark.parametrize("size", [(48, 40), (200, 230)])
def test_infrared_is_made_on_the_device(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    options = CycleGANOptions(**SMALL)
    network = CycleGAN.network(options)
    translator = Translator(network, Device(torch.device("cpu"), torch.bfloat16, torch.channels_last), tile=176)
    translator.device = BFLOAT16
    with cuda_of_fakes(monkeypatch, may_wait=True):
        on_cuda(translator.network), on_cuda(translator.by_tiles)
        with torch.no_grad():
            made = translator(torch.empty(1, 3, *size, dtype=torch.uint8))
        assert made.shape == (1, 1, *size)
        assert made.device == (CUDA if size[0] <= 176 else torch.device("cpu"))


def test_a_scene_is_seen_on_the_device_without_waiting_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    network = OneDirection(make_generator("efficientnet_unet", 3, 1, 2, "instance", False, "resize"))
    cpu = Device(torch.device("cpu"), torch.bfloat16, torch.channels_last)
    translator = Translator(network, cpu, seen_at=lambda height, width: (90, 130))
    translator.device = BFLOAT16
    with cuda_of_fakes(monkeypatch):
        on_cuda(translator.network)
        with torch.no_grad():
            made = translator(torch.empty(2, 3, 48, 70, dtype=torch.uint8))
        assert made.shape == (2, 1, 48, 70) and made.device == CUDA


@pytest.mark.parametrize("tile", [64, 0])
@pytest.mark.parametrize("name", ["fusion_gan", "stdfusion_net"])
def test_images_are_fused_on_the_device(name: str, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = METHODS[name].network(METHODS[name].Options())
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, *_, **__: module)
    with cuda_of_fakes(monkeypatch):
        fuser = Fuser(on_cuda(network), BFLOAT16, NetworkOptions(tile=tile), "minmax")
        fused, span = fuser(
            torch.empty(2, 3, 90, 101, dtype=torch.uint8), torch.empty(2, 1, 90, 101, dtype=torch.uint8)
        )
    assert fused.shape == (2, 1, 90, 101) and span.shape == (2, 2)
    assert fused.device == span.device == CUDA


@pytest.mark.parametrize("convention", ["standard", "vifb"])
def test_fusion_metrics_stay_on_the_device(convention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with cuda_of_fakes(monkeypatch):
        images = [torch.empty(2, channels, 180, 200, device=CUDA) for channels in (3, 3, 1)]
        scores = fusion_scores(*images, convention=convention)
    assert {score.device for score in scores.values()} == {CUDA}


def test_generation_metrics_stay_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    with cuda_of_fakes(monkeypatch):
        scores = generation_scores(*(torch.empty(2, 1, 180, 200, device=CUDA) for _ in range(2)))
    assert {score.device for score in scores.values()} == {CUDA}


def test_the_detector_learns_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Centre(2, (64, 96), Device(torch.device("cpu"), torch.bfloat16, torch.channels_last))
    detector.device = BFLOAT16
    monkeypatch.setattr("models.detection.loss.CELLS_AT_ONCE", 2 * 16 * 24)
    with cuda_of_fakes(monkeypatch):
        on_cuda(detector.network)
        for counts in ((3, 5), (4, 0), (0, 0)):
            boxes, labels = [torch.empty(n, 4) for n in counts], [torch.empty(n, dtype=torch.int64) for n in counts]
            ignored = [torch.empty(n, dtype=torch.bool) for n in counts]
            terms = detector.losses(torch.empty(2, 1, 64, 96, device=CUDA), boxes, labels, ignored)
            assert {term.device for term in terms.values()} == {CUDA}
            assert all(term.shape == () and term.requires_grad for term in terms.values())
