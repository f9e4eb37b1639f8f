"""Scores of generated infrared images against real ones, beside the visible image's luminance and a constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from data.counts import ThermalRange
from data.images import ImageError, Source, read_infrared, read_result, read_visible
from data.scoring.cases import EvaluationCase
from data.scoring.scores import CaseScores, Scores
from data.threads import in_threads
from data.transforms import as_tensor, grey_tensor
from util.images import by_strips, luminance, resize
from util.metrics import generation
from util.metrics.learned import (
    LPIPS_SIDE,
    LearnedMetrics,
    features_of,
    fid_warning,
    load_learned,
    lpips_scores,
    set_scores,
)
from util.text import metric_title, plural
from util.training import ranks

QUICK = {metric_title(name): metric for name, metric in generation.METRICS.items()}
METRICS = QUICK | {"MS-SSIM": generation.ms_ssim}
OF_SETS = ("FID", "KID")
HIGHER_IS_BETTER = {metric_title(name): higher for name, higher in generation.HIGHER_IS_BETTER.items()}
HIGHER_IS_BETTER |= {"MS-SSIM": True} | dict.fromkeys(("LPIPS", *OF_SETS), False)
SMALLEST_SIDES = {"SSIM": 11, "edge CC": 3, "MS-SSIM": 161, "LPIPS": LPIPS_SIDE}
TRIVIAL = ("luminance", "inverted luminance", "constant")
CONVENTION = (
    "8-bit grey levels, at the real image's size; PSNR and SSIM peak 255; SSIM Gaussian 11x11 sigma 1.5; MS-SSIM five "
    "scales, least side 161; LPIPS AlexNet, above 16 megapixels the mean over strips; MAE in grey levels; CC Pearson "
    "correlation of grey levels, edge CC of Sobel magnitudes: none of a constant image"
)


def _truth(case: EvaluationCase, thermal: ThermalRange) -> torch.Tensor:
    """uint8 [1, H, W] of the real image."""
    return grey_tensor(read_infrared(case.infrared, thermal))


def _light(image: torch.Tensor) -> torch.Tensor:
    """Luminance, uint8 [1, H, W], of uint8 [3, H, W]."""
    return by_strips(lambda part: luminance(part.float()).round().to(torch.uint8), image)


def mean_grey(cases: Sequence[EvaluationCase], thermal: ThermalRange, num_threads: int | None) -> float:
    """Mean grey level, 0..255, of the real images; of those that can be read. Each rank reads its share: all must call
    it."""

    def total(case: EvaluationCase) -> tuple[float, int]:
        image = _truth(case, thermal)
        return float(image.numpy().sum(dtype="float64")), image.numel()

    found = [sums for _, sums in in_threads(total, ranks.share(cases), num_threads, "mean grey")]
    shares = ranks.from_writer(ranks.gather([one for one in found if not isinstance(one, ImageError)]))
    sums = [one for share in shares for one in share]
    count = sum(pixels for _, pixels in sums)
    return sum(grey for grey, _ in sums) / count if count else 127.5


def load_for_all(inception: Path | None, lpips: Path | None, device: torch.device) -> LearnedMetrics:
    """As load_learned, on every rank, all of which must call it: what one of them lacks none uses."""
    learned = load_learned(inception, lpips, device)
    for lacking in ranks.from_writer(ranks.gather(learned.unavailable)):
        learned.leave_out(lacking)
    return learned


class GeneratedScorer:
    """A scorer of generated infrared images."""

    def __init__(
        self, thermal: ThermalRange, device: torch.device, constant: float | None, learned: LearnedMetrics | None = None
    ) -> None:
        """thermal: how counts become grey. constant: grey level, 0..255, of that trivial row; None for none. learned:
        for all metrics; without it only those that need no network and little time are computed."""
        self.thermal, self.device, self.constant, self.learned = thermal, device, constant, learned
        self.higher_is_better = {name: HIGHER_IS_BETTER[name] for name in (HIGHER_IS_BETTER if learned else QUICK)}
        self.trivial: tuple[str, ...] = TRIVIAL if constant is not None else TRIVIAL[:-1]
        self.smallest_sides, self.of_sets = SMALLEST_SIDES, learned is not None
        self.unranked: tuple[str, ...] = ()

    def _made(self, source: Source) -> torch.Tensor:
        """uint8 [1, H, W] of a generated image: as it was written, whatever range real ones come to."""
        image = as_tensor(read_result(source))
        return _light(image) if len(image) == 3 else image

    def candidates(self, case: EvaluationCase) -> tuple[torch.Tensor, dict[str, torch.Tensor], bool]:
        """(Real uint8 [1, H, W]; method or trivial row -> uint8 [1, H, W] of its size; whether any was resized).
        ImageError for what cannot be read."""
        truth = _truth(case, self.thermal)
        size = tuple(truth.shape[-2:])
        made = {name: self._made(source) for name, source in case.outputs.items()}
        rows = {name: resize(image, size) for name, image in made.items()}
        if case.visible is not None:
            visible = resize(as_tensor(read_visible(case.visible)), size)
            light = _light(visible)
            rows |= {"luminance": light, "inverted luminance": 255 - light}
        if self.constant is not None:
            rows["constant"] = torch.full_like(truth, round(self.constant))
        return truth, rows, any(tuple(image.shape[-2:]) != size for image in made.values())

    def _values(self, image: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
        """Every metric of an image, of [1, 1, H, W] in 0..255, twice; nan where it has none (too small, constant)."""
        functions = {name: function for name, function in METRICS.items() if name in self.higher_is_better}
        if self.learned is not None and self.learned.lpips is not None:
            functions["LPIPS"] = lambda a, b: lpips_scores(self.learned, a, b)
        large = {name: min(truth.shape[-2:]) >= SMALLEST_SIDES.get(name, 1) for name in functions}
        return {name: float(f(image, truth)[0]) if large[name] else math.nan for name, f in functions.items()}

    def __call__(self, case: EvaluationCase) -> CaseScores:
        """Score a case as Scorer says."""
        truth, rows, resized = self.candidates(case)
        size = tuple(truth.shape[-2:])
        truth, rows = truth.to(self.device)[None], {name: image.to(self.device)[None] for name, image in rows.items()}
        features = {}
        if self.learned is not None and self.learned.inception is not None:
            features = {name: features_of(self.learned, image) for name, image in ({None: truth} | rows).items()}
        return CaseScores({name: self._values(image, truth) for name, image in rows.items()}, size, resized, features)

    def pictures(self, case: EvaluationCase) -> dict[str, torch.Tensor]:
        """Read the case's pictures for the page, as Scorer says."""
        visible = {} if case.visible is None else {"visible": as_tensor(read_visible(case.visible))}
        made = {name: self._made(source) for name, source in case.outputs.items()}
        return visible | made | {"real": _truth(case, self.thermal)}

    def explain(self, scores: Scores) -> None:
        """Give FID and KID of the sets, and tell what they depend on."""
        scores.facts = {"convention": CONVENTION, "range": self.thermal.text()}
        if scores.resized:
            cases = plural(len(scores.resized), "case")
            scores.notes.append(f"generated images were resized to their real image's size in {cases}")
        if self.learned is None:
            return
        sheet, count = scores.sheet, len(scores.sizes)
        stacked = {name: torch.cat(rows) for name, rows in scores.features.items()}
        for name in sheet.rows:
            none = dict.fromkeys(OF_SETS, math.nan)
            sheet.of_sets[name] = set_scores(stacked[name], stacked[None]) if stacked else none
        sheet.why_none |= {metric: f"unavailable: {why}" for metric, why in self.learned.unavailable.items()}
        if self.learned.about:
            scores.facts["learned"] = self.learned.about
        if not stacked:
            return
        features = stacked[None].shape[1]
        sides = sorted({f"{width}x{height}" for height, width in scores.sizes.values()})
        facts = {"generated images": count, "real images": count, "sizes": sides[:5], "features": features}
        scores.facts["FID depends on"] = facts | self.learned.about.get("FID", {})
        if count < 2:
            sheet.why_none |= dict.fromkeys(OF_SETS, "needs at least two images")
        elif warning := fid_warning(count, count, features):
            scores.notes.append(warning)
