"""Small pieces of the fusion networks: initial weights, batch norm by running or by image statistics, visible images
to luminance."""

from __future__ import annotations

import torch
import torch.nn.functional as F
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


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm with eps 1e-5 and decay 0.9. When not training, statistics are "running", or of each
    "image" by itself."""

    def __init__(self, channels: int, statistics: str = "running") -> None:
        super().__init__(channels, eps=1e-5, momentum=0.1)
        self.statistics = statistics

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> the same shape."""
        if self.training or self.statistics == "running":
            return super().forward(x)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
