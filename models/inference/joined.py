"""Convolutions joined with what follows them, for images that are fused on the CPU: oneDNN adds to a result and
applies an activation to it while it convolves. By themselves both read and write all features once more, which in a
network of few channels takes as long as its convolutions. (VGG16's many channels gain a twentieth: generators do
without.)"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from models.blocks import BatchNorm2d, NormedConv2d, SpectralConv2d
from models.stdfusion_net import FusionResidualBlock
from util.device import Device

N = TypeVar("N", bound=nn.Module)
ONEDNN = torch.ops.mkldnn


class JoinedConvolution(nn.Module):
    """activation(norm(conv(x))), or activation(norm(conv(x)) + added), of [N, C, H, W], in one pass; no gradient."""

    def __init__(
        self,
        convolution: nn.Conv2d,
        dtype: torch.dtype,
        norm: BatchNorm2d | None = None,
        activation: nn.Module | None = None,
    ) -> None:
        """dtype: of the weights, to which images are brought. norm: with running statistics. activation: as `_name`
        knows them."""
        super().__init__()
        weight: torch.Tensor = convolution.weight
        bias: torch.Tensor | None = convolution.bias
        if isinstance(convolution, SpectralConv2d):
            weight = convolution.used_weight()
        if norm is not None:
            moments = norm.running_mean, norm.running_var, norm.eps
            weight, bias = fuse_conv_bn_weights(weight, bias, *moments, norm.weight, norm.bias)
        self.weight: torch.Tensor
        self.bias: torch.Tensor | None
        self.register_buffer("weight", weight.detach().to(dtype))
        self.register_buffer("bias", None if bias is None else bias.detach().to(dtype))
        self.geometry = convolution.padding, convolution.stride, convolution.dilation, convolution.groups
        name, numbers = _name(activation) if activation else ("none", [])
        self.activation = name, numbers, ""

    def forward(self, x: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        """added: of the result's shape; it is overwritten. No activation is applied to a sum."""
        x = x.to(self.weight.dtype)
        if added is None:
            return ONEDNN._convolution_pointwise(x, self.weight, self.bias, *self.geometry, *self.activation)
        sum_alone = "add", 1.0, None, [], ""
        return ONEDNN._convolution_pointwise_.binary(added, x, self.weight, self.bias, *self.geometry, *sum_alone)


class JoinedBlock(nn.Module):
    """A FusionResidualBlock of joined convolutions."""

    def __init__(self, block: FusionResidualBlock, dtype: torch.dtype) -> None:
        super().__init__()
        self.before = nn.Sequential(
            JoinedConvolution(block.conv1, dtype, activation=block.between),
            JoinedConvolution(block.conv2, dtype, activation=block.between),
        )
        self.last = JoinedConvolution(block.conv3, dtype)
        conv = block.identity
        self.identity = JoinedConvolution(conv, dtype) if isinstance(conv, nn.Conv2d) else None
        activation: Any = copy.copy(block.activation)
        activation.inplace = True  # which those without such a choice do not look at
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added = self.identity(x) if self.identity else x.clone()
        return self.activation(self.last(self.before(x), added))


def join(network: N, device: Device) -> N:
    """Put joined convolutions in the place of a network's own, with the activations and norms that follow them, where
    its images are made on a CPU for which PyTorch has oneDNN; elsewhere it stays as it is. The network, in eval mode,
    no longer trains."""
    if not _can_join(device):
        return network
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential):
            _join_sequence(module, device.dtype)
    return network


def _can_join(device: Device) -> bool:
    if device.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    known = hasattr(ONEDNN, "_convolution_pointwise") and hasattr(ONEDNN, "_convolution_pointwise_")
    if device.dtype == torch.bfloat16:
        return known and ONEDNN._is_mkldnn_bf16_supported()
    return known and device.dtype == torch.float32


def _join_sequence(sequence: nn.Sequential, dtype: torch.dtype) -> None:
    """Join the layers of a sequence, which keeps their number: those that are part of another become identities."""
    for i, layer in enumerate(sequence):
        if isinstance(layer, FusionResidualBlock):
            sequence[i] = JoinedBlock(layer, dtype)
        if not isinstance(layer, nn.Conv2d) or isinstance(layer, NormedConv2d):
            continue
        following = [*sequence][i + 1 :] + [None, None]
        norm = following[0] if isinstance(following[0], BatchNorm2d) else None
        if norm is not None and norm.statistics != "running":
            continue
        activation = following[1 if norm else 0]
        activation = activation if _name(activation) else None
        if norm is None and activation is None:
            continue
        sequence[i] = JoinedConvolution(layer, dtype, norm, activation)
        for j in range(i + 1, i + 1 + (norm is not None) + (activation is not None)):
            sequence[j] = nn.Identity()


def _name(activation: nn.Module | None) -> tuple[str, list[float]] | None:
    """What oneDNN calls an activation, and its numbers; None for one that it does not know here."""
    if isinstance(activation, nn.LeakyReLU):
        return "leaky_relu", [activation.negative_slope]
    names = {nn.ReLU: "relu", nn.Tanh: "tanh"}
    return (names[type(activation)], []) if type(activation) in names else None
