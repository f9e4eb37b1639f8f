"""Joined convolutions make what the network makes, in fewer passes, on the CPU alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from models.fusion_gan import FusionGAN
from models.inference.fuser import Fuser
from models.inference.joined import JoinedBlock, JoinedConvolution, join
from models.stdfusion_net import STDFusionNet, initialise
from options.fuse import NetworkOptions
from util.device import Device, select_device

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch has no oneDNN here")


def network_of(method: Any, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    options = method.Options(ngf=8, **changes)
    network = method.network(options)
    if method is STDFusionNet:
        initialise(network, options)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, std=0.3)
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.2, 3)
    return network.eval()


def images(height: int = 33, width: int = 46) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    visible, infrared = torch.randint(0, 256, (2, 2, 1, height, width), generator=generator, dtype=torch.uint8)
    return visible, infrared


def fused(network: nn.Module, precision: str) -> torch.Tensor:
    device = select_device("cpu", precision, channels_last="on")
    with torch.inference_mode():
        return Fuser(copy.deepcopy(network), device, NetworkOptions(), "clip")(*images())[0]


CASES = [
    (STDFusionNet, {}),
    (STDFusionNet, {"decoder_activation": "lrelu"}),
    (FusionGAN, {}),
    (FusionGAN, {"spectral_norm": False}),
    (FusionGAN, {"bn_statistics": "image"}),
]


@pytest.mark.parametrize(("method", "changes"), CASES)
def test_same_images(method: Any, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(method, **changes)
    joined, half = fused(network, "fp32"), fused(network, "bf16")
    monkeypatch.setattr("models.inference.fuser.join", lambda network, device: network)
    plain, half_plain = fused(network, "fp32"), fused(network, "bf16")
    assert plain.std() > 0.01
    torch.testing.assert_close(joined, plain, atol=2e-5, rtol=0)
    error, error_plain = ((made - plain).abs().mean() for made in (half, half_plain))
    assert error <= 1.5 * error_plain


@needs_onednn
def test_every_convolution_of_both_methods_is_joined_once() -> None:
    device = select_device("cpu", "fp32")
    for method in (STDFusionNet, FusionGAN):
        joined = join(network_of(method), device)
        assert not [layer for layer in joined.modules() if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d))]
        assert any(isinstance(layer, JoinedConvolution) for layer in joined.modules())


def test_what_each_image_normalises_stays() -> None:
    joined = join(network_of(FusionGAN, bn_statistics="image"), select_device("cpu", "fp32"))
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in joined.modules()) == 4


@needs_onednn
def test_a_block_leaves_its_input_as_it_is() -> None:
    network = network_of(STDFusionNet)
    block = network.visible_encoder[2]
    x = torch.randn(1, 8, 12, 9)
    before, expected = x.clone(), block(x)
    with torch.no_grad():
        torch.testing.assert_close(JoinedBlock(block, torch.float32)(x), expected.detach(), atol=1e-5, rtol=0)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    "device",
    [
        Device(torch.device("cuda"), torch.bfloat16, torch.channels_last),
        Device(torch.device("cpu"), torch.float16, torch.contiguous_format),
    ],
)
def test_elsewhere_a_network_stays_as_it_is(device: Device) -> None:
    network = network_of(STDFusionNet)
    layers = list(network.modules())
    assert list(join(network, device).modules()) == layers
