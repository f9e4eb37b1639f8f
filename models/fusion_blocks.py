"""Small pieces of the fusion networks: initial weights, spectral normalisation (Miyato et al., ICLR 2018),
batch norm by running or by image statistics, visible images to luminance."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from util.colour import luminance

SPECTRAL_EPS = 1e-12


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


def spectrally_normalised(weight: torch.Tensor, u: torch.Tensor, update: bool) -> torch.Tensor:
    """weight [out, ...] over its largest singular value, estimated by one power iteration from u [out].

    update: u takes the iteration's result. In float32 whatever the precision around it; as in the published
    code, the gradient treats the singular vectors as constants."""
    with torch.autocast(weight.device.type, enabled=False):
        matrix = weight.flatten(1).float()
        with torch.no_grad():
            v = F.normalize(matrix.t() @ u, dim=0, eps=SPECTRAL_EPS)
            better = F.normalize(matrix @ v, dim=0, eps=SPECTRAL_EPS)
        if update:
            u.copy_(better)
        return weight / (better @ (matrix @ v))


class SpectralConv2d(nn.Conv2d):
    """Convolution with spectrally normalised weights; normalise = False makes it a plain one."""

    def __init__(self, inside: int, outside: int, size: int, stride: int = 1, normalise: bool = True) -> None:
        super().__init__(inside, outside, size, stride=stride)
        self.normalise = normalise
        self.register_buffer("u", F.normalize(torch.randn(outside), dim=0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = spectrally_normalised(self.weight, self.u, self.training) if self.normalise else self.weight
        return F.conv2d(x, weight, self.bias, self.stride)


class SpectralLinear(nn.Linear):
    """Linear layer with spectrally normalised weights."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(inside, outside)
        self.register_buffer("u", F.normalize(torch.randn(outside), dim=0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, spectrally_normalised(self.weight, self.u, self.training), self.bias)


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
