"""Losses of the fusion methods as pure functions of tensors: FusionGAN (Ma et al., Information Fusion 48,
2019) and STDFusionNet (Ma et al., IEEE TIM 70, 2021).

Image derivatives are sums of shifted images, not convolutions, so that autocast leaves them in float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def _shifted(image: torch.Tensor) -> list[list[torch.Tensor]]:
    """3x3 neighbours of every pixel of [..., H, W], zero outside; [row][column], [1][1] is the pixel itself."""
    height, width = image.shape[-2:]
    padded = F.pad(image.float(), (1, 1, 1, 1))
    return [[padded[..., i : i + height, j : j + width] for j in range(3)] for i in range(3)]


def sobel_gradient(image: torch.Tensor) -> torch.Tensor:
    """|horizontal| + |vertical| Sobel derivative of [..., H, W], zero outside; float32, at least 0."""
    (a, b, c), (d, _, f), (g, h, i) = _shifted(image)
    return ((c + 2 * f + i) - (a + 2 * d + g)).abs() + ((g + 2 * h + i) - (a + 2 * b + c)).abs()


def laplacian(image: torch.Tensor) -> torch.Tensor:
    """Four neighbours minus four times the pixel, of [..., H, W], zero outside; float32."""
    (_, up, _), (left, centre, right), (_, down, _) = _shifted(image)
    return up + left + right + down - 4 * centre


def weighted_l1(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean over all pixels of weight * |a - b|, each [N, 1, H, W]; the weights are not normalised."""
    return (weight * (a.float() - b.float()).abs()).mean()


def salient_target_loss(
    fused: torch.Tensor, visible: torch.Tensor, infrared: torch.Tensor, mask: torch.Tensor
) -> dict[str, torch.Tensor]:
    """STDFusionNet's four terms, unweighted: fused like infrared where mask is 1, like visible where it is 0.

    Images [N, 1, H, W] in [-1, 1], mask [N, 1, H, W] in [0, 1]."""
    of_fused, of_visible, of_infrared = map(sobel_gradient, (fused, visible, infrared))
    return {
        "background_intensity": weighted_l1(fused, visible, 1 - mask),
        "background_gradient": weighted_l1(of_fused, of_visible, 1 - mask),
        "target_intensity": weighted_l1(fused, infrared, mask),
        "target_gradient": weighted_l1(of_fused, of_infrared, mask),
    }


def soft_label_loss(judgement: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Mean squared distance of judgements [N, 1] from labels drawn for each sample from [low, high).

    Drawn on the CPU by torch's generator."""
    labels = low + (high - low) * torch.rand(judgement.shape)
    return F.mse_loss(judgement.float(), labels.to(judgement.device, non_blocking=True))
