"""Colour and grey levels of tensors: luminance by ITU-R BT.601, full range; 8 bits."""

from __future__ import annotations

import torch

BT601 = (0.299, 0.587, 0.114)


def luminance(visible: torch.Tensor) -> torch.Tensor:
    """[..., 3, H, W] RGB -> [..., 1, H, W], in the same range."""
    red, green, blue = visible.unbind(-3)
    return (BT601[0] * red + BT601[1] * green + BT601[2] * blue).unsqueeze(-3)


def grey_bytes(images: torch.Tensor) -> torch.Tensor:
    """[..., H, W] in [-1, 1], clamped and rounded -> uint8, on the same device; uint8 stays as it is."""
    if images.dtype == torch.uint8:
        return images
    return images.float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
