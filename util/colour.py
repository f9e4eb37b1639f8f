"""Colour of tensors: luminance by ITU-R BT.601, full range."""

from __future__ import annotations

import torch

BT601 = (0.299, 0.587, 0.114)


def luminance(visible: torch.Tensor) -> torch.Tensor:
    """[..., 3, H, W] RGB -> [..., 1, H, W], in the same range."""
    red, green, blue = visible.unbind(-3)
    return (BT601[0] * red + BT601[1] * green + BT601[2] * blue).unsqueeze(-3)
