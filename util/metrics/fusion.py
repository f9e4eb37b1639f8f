"""Scores of fused images in two conventions: `standard`, and `vifb` of the benchmark VIFB (Zhang et al., CVPRW 2020).

standard: what is scored is the image as it is saved: 8 bit, and grey, BT.601 luminance rounded to 8 bit.
vifb: every channel by itself, averaged; a one-channel source serves all channels; the benchmark's own formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from util.colour import luminance
from util.metrics.gradient import (
    added_artefacts,
    average_gradient,
    edge_intensity,
    edge_transfer,
    spatial_frequency,
    spatial_frequency_vifb,
)
from util.metrics.information import cross_entropy, entropy, mutual_information, mutual_information_vifb
from util.metrics.perceptual import chen_blum, chen_varshney, visual_information_fidelity
from util.metrics.structure import (
    correlation_of_differences,
    mean_correlation,
    multiscale_ssim,
    psnr,
    psnr_vifb,
    rmse,
    rmse_vifb,
    ssim,
    standard_deviation,
)
from util.metrics.triplet import Triplet, half_up


@dataclass(frozen=True)
class Metric:
    """One score. Smaller images than `smallest_side` (px, shorter side) score nan."""

    name: str
    function: Callable[[Triplet], torch.Tensor]
    higher_is_better: bool
    range_text: str
    vifb: Callable[[Triplet], torch.Tensor] | None = None  # None: not a metric of VIFB
    smallest_side: int = 2


FUSION_METRICS: dict[str, Metric] = {
    "EN": Metric("entropy", entropy, True, "0 to 8 bit", entropy),
    "SD": Metric("standard deviation", standard_deviation, True, "0 to 127.5", standard_deviation),
    "SF": Metric("spatial frequency", spatial_frequency, True, "0 to 361", spatial_frequency_vifb),
    "AG": Metric("average gradient", average_gradient, True, "0 upward", average_gradient),
    "MI": Metric("mutual information", mutual_information, True, "0 to 16 bit", mutual_information_vifb),
    "SCD": Metric("sum of correlations of differences", correlation_of_differences, True, "-2 to 2"),
    "VIF": Metric("visual information fidelity", visual_information_fidelity, True, "0 upward", None, 41),
    "Qabf": Metric("edge transfer", edge_transfer, True, "0 to 1", edge_transfer),
    "Nabf": Metric("added artefacts", added_artefacts, False, "0 to 1"),
    "SSIM": Metric("structural similarity", ssim, True, "-2 to 2", ssim, 11),
    "MS-SSIM": Metric("multi-scale structural similarity", multiscale_ssim, True, "0 to 2", None, 161),
    "CC": Metric("correlation coefficient", mean_correlation, True, "-1 to 1"),
    "PSNR": Metric("peak signal-to-noise ratio", psnr, True, "0 dB upward", psnr_vifb),
    "RMSE": Metric("root mean square error", rmse, False, "0 to 255", rmse_vifb),
    "CE": Metric("cross entropy (Kullback-Leibler)", cross_entropy, False, "about 0 bit upward", cross_entropy),
    "EI": Metric("edge intensity", edge_intensity, True, "0 upward", edge_intensity),
    "Qcb": Metric("Chen-Blum", chen_blum, True, "0 to 1", chen_blum),
    "Qcv": Metric("Chen-Varshney", chen_varshney, False, "0 upward", chen_varshney),
}


def eight_bit(image: torch.Tensor) -> torch.Tensor:
    """Any real dtype in 0..255 -> float64 of the nearest values that an 8-bit file can hold."""
    return image if image.dtype == torch.uint8 else half_up(image.double()).clamp(0, 255)


def grey(image: torch.Tensor) -> torch.Tensor:
    """[N, 1 or 3, H, W] 8-bit values -> [N, 1, H, W], BT.601 luminance rounded."""
    return image.double() if image.shape[1] == 1 else half_up(luminance(image.double()))


def standard_triplet(fused: torch.Tensor, visible: torch.Tensor, infrared: torch.Tensor) -> Triplet:
    """Of 8-bit luminances."""
    return Triplet(*(grey(eight_bit(image)) for image in (fused, visible, infrared)))


def vifb_triplet(fused: torch.Tensor, visible: torch.Tensor, infrared: torch.Tensor) -> Triplet:
    """Channel by channel, unless the fused image has one: then against the luminance of the sources."""
    if fused.shape[1] == 1:
        return standard_triplet(fused, visible, infrared)
    return Triplet(*(eight_bit(image).double() for image in (fused, visible, infrared)))


CONVENTIONS = {"standard": standard_triplet, "vifb": vifb_triplet}


def score_function(metric: Metric, convention: str) -> Callable[[Triplet], torch.Tensor] | None:
    """How a metric is computed in a convention; None where the convention does not know it."""
    return metric.vifb if convention == "vifb" else metric.function


def check_request(metrics: Sequence[str] | None, convention: str) -> list[str]:
    """The names to score, in order; ValueError for what the convention does not know."""
    if convention not in CONVENTIONS:
        raise ValueError(f"convention {convention!r} is unknown; choose from {', '.join(CONVENTIONS)}")
    known = [name for name, metric in FUSION_METRICS.items() if score_function(metric, convention)]
    unknown = [name for name in metrics or () if name not in known]
    if unknown:
        raise ValueError(f"no metric {', '.join(unknown)} in convention {convention!r}; it has {', '.join(known)}")
    return known if metrics is None else list(metrics)


def check_images(fused: torch.Tensor, visible: torch.Tensor, infrared: torch.Tensor) -> None:
    """ValueError unless the three are [N, 1 or 3, H, W] of one number and size."""
    named = {"fused": fused, "visible": visible, "infrared": infrared}
    for name, image in named.items():
        if image.ndim != 4 or image.shape[1] not in (1, 3):
            raise ValueError(f"{name} is {list(image.shape)}; [N, 1 or 3, H, W] is needed")
    if len({(len(image), *image.shape[-2:]) for image in named.values()}) > 1:
        sizes = ", ".join(f"{name} {list(image.shape)}" for name, image in named.items())
        raise ValueError(f"images differ in number or size: {sizes}; resize them to one size first")


@torch.no_grad()
def fusion_scores(
    fused: torch.Tensor,
    visible: torch.Tensor,
    infrared: torch.Tensor,
    metrics: Sequence[str] | None = None,
    convention: str = "standard",
) -> dict[str, torch.Tensor]:
    """[N, 1 or 3, H, W] each, uint8 or float in 0..255 -> {metric: [N] float64}, all of the convention's by default.

    ValueError: an unknown metric or convention, images that differ in number or size."""
    names = check_request(metrics, convention)
    check_images(fused, visible, infrared)
    triplet = CONVENTIONS[convention](fused, visible, infrared)
    scores = {}
    for name in names:
        metric = FUSION_METRICS[name]
        if min(fused.shape[-2:]) < metric.smallest_side:
            scores[name] = torch.full((len(fused),), torch.nan, dtype=torch.float64, device=fused.device)
        else:
            scores[name] = score_function(metric, convention)(triplet).mean(1)
    return scores
