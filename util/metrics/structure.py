"""Fusion metrics of signal and structure: SD, CC, SCD, RMSE, PSNR, SSIM, MS-SSIM."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from util.metrics.filters import blur
from util.metrics.triplet import Triplet

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest scale first


def standard_deviation(triplet: Triplet) -> torch.Tensor:
    """SD, sqrt(mean((F - mean F)^2)) of the fused image; 0..127.5, higher is better.

    Rao, Meas. Sci. Technol. 1997; VIFB calls it Variance; population form in both conventions."""
    return triplet.fused.std((-2, -1), correction=0)


def correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Pearson's r of [..., H, W] and [..., H, W] -> [...]; 0 where one of them is flat."""
    a, b = (image - image.mean((-2, -1), keepdim=True) for image in (a, b))
    scale = torch.sqrt(a.square().sum((-2, -1)) * b.square().sum((-2, -1)))
    return torch.where(scale > 0, (a * b).sum((-2, -1)) / scale, 0.0)


def mean_correlation(triplet: Triplet) -> torch.Tensor:
    """CC, (r(V, F) + r(I, F)) / 2, Pearson; -1..1, higher is better. Convention: the mean of the two."""
    visible, infrared = (correlation(source.image, triplet.fused) for source in triplet.sources)
    return (visible + infrared) / 2


def correlation_of_differences(triplet: Triplet) -> torch.Tensor:
    """SCD, r(F - I, V) + r(F - V, I), Pearson; -2..2, higher is better.

    Aslantas and Bendes, AEU 2015. Convention: a flat difference correlates with nothing, r = 0."""
    fused, visible, infrared = triplet.fused, triplet.visible.image, triplet.infrared.image
    return correlation(fused - infrared, visible) + correlation(fused - visible, infrared)


def squared_errors(triplet: Triplet) -> list[torch.Tensor]:
    """Mean squared differences of the fused image from either source."""
    return [(source.image - triplet.fused).square().mean((-2, -1)) for source in triplet.sources]


def rmse(triplet: Triplet) -> torch.Tensor:
    """RMSE, mean over the two sources of sqrt(mean((S - F)^2)), grey levels; 0..255, lower is better.

    Jagalingam and Hegde, Aquatic Procedia 2015; with the true mean."""
    visible, infrared = squared_errors(triplet)
    return (visible.sqrt() + infrared.sqrt()) / 2


def rmse_vifb(triplet: Triplet) -> torch.Tensor:
    """RMSE of VIFB, mean over the sources of sqrt(sum((S - F)^2)) / (H W): the true one over sqrt(H W); lower is
    better; it depends on the size of the image."""
    height, width = triplet.fused.shape[-2:]
    return rmse(triplet) / (height * width) ** 0.5


def psnr(triplet: Triplet) -> torch.Tensor:
    """PSNR, 10 log10(255^2 / MSE), MSE the mean over the two sources; 0 dB upward, higher is better.

    Jagalingam and Hegde, Aquatic Procedia 2015. Convention: grey levels, peak 255; inf for three equal images."""
    visible, infrared = squared_errors(triplet)
    return 10 * torch.log10(255**2 / ((visible + infrared) / 2))


def psnr_vifb(triplet: Triplet) -> torch.Tensor:
    """PSNR of VIFB, 20 log10(255 / sqrt(RMSE of VIFB)) in dB, higher is better; depends on the size of the image."""
    return 20 * torch.log10(255 / torch.sqrt(rmse_vifb(triplet)))


def blurred_square(image: torch.Tensor) -> torch.Tensor:
    """Mean of the squares under SSIM's window."""
    return blur(image**2, 11, 1.5)


def similarity(
    mean_a: torch.Tensor, mean_b: torch.Tensor, squares: torch.Tensor, products: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """SSIM's factors (luminance, contrast-structure) of images a and b in 0..255, from the means under its window: of
    each, of a^2 + b^2, of a b."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    product, both = mean_a * mean_b, mean_a**2 + mean_b**2
    return (2 * product + c1) / (both + c1), (2 * (products - product) + c2) / (squares - both + c2)


def structure_maps(triplet: Triplet) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """For each source the SSIM map's factors (luminance, contrast-structure), [N, C, H - 10, W - 10]."""
    fused = triplet.fused
    mean, square = blur(fused, 11, 1.5), blurred_square(fused)
    for source in triplet.sources:
        products = blur(source.image * fused, 11, 1.5)
        yield similarity(source.once(blur, 11, 1.5), mean, source.once(blurred_square) + square, products)


def ssim(triplet: Triplet) -> torch.Tensor:
    """SSIM, mean SSIM(V, F) + mean SSIM(I, F); -2..2, higher is better.

    Wang et al., IEEE TIP 2004: Gaussian window 11, sigma 1.5, only where it fits, peak 255. Both conventions: sum."""
    visible, infrared = ((luminance * contrast).mean((-2, -1)) for luminance, contrast in structure_maps(triplet))
    return visible + infrared


def halve(image: torch.Tensor) -> torch.Tensor:
    """[N, C, H, W] -> means of 2 x 2 pixels, an odd last row or column repeated."""
    height, width = image.shape[-2:]
    return F.avg_pool2d(F.pad(image, (0, width % 2, 0, height % 2), mode="replicate"), 2)


def multiscale_ssim(triplet: Triplet) -> torch.Tensor:
    """MS-SSIM, the sum over the two sources of mean(l cs)_5^w5 prod_{j<5} mean(cs)_j^wj; 0..2, higher is better.

    Wang, Simoncelli and Bovik, Asilomar 2003, with its five weights. Convention: standard MS-SSIM (not the MEF-SSIM
    that some fusion toolboxes give this name), summed over the sources; a negative mean counts as 0."""
    products = [torch.ones(()), torch.ones(())]
    for scale, weight in enumerate(MS_SSIM_WEIGHTS, start=1):
        for index, (luminance, contrast) in enumerate(structure_maps(triplet)):
            term = luminance * contrast if scale == len(MS_SSIM_WEIGHTS) else contrast
            products[index] = products[index] * term.mean((-2, -1)).clamp(min=0) ** weight
        triplet = triplet.changed(halve)
    return products[0] + products[1]
