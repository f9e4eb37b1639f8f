"""Small pieces that networks share: normalisation, initial weights, padding to a multiple."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm without parameters, right in every memory layout.

    PyTorch's CPU backward is wrong at batch size 1 when the gradient arrives in channels_last order (seen in
    2.13 to 2.15), so there the gradient is made contiguous first. Compiled code has a backward of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> the same shape; each channel of each image with mean 0 and variance 1."""
        y = super().forward(x)
        if not torch.compiler.is_compiling() and y.device.type == "cpu" and len(y) == 1 and y.requires_grad:
            y.register_hook(torch.Tensor.contiguous)
        return y


def norm_layer(name: str) -> Callable[[int], nn.Module]:
    """ "instance" | "batch" | "none" -> a function from a channel count to a layer."""
    return {"instance": InstanceNorm2d, "batch": nn.BatchNorm2d, "none": lambda channels: nn.Identity()}[name]


def initialise(network: nn.Module, init_type: str, gain: float) -> None:
    """Draw the weights of all convolutions anew; biases 0; batch norm weights around 1."""
    draw = {
        "normal": partial(nn.init.normal_, mean=0.0, std=gain),
        "xavier": partial(nn.init.xavier_normal_, gain=gain),
        "kaiming": partial(nn.init.kaiming_normal_, a=0.0, mode="fan_in"),
        "orthogonal": partial(nn.init.orthogonal_, gain=gain),
    }[init_type]
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)


def run_padded(network: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Run a network that wants sides in multiples of `multiple` on [N, C, H, W] of any size; same size out.

    The right and lower edges are mirrored, or repeated where the image is too small to mirror."""
    height, width = x.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if not (down or right):
        return network(x)
    mode = "reflect" if down < height and right < width else "replicate"
    return network(F.pad(x, (0, right, 0, down), mode=mode))[..., :height, :width]
