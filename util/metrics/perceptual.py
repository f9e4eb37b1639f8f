"""Fusion metrics with a model of the eye: VIF, Qcb (Chen-Blum), Qcv (Chen-Varshney)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from util.metrics.filters import blur, cycles, filter_frequencies, gaussian, separable, sobel
from util.metrics.triplet import Triplet

TINY = 1e-10
EYE_NOISE = 2.0  # variance in grey levels, of images in 0..255


def fidelity(source: torch.Tensor, fused: torch.Tensor) -> torch.Tensor:
    """Pixel-domain VIF of `fused` against `source`, [N, C, H, W] in 0..255 -> [N, C]."""
    kept, available = 0.0, 0.0
    for size in (17, 9, 5, 3):  # one octave coarser each time
        sigma = size / 5
        if size < 17:
            source, fused = (blur(image, size, sigma)[..., ::2, ::2] for image in (source, fused))
        source_mean, fused_mean = blur(source, size, sigma), blur(fused, size, sigma)
        source_variance = (blur(source**2, size, sigma) - source_mean**2).clamp(min=0)
        fused_variance = (blur(fused**2, size, sigma) - fused_mean**2).clamp(min=0)
        covariance = blur(source * fused, size, sigma) - source_mean * fused_mean
        flat = torch.minimum(source_variance, fused_variance) < TINY
        gain = torch.where(flat, 0.0, covariance / (source_variance + TINY)).clamp(min=0)
        noise = (fused_variance - gain * covariance).clamp(min=TINY) + EYE_NOISE
        kept = kept + torch.log1p(gain**2 * source_variance / noise).sum((-2, -1))
        available = available + torch.log1p(source_variance / EYE_NOISE).sum((-2, -1))
    return kept / available


def visual_information_fidelity(triplet: Triplet) -> torch.Tensor:
    """VIF, vif(V, F) + vif(I, F), each the ratio of sums over 4 scales of log(1 + g^2 s / (n + 2)) and log(1 + s / 2);
    0 upward, 2 for equal images, higher is better. Sheikh and Bovik, IEEE TIP 2006, pixel domain (vifp).

    Convention: the sum, on images in 0..255; nan for a flat source. Han's VIFF is another metric."""
    return sum(fidelity(source, triplet.fused) for source in triplet.sources)


def difference_of_gaussians(image: torch.Tensor) -> torch.Tensor:
    """Chen-Blum: sensitivity of the eye to each coefficient of the image's `rfft2`, [H, W // 2 + 1]."""
    squared = (cycles(image) / 15) ** 2
    return torch.exp(squared / -(15.3870**2)) - 0.7622 * torch.exp(squared / -(1.3456**2))


def masked_contrast(image: torch.Tensor, sensitivity: torch.Tensor) -> torch.Tensor:
    """Chen-Blum: contrast of the image as the eye sees it, and its masking, [N, C, H, W] >= 0."""
    seen = filter_frequencies(image, sensitivity)
    narrow, wide = (separable(seen, gaussian(31, sigma, image), zero_border=True) for sigma in (2.0, 4.0))
    contrast = torch.where(wide == 0, 0.0, narrow.div_(wide).sub_(1)).abs_()
    return contrast**3 / (contrast**2 + 1e-4)


def chen_blum(triplet: Triplet) -> torch.Tensor:
    """Qcb, mean of l_v q_v + l_i q_i, q_s = min(c_s, c_f) / max(c_s, c_f), l_s = c_s^2 / (c_v^2 + c_i^2), c the masked
    contrast; 0..1, higher is better. Chen and Blum, Image and Vision Computing 2009.

    Both conventions take VIFB's: images stretched to 0..255. nan where both sources are flat; a flat image
    beside others, where VIFB gives nan, has no contrast."""
    images = triplet.rescaled
    sensitivity = difference_of_gaussians(images.fused)
    fused = masked_contrast(images.fused, sensitivity)
    preserved, saliency = 0.0, 0.0
    for source in images.sources:
        contrast = masked_contrast(source, sensitivity)
        top = torch.maximum(contrast, fused)
        ratio = torch.where(top == 0, 1.0, torch.minimum(contrast, fused) / top)
        preserved = preserved + contrast**2 * ratio
        saliency = saliency + contrast**2
    return (preserved / saliency).mean((-2, -1))


def block_means(image: torch.Tensor) -> torch.Tensor:
    """[N, C, H, W] -> means of 16 x 16 blocks, the last ones filled up with zeros."""
    height, width = image.shape[-2:]
    return F.avg_pool2d(F.pad(image, (0, -width % 16, 0, -height % 16)), 16)


def chen_varshney(triplet: Triplet) -> torch.Tensor:
    """Qcv, sum_blocks(w_v d_v + w_i d_i) / sum_blocks(w_v + w_i) over 16 x 16 blocks: w the sum of Sobel magnitude^5 in
    the source, d the mean square of S - F seen through the Mannos-Sakrison filter; 0 upward, lower is better.

    Chen and Varshney, Information Fusion 2007. Both conventions take VIFB's: images stretched to 0..255 (flat: 0).
    nan where both sources are flat."""
    images = triplet.rescaled
    frequency = 0.144 * cycles(images.fused) / 4
    sensitivity = 2.6 * (0.0192 + frequency) * torch.exp(-(frequency**1.1))
    total, weights = 0.0, 0.0
    for source in images.sources:
        right, down = sobel(source, "constant")
        squared = right**2 + down**2
        weight = block_means(squared**2 * squared.sqrt())
        difference = filter_frequencies(source - images.fused, sensitivity)
        total = total + (weight * block_means(difference**2)).sum((-2, -1))
        weights = weights + weight.sum((-2, -1))
    return total / weights
