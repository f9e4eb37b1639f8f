"""Scores of generated infrared images against real ones: PSNR, SSIM, MAE, beside trivial baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from util.colour import luminance

HIGHER_IS_BETTER = {"psnr": True, "ssim": True, "mae": False}
Generate = Callable[[torch.Tensor], torch.Tensor]


def grey_levels(images: torch.Tensor) -> torch.Tensor:
    """[-1, 1] -> 0..255, rounded as a written 8-bit image is."""
    return images.float().clamp(-1, 1).add(1).mul(127.5).round()


def psnr(generated: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """[N, 1, H, W] in 0..255, twice -> [N] dB, peak 255; equal images give infinity."""
    error = (generated - real).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(255.0**2 / error)


def ssim(generated: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """[N, 1, H, W] in 0..255, twice -> [N] in [-1, 1] (Wang et al., TIP 2004: Gaussian 11x11, sigma 1.5)."""
    score = structural_similarity_index_measure(generated, real, data_range=255.0, reduction="none")
    return score.reshape(len(real))


def mae(generated: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """[N, 1, H, W] in 0..255, twice -> [N] grey levels."""
    return (generated - real).abs().mean(dim=(1, 2, 3))


METRICS = {"psnr": psnr, "ssim": ssim, "mae": mae}


def generation_scores(generated: torch.Tensor, real: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every metric of [N, 1, H, W] images in [-1, 1], computed on their 8-bit grey levels: name -> [N]."""
    generated, real = grey_levels(generated), grey_levels(real)
    return {name: metric(generated, real) for name, metric in METRICS.items()}


def baselines(constant: float) -> dict[str, Generate]:
    """What a score must beat to mean anything: visible [N, 3, H, W] -> [N, 1, H, W], in [-1, 1].

    constant: mean grey level of the training infrared images, in [-1, 1]."""
    return {
        "luminance": luminance,
        "inverted luminance": lambda visible: -luminance(visible),
        "constant": lambda visible: torch.full_like(visible[:, :1], constant),
    }


def total_scores(
    methods: Mapping[str, Generate], batches: Iterable[Mapping[str, torch.Tensor]]
) -> tuple[dict[str, dict[str, float]], int]:
    """Sums over images of every metric for every method, and the number of images.

    batches: visible [N, 3, H, W] and infrared [N, 1, H, W], in [-1, 1], on the methods' device."""
    totals = {name: dict.fromkeys(METRICS, 0.0) for name in methods}
    count = 0
    for batch in batches:
        count += len(batch["infrared"])
        for name, generate in methods.items():
            for metric, values in generation_scores(generate(batch["visible"]), batch["infrared"]).items():
                totals[name][metric] += float(values.sum())
    return totals, count
