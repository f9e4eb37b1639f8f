"""Discriminators of pytorch-CycleGAN-and-pix2pix: PatchGAN of any depth, and the pixel discriminator
(Isola et al., CVPR 2017)."""

from __future__ import annotations

import torch
from torch import nn

from models.blocks import SpectralConv2d, conv_before, norm_layer


def _outer(
    norm: str, inside: int, outside: int, side: int, stride: int = 1, padding: int = 0, bias: bool = True
) -> nn.Module:
    """A first or last convolution, which no norm layer follows."""
    if norm == "spectral":
        return SpectralConv2d(inside, outside, side, stride, padding)
    return nn.Conv2d(inside, outside, side, stride, padding, bias=bias)


class PatchDiscriminator(nn.Module):
    """[N, in_channels, H, W] -> one judgement for each overlapping patch, [N, 1, H', W'].

    layers = 3 judges 70x70 patches (2.765 M parameters at 3 channels)."""

    def __init__(self, in_channels: int, ndf: int = 64, layers: int = 3, norm: str = "instance") -> None:
        super().__init__()
        layer = norm_layer(norm)
        body: list[nn.Module] = [_outer(norm, in_channels, ndf, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        width = ndf
        for depth in range(1, layers + 1):
            wider = min(2**depth, 8) * ndf
            stride = 2 if depth < layers else 1
            body += [conv_before(norm, width, wider, 4, stride, 1)]
            body += [layer(wider), nn.LeakyReLU(0.2, True)]
            width = wider
        body += [_outer(norm, width, 1, 4, 1, 1)]
        self.body = nn.Sequential(*body)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class PixelDiscriminator(nn.Module):
    """[N, in_channels, H, W] -> one judgement for each pixel, [N, 1, H, W]."""

    def __init__(self, in_channels: int, ndf: int = 64, norm: str = "instance") -> None:
        super().__init__()
        self.body = nn.Sequential(
            _outer(norm, in_channels, ndf, 1),
            nn.LeakyReLU(0.2, True),
            conv_before(norm, ndf, 2 * ndf, 1),
            norm_layer(norm)(2 * ndf),
            nn.LeakyReLU(0.2, True),
            _outer(norm, 2 * ndf, 1, 1, bias=norm != "batch"),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def make_discriminator(name: str, in_channels: int, ndf: int, layers: int, norm: str) -> nn.Module:
    """name: basic (layers = 3), n_layers, or pixel."""
    if name == "pixel":
        return PixelDiscriminator(in_channels, ndf, norm)
    return PatchDiscriminator(in_channels, ndf, 3 if name == "basic" else layers, norm)


def judge(
    discriminator: nn.Module, real: torch.Tensor, fake: torch.Tensor, norm: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of real and of generated images, [N, C, H, W] each, in one pass where the norm allows it: statistics of
    batch norm must not mix them."""
    if norm == "batch":
        return discriminator(real), discriminator(fake)
    of_real, of_fake = discriminator(torch.cat([real, fake])).chunk(2)
    return of_real, of_fake
