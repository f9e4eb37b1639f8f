"""One pipeline of scores: cases of images on disk, read and scored in threads, by the metrics of generated or of fused
images, beside trivial rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from data.images import ImageError, pixel_size
from data.scoring.cases import EvaluationCase
from data.threads import in_threads
from data.visible_images import LARGE
from util.json_file import is_size
from util.metrics.score_sheet import ScoreSheet
from util.training import ranks

Rows = Mapping[str, Mapping[str, float]]  # method or trivial row -> metric -> value; nan where it has none


@dataclass(frozen=True)
class CaseScores:
    """What the images of a case score at (height, width) of its infrared image or, where fused, of its visible one;
    whether one of them was resized to that; row -> [1, F] of the metrics that look at sets, the real image's under
    None."""

    rows: Rows
    size: tuple[int, int]
    resized: bool = False
    features: Mapping[str | None, torch.Tensor] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """What is kept of them, as JSON."""
        return {"scores": self.rows, "size": list(self.size)} | ({"resized": True} if self.resized else {})

    @classmethod
    def of_record(cls, record: Mapping[str, Any], case: EvaluationCase, scorer: Scorer) -> CaseScores | None:
        """Those that a record keeps of a case; None where it lacks one of the scorer's rows or metrics, or where these
        look at sets."""
        kept, rows = record.get("scores", {}), (*case.outputs, *scorer.trivial)
        if scorer.of_sets or not all(scorer.higher_is_better.keys() <= kept.get(row, {}).keys() for row in rows):
            return None
        values = {row: {metric: kept[row][metric] for metric in scorer.higher_is_better} for row in rows}
        return cls(values, tuple(record["size"]), record.get("resized") is True)


def are_scores(record: Mapping[str, Any]) -> bool:
    """Whether a record read back keeps scores, of whatever rows and metrics, as CaseScores.record makes them."""
    rows, size = record.get("scores"), record.get("size")
    values = list(rows.values()) if isinstance(rows, dict) else [None]
    return (
        is_size(size)
        and all(isinstance(row, dict) for row in values)
        and all(isinstance(number, (int, float)) for row in values for number in row.values())
    )


class Scorer(Protocol):
    """A set of metrics. higher_is_better: of each metric, in the order of display. trivial: names of the rows that
    need no method. unranked: metrics that take no part in ranks. smallest_sides: metric -> pixels that the shorter side
    of an image must have. of_sets: whether some metrics look at all images together, for which every case is to be
    read."""

    higher_is_better: dict[str, bool]
    trivial: tuple[str, ...]
    unranked: tuple[str, ...]
    smallest_sides: dict[str, int]
    of_sets: bool

    def __call__(self, case: EvaluationCase) -> CaseScores:
        """Read and score a case. ImageError for what cannot be read, or belongs to another case."""

    def pictures(self, case: EvaluationCase) -> dict[str, torch.Tensor]:
        """Name -> uint8 [C, H, W] of the images of a case, as a page shows them. ImageError if unreadable."""

    def explain(self, scores: Scores) -> None:
        """Complete the facts and notes of scores to which all cases were added, and why values are missing."""


class Scores:
    """The values of cases, why some are missing, and what a reader should know of them. errors: of cases that could
    not be scored; resized: stems of cases with an image of another size."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer, self.sheet = scorer, ScoreSheet(scorer.higher_is_better, scorer.trivial, scorer.unranked)
        self.errors: list[ImageError] = []
        self.resized: list[str] = []
        self.sizes: dict[str, tuple[int, int]] = {}
        self.features: dict[str | None, list[torch.Tensor]] = {}
        self.facts: dict[str, Any] = {}
        self.notes: list[str] = []

    def add(self, stem: str, found: CaseScores) -> None:
        """Take in the scores of one more case."""
        self.sizes[stem] = found.size
        for name, values in found.rows.items():
            self.sheet.add(name, stem, values)
        for name, row in found.features.items():
            self.features.setdefault(name, []).append(row)
        self.resized += [stem] if found.resized else []

    def explain(self) -> None:
        """Say why values are missing, once all cases were added."""
        for metric, side in self.scorer.smallest_sides.items():
            small = sum(min(size) < side for size in self.sizes.values())
            if small and metric in self.sheet.higher:
                reason = f"{small} of {len(self.sizes)} images have a side of less than {side} pixels"
                self.sheet.why_none[metric] = reason
        self.scorer.explain(self)

    def small(self, stem: str, metric: str) -> bool:
        """Whether a case's images are too small for a metric."""
        return min(self.sizes[stem]) < self.scorer.smallest_sides.get(metric, 1)


def is_large(case: EvaluationCase) -> bool:
    """Whether images are so large that they are scored alone. ImageError if unreadable."""
    sizes = [pixel_size(source.path) for source in (case.infrared, case.visible) if source is not None]
    return max(width * height for width, height in sizes) > LARGE


def score_cases(
    cases: Sequence[EvaluationCase],
    scorer: Scorer,
    num_threads: int | None,
    strict: bool = False,
    known: Mapping[str, CaseScores] | None = None,
    keep: Callable[[str, CaseScores], object] = lambda stem, found: None,
) -> Scores:
    """The scores of all cases, in their order, of which each rank finds its share: all must call it, and rank 0 has
    them all. num_threads: as for thread_count. strict: whether an image that cannot be read is an ImageError at once,
    not one among the scores' errors. known: scores of earlier, by stem; keep: called with every one that is new
    here."""
    scores, one_large = Scores(scorer), threading.Lock()
    found: dict[str, CaseScores | ImageError] = {}

    def score(case: EvaluationCase) -> CaseScores:
        with one_large if is_large(case) else nullcontext():  # several at once would not fit in memory
            return scorer(case)

    unknown = ranks.share([case for case in cases if case.stem not in (known or {})])
    with torch.inference_mode():
        for case, its in in_threads(score, unknown, num_threads, "scoring") if unknown else ():
            found[case.stem] = its
            if not isinstance(its, ImageError):
                keep(case.stem, its)
            elif strict:
                raise its
    for part in (known or {}, *ranks.gather(found)):
        found |= part
    for case in cases:
        its = found.get(case.stem)
        if isinstance(its, ImageError):
            scores.errors.append(its)
        elif its is not None:
            scores.add(case.stem, its)
    if ranks.is_writer():
        scores.explain()
    return scores
