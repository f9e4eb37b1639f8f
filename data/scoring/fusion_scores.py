"""Scores of fused images beside the trivial rows: what fuse.py and scripts.evaluate share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from util.metrics.fusion import FUSION_METRICS, FusionScorer, check_request, eight_bit, grey
from util.metrics.score_sheet import ScoreSheet
from util.pages.table_panel import Table
from util.pages.training_page import score_table

FUSED = "fused"
TRIVIAL = ("average", "maximum", "visible", "infrared")


def trivial_rows(visible: torch.Tensor, infrared: torch.Tensor) -> dict[str, torch.Tensor]:
    """What every fused image should be compared with. uint8 [N, 1 or 3, H, W] each -> row name -> float64
    [N, 1, H, W] in 0..255, of the luminances."""
    light, heat = grey(eight_bit(visible)), grey(eight_bit(infrared))
    return {
        "average": (light + heat) / 2,
        "maximum": torch.maximum(light, heat),
        "visible": light,
        "infrared": heat,
    }


class FusionScores(ScoreSheet):
    """Row (a method's name, "average", ...) -> stem -> fusion metric -> value."""

    def __init__(self, metrics: Sequence[str] | None = None, convention: str = "standard") -> None:
        """metrics: all of the convention's by default. ValueError for what it does not know."""
        names = check_request(metrics, convention)
        super().__init__({name: FUSION_METRICS[name].higher_is_better for name in names}, TRIVIAL)
        self.convention = convention
        self.small: dict[str, set[str]] = {}  # metric -> stems of images that are too small for it

    def compute(
        self, fused: Mapping[str, torch.Tensor], visible: torch.Tensor, infrared: torch.Tensor
    ) -> dict[str, dict[str, float]]:
        """Row -> metric -> value of one image of each method and of its trivial rows: uint8 [1 or 3, H, W] as saved."""
        visible, infrared = visible[None], infrared[None]
        rows = {name: image[None] for name, image in fused.items()} | trivial_rows(visible, infrared)
        scorer = FusionScorer(visible, infrared, list(self.higher), self.convention)
        return {name: {m: float(v) for m, v in scorer(image).items()} for name, image in rows.items()}

    def take(self, stem: str, rows: Mapping[str, Mapping[str, float]], size: Sequence[int]) -> None:
        """What compute gave for an image of a size (height, width)."""
        for name, values in rows.items():
            self.add(name, stem, values)
        for metric in self.higher:
            if min(size) < FUSION_METRICS[metric].smallest_side:
                self.small.setdefault(metric, set()).add(stem)

    def score(self, stem: str, fused: torch.Tensor, visible: torch.Tensor, infrared: torch.Tensor) -> None:
        """One image of one method, and its trivial rows: uint8 [1 or 3, H, W], as they are saved."""
        self.take(stem, self.compute({FUSED: fused}, visible, infrared), fused.shape[-2:])

    def explain(self) -> None:
        """Fill why_none: which metrics the images are too small for."""
        count = max(map(len, self.rows.values()), default=0)
        for metric, stems in self.small.items():
            side = FUSION_METRICS[metric].smallest_side
            self.why_none[metric] = f"{len(stems)} of {count} images have a side of less than {side} pixels"
        for metric in self.higher:
            undefined = {
                f"{stem} of {name}"
                for name, images in self.rows.items()
                for stem, values in images.items()
                if math.isnan(values[metric]) and stem not in self.small.get(metric, ())
            }
            if undefined:
                reason = f"undefined for flat images, here {len(undefined)}, such as {min(undefined)}"
                self.why_none[metric] = "; ".join(filter(None, (self.why_none.get(metric), reason)))

    def table(self, title: str) -> Table:
        """The means, for the gallery."""
        return score_table(title, self.means(), self.higher)

    def write(self, path: Path, facts: Mapping[str, Any]) -> None:
        """As ScoreSheet.write, with the convention."""
        self.explain()
        super().write(path, {"convention": self.convention} | dict(facts))
