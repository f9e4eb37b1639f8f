"""Fusion metrics with a model of the eye: VIF, Qcb (Chen-Blum), Qcv (Chen-Varshney)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from util.images import sobel
from util.metrics.filters import blur, cycles, filter_frequencies, gaussian, separable
from util.metrics.triplet import Triplet

TINY = 1e-10
ROUNDING = 1e-9  # variance that a window of one grey level may have
EYE_NOISE = 2.0  # variance in grey levels, of images in 0..255


def octave(image: torch.Tensor, size: int) -> torch.Tensor:
    """[..., H, W] seen one octave coarser."""
    return blur(image, size, size / 5)[..., ::2, ::2].contiguous()


def local_statistics(image: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance under a Gaussian window wherever it fits."""
    mean = blur(image, size, size / 5)
    return mean, (blur(image**2, size, size / 5) - mean**2).clamp_(min=0)


def source_statistics(image: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Local mean and variance of a source at one scale, and what the eye could take from it there, [N, C]."""
    mean, variance = local_statistics(image, size)
    variance = torch.where(variance < ROUNDING, 0.0, variance)
    return mean, variance, torch.log1p(variance / EYE_NOISE).sum((-2, -1))


def visual_information_fidelity(triplet: Triplet) -> torch.Tensor:
    """VIF, vif(V, F) + vif(I, F), each the ratio of sums over 4 scales of log(1 + g^2 s / (n + 2)) and log(1 + s / 2);
    0 upward, 2 for equal images, higher is better. Sheikh and Bovik, IEEE TIP 2006, pixel domain (vifp).

    Convention: the sum, on images in 0..255; nan for a flat source. Han's VIFF is another metric."""
    kept, available = ([torch.zeros(()), torch.zeros(())] for _ in range(2))
    for size in (17, 9, 5, 3):  # one octave coarser each time
        if size < 17:
            triplet = triplet.changed(octave, size)
        fused_mean, fused_variance = local_statistics(triplet.fused, size)
        for side, source in enumerate(triplet.sources):
            mean, variance, information = source.once(source_statistics, size)
            covariance = blur(source.image * triplet.fused, size, size / 5).sub_(mean * fused_mean)
            flat = torch.minimum(variance, fused_variance) < TINY
            gain = torch.where(flat, 0.0, covariance / (variance + TINY)).clamp_(min=0)
            noise = (fused_variance - gain * covariance).clamp_(min=TINY).add_(EYE_NOISE)
            kept[side] = kept[side] + torch.log1p(gain.square_().mul_(variance).div_(noise)).sum((-2, -1))
            available[side] = available[side] + information
    return kept[0] / available[0] + kept[1] / available[1]


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
    sensitivity = images.infrared.once(difference_of_gaussians)
    fused = masked_contrast(images.fused, sensitivity)
    preserved, saliency = torch.zeros(()), torch.zeros(())
    for source in images.sources:
        contrast = source.once(masked_contrast, sensitivity)
        top = torch.maximum(contrast, fused)
        ratio = torch.where(top == 0, 1.0, torch.minimum(contrast, fused) / top)
        preserved = preserved + contrast**2 * ratio
        saliency = saliency + contrast**2
    return (preserved / saliency).mean((-2, -1))


def block_means(image: torch.Tensor) -> torch.Tensor:
    """[N, C, H, W] -> means of 16 x 16 blocks, the last ones filled up with zeros."""
    height, width = image.shape[-2:]
    return F.avg_pool2d(F.pad(image, (0, -width % 16, 0, -height % 16)), 16)


def edge_saliency(image: torch.Tensor) -> torch.Tensor:
    """Chen-Varshney: how much each block of a source counts, up to a factor."""
    right, down = sobel(image, "constant")
    squared = right**2 + down**2
    return block_means(squared**2 * squared.sqrt())


def contrast_sensitivity(image: torch.Tensor) -> torch.Tensor:
    """Mannos and Sakrison: sensitivity of the eye to each coefficient of the image's `rfft2`, [H, W // 2 + 1]."""
    frequency = 0.144 * cycles(image) / 4
    return 2.6 * (0.0192 + frequency) * torch.exp(-(frequency**1.1))


def chen_varshney(triplet: Triplet) -> torch.Tensor:
    """Qcv, sum_blocks(w_v d_v + w_i d_i) / sum_blocks(w_v + w_i) over 16 x 16 blocks: w the sum of Sobel magnitude^5 in
    the source, d the mean square of S - F seen through the Mannos-Sakrison filter; 0 upward, lower is better.

    Chen and Varshney, Information Fusion 2007. Both conventions take VIFB's: images stretched to 0..255 (flat: 0).
    nan where both sources are flat."""
    images = triplet.rescaled
    sensitivity = images.infrared.once(contrast_sensitivity)
    fused = filter_frequencies(images.fused, sensitivity)
    total, weights = torch.zeros(()), torch.zeros(())
    for source in images.sources:
        weight = source.once(edge_saliency)
        difference = source.once(filter_frequencies, sensitivity) - fused
        total = total + (weight * block_means(difference.square_())).sum((-2, -1))
        weights = weights + weight.sum((-2, -1))
    return total / weights
