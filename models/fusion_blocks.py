"""Small pieces of the fusion networks: initial weights, visible images to luminance."""

from __future__ import annotations

import torch
from torch import nn

from util.colour import luminance


def as_luminance(visible: torch.Tensor) -> torch.Tensor:
    """[N, 3, H, W] RGB or [N, 1, H, W] -> [N, 1, H, W], in the same range."""
    return luminance(visible) if visible.shape[-3] == 3 else visible


@torch.no_grad()
def draw_truncated_normal(network: nn.Module, std: float) -> None:
    """Draw the weights of all layers anew, normal and cut at two standard deviations; biases 0."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
