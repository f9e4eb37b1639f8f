"""Images as tensors: luminance by ITU-R BT.601, full range; 8 bits; exposure; size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

BT601 = (0.299, 0.587, 0.114)
STANDARD_MEAN, STANDARD_SPREAD, STANDARD_GAIN = 90.0, 40.0, (0.9, 2.0)
"""What --infrared_range standard brings an image to: mean and standard deviation, grey levels of 255, and the gain's
limits."""


def luminance(visible: torch.Tensor) -> torch.Tensor:
    """[..., 3, H, W] RGB -> [..., 1, H, W], in the same range."""
    red, green, blue = visible.unbind(-3)
    return (BT601[0] * red + BT601[1] * green + BT601[2] * blue).unsqueeze(-3)


def grey_bytes(images: torch.Tensor) -> torch.Tensor:
    """[..., H, W] in [-1, 1], clamped and rounded -> uint8, on the same device; uint8 stays as it is."""
    if images.dtype == torch.uint8:
        return images
    return images.float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def standard_exposure(infrared: torch.Tensor) -> torch.Tensor:
    """Bring each infrared image [N, 1, H, W] in [-1, 1] to a mean grey level of 90 and a standard deviation of 40, with
    a gain between 0.9 and 2, so that hot means the same grey for every camera; float32, clamped to [-1, 1]."""
    levels = infrared.float()
    spread, mean = torch.std_mean(levels, (1, 2, 3), keepdim=True, correction=0)
    gain = (STANDARD_SPREAD / 127.5 / spread.clamp(min=1e-3)).clamp(*STANDARD_GAIN)
    return ((levels - mean) * gain + (STANDARD_MEAN / 127.5 - 1)).clamp(-1, 1)


def resize(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """[(N,) C, H, W] uint8, or float in [-1, 1] -> the given (height, width), bicubic, antialiased, same range."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    if image.dim() == 3:
        return resize(image[None], size)[0]
    if image.dtype != torch.uint8:
        return F.interpolate(image, tuple(size), mode="bicubic", antialias=True).clamp_(-1, 1)
    if image.device.type == "cpu" and tuple(size) != (1, 1):  # elsewhere PyTorch has no such kernel for bytes
        return F.interpolate(image, tuple(size), mode="bicubic", antialias=True)
    floats = F.interpolate(image.float(), tuple(size), mode="bicubic", antialias=True)
    return floats.round_().clamp_(0, 255).to(torch.uint8)
