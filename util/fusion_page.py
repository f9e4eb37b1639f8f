"""Scores of fused images beside the trivial rows, and what is written of them: table, JSON, CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from util.gallery import Table, format_number
from util.metrics.fusion import FUSION_METRICS, eight_bit, fusion_scores, grey
from util.run_folder import write_whole
from util.training_page import score_table

CONVENTION = "standard"
HIGHER_IS_BETTER = {name: metric.higher_is_better for name, metric in FUSION_METRICS.items()}
FUSED = "fused"


def trivial_rows(visible: torch.Tensor, infrared: torch.Tensor) -> dict[str, torch.Tensor]:
    """What every fused image should be compared with. uint8 [N, 1 or 3, H, W] and [N, 1, H, W] -> row name ->
    float64 [N, 1, H, W] in 0..255."""
    light, heat = grey(eight_bit(visible)), infrared.double()
    return {
        "average": (light + heat) / 2,
        "maximum": torch.maximum(light, heat),
        "visible": light,
        "infrared": heat,
    }


class FusionScores:
    """Row ("fused", "average", ...) -> stem -> metric -> value."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, dict[str, float]]] = {}

    def add(self, stem: str, fused: torch.Tensor, visible: torch.Tensor, infrared: torch.Tensor) -> None:
        """One image and its trivial rows: uint8 [1 or 3, H, W], as they are saved; nan where it is too small."""
        fused, visible, infrared = fused[None], visible[None], infrared[None]
        for name, image in ({FUSED: fused} | trivial_rows(visible, infrared)).items():
            values = fusion_scores(image, visible, infrared, convention=CONVENTION)
            self.rows.setdefault(name, {})[stem] = {metric: float(value) for metric, value in values.items()}

    def of(self, stem: str) -> dict[str, float]:
        """The fused image's scores; empty where it has none."""
        return self.rows.get(FUSED, {}).get(stem, {})

    def means(self) -> dict[str, dict[str, float]]:
        """Row -> metric -> mean over the images that have a value; nan where none has."""

        def mean(values: list[float]) -> float:
            known = [value for value in values if not math.isnan(value)]
            return sum(known) / len(known) if known else math.nan

        return {
            name: {metric: mean([values[metric] for values in images.values()]) for metric in FUSION_METRICS}
            for name, images in self.rows.items()
        }

    def table(self, title: str) -> Table:
        """The means, for the gallery."""
        return score_table(title, self.means(), HIGHER_IS_BETTER)

    def text(self) -> str:
        """The means, for a terminal: one line a metric."""
        means = self.means()
        lines = ["".join(f"{name:>12}" for name in ("", *means))]
        for metric, higher in HIGHER_IS_BETTER.items():
            cells = "".join(f"{format_number(values[metric]):>12}" for values in means.values())
            lines.append(f"{metric:>12}{cells}  {'higher' if higher else 'lower'} is better")
        return "\n".join(lines)

    def write(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """scores.json, with the facts in it, and scores.csv: every image's values. nan is null, or empty."""
        means, images = _without_nan(self.means()), _without_nan(self.rows)
        content = {"convention": CONVENTION, "count": len(self.rows[FUSED])} | dict(facts)
        content |= {"mean": means[FUSED], "baselines": {name: row for name, row in means.items() if name != FUSED}}
        content |= {"images": images[FUSED]}
        content |= {"baseline_images": {name: row for name, row in images.items() if name != FUSED}}
        write_whole(folder / "scores.json", json.dumps(content, indent=2).encode())
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["image", "method", *FUSION_METRICS])
        for name, row in images.items():
            for stem in sorted(row):
                writer.writerow([stem, name, *("" if value is None else value for value in row[stem].values())])
        write_whole(folder / "scores.csv", text.getvalue().encode())


def _without_nan(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {name: _without_nan(value) for name, value in values.items()}
    return None if isinstance(values, float) and math.isnan(values) else values
