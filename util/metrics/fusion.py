"""Scores of fused images in two conventions: `standard`, and `vifb` of the benchmark VIFB (Zhang et al., CVPRW 2020).

standard: what is scored is the image as it is saved: 8 bit, and grey, BT.601 luminance rounded to 8 bit.
vifb: every channel by itself, averaged; a one-channel source serves all channels; the benchmark's own formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from util.images import luminance
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
from util.metrics.triplet import SourceImage, Triplet, half_up


@dataclass(frozen=True)
class Metric:
    """One score. Smaller images than `smallest_side` (px, shorter side) score nan."""

    function: Callable[[Triplet], torch.Tensor]
    higher_is_better: bool
    vifb: Callable[[Triplet], torch.Tensor] | None = None  # None: not a metric of VIFB
    smallest_side: int = 2
    joint: bool = False  # in VIFB it looks at all channels at once


FUSION_METRICS: dict[str, Metric] = {
    "EN": Metric(entropy, True, entropy),
    "SD": Metric(standard_deviation, True, standard_deviation),
    "SF": Metric(spatial_frequency, True, spatial_frequency_vifb, joint=True),
    "AG": Metric(average_gradient, True, average_gradient),
    "MI": Metric(mutual_information, True, mutual_information_vifb),
    "SCD": Metric(correlation_of_differences, True),
    "VIF": Metric(visual_information_fidelity, True, None, 41),
    "Qabf": Metric(edge_transfer, True, edge_transfer),
    "Nabf": Metric(added_artefacts, False),
    "SSIM": Metric(ssim, True, ssim, 11),
    "MS-SSIM": Metric(multiscale_ssim, True, None, 161),
    "CC": Metric(mean_correlation, True),
    "PSNR": Metric(psnr, True, psnr_vifb),
    "RMSE": Metric(rmse, False, rmse_vifb),
    "CE": Metric(cross_entropy, False, cross_entropy),
    "EI": Metric(edge_intensity, True, edge_intensity),
    "Qcb": Metric(chen_blum, True, chen_blum),
    "Qcv": Metric(chen_varshney, False, chen_varshney),
}

BASELINES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "average": lambda light, heat: (light + heat) / 2,
    "maximum": torch.maximum,
    "visible": lambda light, heat: light,
    "infrared": lambda light, heat: heat,
}
"""What every fused image should be compared with: of visible luminance and infrared, [N, 1, H, W] each."""


def eight_bit(image: torch.Tensor) -> torch.Tensor:
    """Any real dtype in 0..255 -> float64 of the nearest values that an 8-bit file can hold."""
    return image if image.dtype == torch.uint8 else half_up(image.double()).clamp(0, 255)


def grey(image: torch.Tensor) -> torch.Tensor:
    """[N, 1 or 3, H, W] 8-bit values -> [N, 1, H, W], BT.601 luminance rounded."""
    return image.double() if image.shape[1] == 1 else half_up(luminance(image.double()))


CONVENTIONS = ("standard", "vifb")


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


class FusionScorer:
    """Scores any number of fused images of the same sources; what is derived from the sources is derived once.

    visible, infrared: [N, 1 or 3, H, W], uint8 or float in 0..255. ValueError: an unknown metric or convention."""

    def __init__(
        self,
        visible: torch.Tensor,
        infrared: torch.Tensor,
        metrics: Sequence[str] | None = None,
        convention: str = "standard",
    ) -> None:
        self.names = check_request(metrics, convention)
        self.sources, self.convention = (visible, infrared), convention

    @cached_property
    def grey_sources(self) -> list[SourceImage]:
        """The 8-bit luminances of both sources."""
        return [SourceImage(grey(eight_bit(image))) for image in self.sources]

    @cached_property
    def whole_sources(self) -> list[SourceImage]:
        """All channels of both sources."""
        return [SourceImage(eight_bit(image).double()) for image in self.sources]

    def triplet(self, fused: torch.Tensor) -> Triplet:
        """What the convention looks at: 8-bit luminances, or in VIFB channel by channel, unless the fused image has
        one: then against the luminance of the sources."""
        if self.convention == "vifb" and fused.shape[1] > 1:
            return Triplet(eight_bit(fused).double(), *self.whole_sources)
        return Triplet(grey(eight_bit(fused)), *self.grey_sources)

    @torch.no_grad()
    def __call__(self, fused: torch.Tensor) -> dict[str, torch.Tensor]:
        """[N, 1 or 3, H, W] of the sources' number and size, uint8 or float in 0..255 -> {metric: [N] float64}; nan
        where it is too small."""
        triplet = self.triplet(fused)
        fits = [name for name in self.names if min(fused.shape[-2:]) >= FUSION_METRICS[name].smallest_side]
        joint = [name for name in fits if self.convention == "vifb" and FUSION_METRICS[name].joint]
        apart = [name for name in fits if name not in joint]
        scores = {name: torch.full((len(fused),), torch.nan).to(triplet.fused) for name in self.names}
        scores |= {name: score_function(FUSION_METRICS[name], self.convention)(triplet).mean(1) for name in joint}
        functions = {name: score_function(FUSION_METRICS[name], self.convention) for name in apart}
        if fused.device.type == "cpu":
            table = [[[f(plane) for plane in planes] for f in functions.values()] for planes in triplet.planes()]
            rows = [torch.stack([torch.cat(m).mean() for m in image]) for image in table if apart]
            return scores | {name: torch.stack(rows)[:, place] for place, name in enumerate(apart)}
        return scores | {name: function(triplet).mean(1) for name, function in functions.items()}


def fusion_scores(
    fused: torch.Tensor,
    visible: torch.Tensor,
    infrared: torch.Tensor,
    metrics: Sequence[str] | None = None,
    convention: str = "standard",
) -> dict[str, torch.Tensor]:
    """[N, 1 or 3, H, W] each, of one number and size, uint8 or float in 0..255 -> {metric: [N] float64}, all of the
    convention's by default. ValueError: an unknown metric or convention."""
    return FusionScorer(visible, infrared, metrics, convention)(fused)
