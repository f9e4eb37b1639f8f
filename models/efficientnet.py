"""EfficientNet-Lite0's features of images in [-1, 1]: EfficientNet-B0 (Tan and Le, ICML 2019) without
squeeze-and-excitation and with ReLU6, as Google released it in 2020."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

IN_TREE = Path(__file__).parent / "weights" / "efficientnet_lite0.safetensors"
# Each stage: channels, blocks, side of its depthwise convolutions, stride, channels inside for each one before.
STAGES = (
    (16, 1, 3, 1, 1),
    (24, 2, 3, 2, 6),
    (40, 2, 5, 2, 6),
    (80, 3, 3, 2, 6),
    (112, 3, 5, 1, 6),
    (192, 4, 5, 2, 6),
    (320, 1, 3, 1, 6),
)
WIDTHS = (16, 24, 40, 112, 320)
"""Channels of the features at strides 2, 4, 8, 16 and 32, the last stage of each."""


class SameConv2d(nn.Conv2d):
    """A convolution whose output is as large as its input over the stride; at a stride of 2 it pads more to the right
    and below than to the left and above, as TensorFlow does."""

    def __init__(self, inside: int, outside: int, side: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inside, outside, side, stride, side // 2 if stride == 1 else 0, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W], H and W even -> [N, C', H / stride, W / stride]."""
        if self.stride[0] == 2:
            before, behind = (self.kernel_size[0] - 2) // 2, self.kernel_size[0] // 2
            x = F.pad(x, (before, behind, before, behind))
        return super().forward(x)


class InvertedResidual(nn.Module):
    """Widens, looks by a depthwise convolution, narrows (Sandler et al., CVPR 2018). The batch norms between are folded
    into the convolutions."""

    def __init__(self, inside: int, outside: int, side: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inside * expansion
        self.adds = stride == 1 and inside == outside
        self.expand = nn.Sequential(nn.Conv2d(inside, middle, 1), nn.ReLU6()) if expansion > 1 else nn.Identity()
        self.look = nn.Sequential(SameConv2d(middle, middle, side, stride, groups=middle), nn.ReLU6())
        self.project = nn.Conv2d(middle, outside, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, C', H / stride, W / stride]."""
        y = self.project(self.look(self.expand(x)))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    """[N, 1 or 3, H, W] in [-1, 1], sides multiples of 32 -> features at strides 2 to 32, of WIDTHS channels.

    Frozen; 2.9 M parameters. One channel is repeated to three. Weights are random until `load`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(SameConv2d(3, 32, 3, 2), nn.ReLU6())
        before, self.stages = 32, nn.ModuleList()
        for outside, blocks, side, stride, expansion in STAGES:
            inside = [before] + [outside] * (blocks - 1)
            strides = [stride] + [1] * (blocks - 1)
            self.stages.append(
                nn.Sequential(
                    *(InvertedResidual(i, outside, side, s, expansion) for i, s in zip(inside, strides, strict=True))
                )
            )
            before = outside
        self.requires_grad_(False)

    def load(self) -> None:
        """Take the ImageNet weights that come with the project."""
        self.load_state_dict(load_file(IN_TREE))

    def forward(self, images: torch.Tensor, count: int = len(WIDTHS)) -> list[torch.Tensor]:
        """count: how many of the features, the finest first; what lies beyond is not computed."""
        x = self.first(images.expand(-1, 3, -1, -1))
        features: list[torch.Tensor] = []
        for stage, (width, *_) in zip(self.stages, STAGES, strict=True):
            if len(features) == count:
                break
            x = stage(x)
            if width in WIDTHS:
                features.append(x)
        return features
