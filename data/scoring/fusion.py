"""Scores of fused images against their two sources, beside the average, the maximum and the sources alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from data.counts import COUNT_MODES, ThermalRange
from data.images import ImageError, Source, read_infrared, read_result, read_visible
from data.pictures import header_of
from data.remarks import size_remedy, size_text
from data.scoring.cases import EvaluationCase
from data.scoring.scores import CaseScores, Scores
from data.scoring.targets import Targets
from data.transforms import as_tensor, grey_tensor
from util.images import resize
from util.metrics.fusion import BASELINES, FUSION_METRICS, FusionScorer, check_request, eight_bit, grey
from util.metrics.target_contrast import LEAST, RING
from util.text import plural

FUSED = "fused"
TRIVIAL = tuple(BASELINES)
GREY_MODES = ("L", "1", "LA", *COUNT_MODES)


def read_saved(source: Source, made: bool = False) -> torch.Tensor:
    """uint8 [1, H, W] of a picture saved with one channel, else [3, H, W]. made: by a method, as read_result reads it.
    ImageError if unreadable."""
    image = as_tensor(read_result(source) if made else read_visible(source))
    return image[:1] if header_of(source.path).mode in GREY_MODES else image


class FusedScorer:
    """A scorer of fused images."""

    trivial, of_sets = TRIVIAL, False

    def __init__(
        self,
        thermal: ThermalRange,
        device: torch.device,
        metrics: Sequence[str] | None = None,
        convention: str = "standard",
        of_data_set: bool = False,
        targets: Targets | None = None,
    ) -> None:
        """thermal: how counts become grey. metrics: all of the convention's by default; ValueError for what it does not
        know. of_data_set: whether --dataroot gave the cases, which remedies speak of. targets: whose contrast is
        measured, too."""
        self.names, self.targets = check_request(metrics, convention), targets
        self.unranked = tuple(targets.metrics) if targets else ()
        self.thermal, self.device, self.convention, self.of_data_set = thermal, device, convention, of_data_set
        self.higher_is_better = {name: FUSION_METRICS[name].higher_is_better for name in self.names}
        self.higher_is_better |= dict.fromkeys(self.unranked, True)
        self.smallest_sides = {name: FUSION_METRICS[name].smallest_side for name in self.names}

    def sources(self, case: EvaluationCase, in_colour: bool) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """(Visible uint8 [1 or 3, H, W] as saved, infrared of its size, whether that was resized). in_colour: whether
        infrared saved in colour keeps its channels; else it has one."""
        visible = read_saved(case.visible)
        if in_colour and header_of(case.infrared.path).mode not in GREY_MODES:
            infrared = read_saved(case.infrared)
        else:
            infrared = grey_tensor(read_infrared(case.infrared, self.thermal))
        size = tuple(visible.shape[-2:])
        return visible, resize(infrared, size), tuple(infrared.shape[-2:]) != size

    def __call__(self, case: EvaluationCase) -> CaseScores:
        """Score a case as Scorer says; a fused image of another size than the visible one is an ImageError, too."""
        visible, infrared, resized = self.sources(case, self.convention == "vifb")
        size, rows = tuple(visible.shape[-2:]), {}
        for name, source in case.outputs.items():
            rows[name] = read_saved(source, made=True)[None].to(self.device)
            if (found := tuple(rows[name].shape[-2:])) != size:
                remedy = size_remedy(found, case.visible, self.of_data_set)
                raise ImageError(source.path, f"is {size_text(found)}, its visible image {size_text(size)}: {remedy}")
        visible, infrared = visible[None].to(self.device), infrared[None].to(self.device)
        light, heat = grey(eight_bit(visible)), grey(eight_bit(infrared))
        rows |= {name: make(light, heat) for name, make in BASELINES.items()}
        scorer = FusionScorer(visible, infrared, self.names, self.convention)
        values = {name: {m: float(v) for m, v in scorer(image).items()} for name, image in rows.items()}
        contrast = self.targets.contrast(case, size) if self.targets else None
        for name, image in rows.items() if self.targets else ():
            found = contrast(grey(eight_bit(image))) if contrast else math.nan
            values[name] |= {m: found if case.stem in its else math.nan for m, its in self.targets.metrics.items()}
        return CaseScores(values, size, resized)

    def pictures(self, case: EvaluationCase) -> dict[str, torch.Tensor]:
        """Read the case's pictures for the page, as Scorer says."""
        visible, infrared, _ = self.sources(case, in_colour=False)
        made = {name: read_saved(source, made=True) for name, source in case.outputs.items()}
        return {"visible": visible, "infrared": infrared} | made

    def explain(self, scores: Scores) -> None:
        """Tell the convention, and which metrics are undefined for which images."""
        scores.facts = {"convention": self.convention}
        if self.targets and scores.sheet.rows:
            self._explain_contrast(scores, self.targets)
        for metric in self.names:
            undefined = {
                f"{stem} of {name}"
                for name, images in scores.sheet.rows.items()
                for stem, values in images.items()
                if math.isnan(values[metric]) and not scores.small(stem, metric)
            }
            if undefined:
                reason = f"undefined for flat images, here {len(undefined)}, such as {min(undefined)}"
                known = scores.sheet.why_none.get(metric)
                scores.sheet.why_none[metric] = f"{known}; {reason}" if known else reason

    def _explain_contrast(self, scores: Scores, targets: Targets) -> None:
        """Say of how many images the contrast of targets is, and why others have none."""
        counts = {metric: len(scores.sheet.values("visible", metric)) for metric in targets.metrics}
        scores.facts["targets"] = {"class": targets.name, "pixels": LEAST, "ring": list(RING), "images": counts}
        images = ", ".join(f"{metric} of {plural(count, 'image')}" for metric, count in counts.items())
        scores.notes.append(f"grey level of {targets.name} less that of the ring around them: {images}")
        for metric, stems in targets.metrics.items():
            total = len(scores.sizes) if metric == "contrast" else len(set(stems) & scores.sizes.keys())
            if counts[metric] < total:
                why = f"{total - counts[metric]} of {total} images have no labels, or less than {LEAST} pixels of"
                scores.sheet.why_none[metric] = f"{why} {targets.name}"
