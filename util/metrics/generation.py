"""Scores of generated infrared images against real ones: PSNR, SSIM, MAE, correlations, beside trivial baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from util.images import by_strips, luminance, sobel, strips
from util.metrics.filters import blur
from util.metrics.structure import MS_SSIM_WEIGHTS, halve, similarity

WINDOW = 11  # side of SSIM's, pixels
HIGHER_IS_BETTER = {"psnr": True, "ssim": True, "mae": False, "cc": True, "edge_cc": True}
Map = Callable[[torch.Tensor], torch.Tensor]
Generate = Callable[[torch.Tensor], torch.Tensor]


def grey_levels(images: torch.Tensor) -> torch.Tensor:
    """[-1, 1] -> 0..255, rounded as a written 8-bit image is; uint8 stays as it is."""
    if images.dtype == torch.uint8:
        return images
    return images.float().clamp(-1, 1).add(1).mul(127.5).round()


def means_of_maps(
    maps: Callable[[torch.Tensor, torch.Tensor], Sequence[torch.Tensor]],
    a: torch.Tensor,
    b: torch.Tensor,
    lost: int = 0,
) -> list[torch.Tensor]:
    """Means [N], float64, of each of the maps [N, 1, H - lost, W'] of two images [N, 1, H, W], a value of which
    depends on `lost` + 1 rows."""
    height, width = a.shape[-2:]
    sums, count = [], 0
    for rows in strips(height - lost, width):
        parts = maps(*(image[..., rows.start : rows.stop + lost, :] for image in (a, b)))
        sums.append([part.sum((1, 2, 3), dtype=torch.float64) for part in parts])
        count += parts[0][0].numel()
    return [sum(of_one) / count for of_one in zip(*sums, strict=True)]


def psnr(generated: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """[N, 1, H, W] in 0..255, twice -> [N] dB, peak 255; equal images give infinity."""
    (error,) = means_of_maps(lambda a, b: [(a.float() - b.float()).square()], generated, real)
    return 10 * torch.log10(255.0**2 / error)


def similarity_maps(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[N, 1, H, W] in 0..255, twice -> SSIM's maps [N, 1, H - 10, W - 10] of luminance and of contrast and
    structure, float64."""
    a, b = a.double(), b.double()
    return similarity(*(blur(image, WINDOW, 1.5) for image in (a, b, a**2 + b**2, a * b)))


def mean_similarities(a: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
    """As similarity_maps -> [mean of the product of both maps, mean of contrast and structure], [N] each."""

    def maps(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        luminance_term, contrast = similarity_maps(a, b)
        return luminance_term * contrast, contrast

    return means_of_maps(maps, a, b, WINDOW - 1)


def ssim(generated: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """[N, 1, H, W] in 0..255, twice, sides of at least 11 -> [N] in [-1, 1].

    Wang et al., TIP 2004: Gaussian window 11, sigma 1.5, only where it fits, peak 255."""
    return mean_similarities(generated, real)[0]


def ms_ssim(generated: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """[N, 1, H, W] in 0..255, twice, sides of at least 161 -> [N] in [0, 1].

    Wang, Simoncelli and Bovik, Asilomar 2003, five scales, each half of the one before; a negative mean counts as 0."""
    a, b = generated, real
    product = torch.ones(len(a), dtype=torch.float64, device=a.device)
    for scale, weight in enumerate(MS_SSIM_WEIGHTS, start=1):
        whole, contrast = mean_similarities(a, b)
        term = whole if scale == len(MS_SSIM_WEIGHTS) else contrast
        product = product * term.clamp(min=0) ** weight
        a, b = (by_strips(lambda part: halve(part.float()), image) for image in (a, b))  # of grey levels: exact
    return product


def mae(generated: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """[N, 1, H, W] in 0..255, twice -> [N] grey levels."""
    (error,) = means_of_maps(lambda a, b: [(a.float() - b.float()).abs()], generated, real)
    return error


def _correlation(first: torch.Tensor, second: torch.Tensor, maps: Map, lost: int = 0) -> torch.Tensor:
    """Pearson correlation [N] of the maps of two images, float64; nan where one of them is constant."""

    def products(a: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
        a, b = maps(a.double()), maps(b.double())
        return [a, b, a * a, b * b, a * b]

    a, b, aa, bb, ab = means_of_maps(products, first, second, lost)
    # A constant's variance is rounding noise, which would correlate with anything.
    varies = (aa - a * a > 1e-12 * aa) & (bb - b * b > 1e-12 * bb)
    found = (ab - a * b) / torch.sqrt((aa - a * a) * (bb - b * b))
    return torch.where(varies, found.clamp(-1, 1), torch.nan)


def cc(generated: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """[N, 1, H, W] in 0..255, twice -> [N] in [-1, 1], Pearson correlation of the grey levels over the pixels; below 0
    where hot and cold are swapped, nan where an image is constant."""
    return _correlation(generated, real, lambda image: image)


def edge_strength(image: torch.Tensor) -> torch.Tensor:
    """[N, 1, H, W] -> Sobel magnitude [N, 1, H - 2, W - 2]."""
    return torch.hypot(*sobel(image, "constant"))[..., 1:-1, 1:-1]


def edge_cc(generated: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Correlate the images' edges (Sobel magnitudes) as cc does: whether they lie at the same places, whatever their
    sign; nan where a side has less than 3 pixels."""
    if min(real.shape[-2:]) < 3:
        return torch.full((len(real),), torch.nan, dtype=torch.float64, device=real.device)
    return _correlation(generated, real, edge_strength, 2)


METRICS = {"psnr": psnr, "ssim": ssim, "mae": mae, "cc": cc, "edge_cc": edge_cc}


def generation_scores(generated: torch.Tensor, real: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every metric of [N, 1, H, W] images, uint8 or in [-1, 1], computed on their 8-bit grey levels: name -> [N]."""
    generated, real = grey_levels(generated), grey_levels(real)
    return {name: metric(generated, real) for name, metric in METRICS.items()}


def baselines(constant: float | None) -> dict[str, Generate]:
    """What a score must beat to mean anything: visible [N, 3, H, W] -> [N, 1, H, W], in [-1, 1].

    constant: mean grey level of the training infrared images, in [-1, 1]; None leaves that baseline out."""
    methods: dict[str, Generate] = {
        "luminance": luminance,
        "inverted luminance": lambda visible: -luminance(visible),
    }
    if constant is not None:
        methods["constant"] = lambda visible: torch.full_like(visible[:, :1], constant)
    return methods
