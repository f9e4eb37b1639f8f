"""Images as tensors: luminance by ITU-R BT.601, full range; 8 bits; exposure; Sobel; size; strips of large ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

BT601 = (0.299, 0.587, 0.114)
STANDARD_MEAN, STANDARD_SPREAD, STANDARD_GAIN = 90.0, 40.0, (0.9, 2.0)
"""What --infrared_range standard brings an image to: mean and standard deviation, grey levels of 255, and the gain's
limits."""
STRIP_PIXELS = 1 << 21  # of a strip of rows; SSIM takes some 200 MB for so many


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


def sobel(image: torch.Tensor, border: str) -> tuple[torch.Tensor, torch.Tensor]:
    """[N, C, H, W] -> (right minus left, below minus above), same shape, weights 1 2 1 unnormalised.

    border: "constant" (zeros) | "replicate" | "reflect" (without the edge pixel)."""
    padded = F.pad(image, (1, 1, 1, 1), mode=border)
    columns = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    rows = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return columns[..., 2:] - columns[..., :-2], rows[..., 2:, :] - rows[..., :-2, :]


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


def strips(height: int, width: int, pixels: int | None = None) -> list[slice]:
    """Rows that follow each other, in parts of about the same height and of some `pixels` at most, by default
    STRIP_PIXELS; all begin at an even row. One part where the image has no more."""
    pairs = height // 2
    count = max(1, min(pairs, math.ceil(height * width / (pixels or STRIP_PIXELS))))
    edges = [2 * (pairs * i // count) for i in range(count)] + [height]
    return [slice(*both) for both in zip(edges[:-1], edges[1:], strict=True)]


def by_strips(function: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    """function(image) of [..., H, W], for a function that sees pairs of rows, or rows, alone: the memory that it takes
    does not grow with the image."""
    parts = [function(image[..., rows, :]) for rows in strips(*image.shape[-2:])]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -2)
