"""What evaluate_detection prints and writes: the table, the comparison with plain grey, JSON and the page."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.detection import Look
from options.detection import DetectionOptions
from util.command_line import to_dict
from util.files import write_whole
from util.metrics.detection import Boxes, Precision
from util.pages.charts import bars_panel
from util.pages.gallery import Table, write_gallery
from util.pages.image_rows import Row
from util.text import plural

CONVENTION = "COCO average precision (101 recall points, at most 100 detections an image), pycocotools"
GREY: dict[str, Look] = {"luminance": "luminance", "inverted": "inverted luminance"}
MARK = '"arms"'  # stands in every file of figures
LEARNT = 0.15  # AP50 that the best detector has at least where comparing means something
PUBLISHED = "in published work a GAN's images lost to plain grey, 56.3 against 59.3 mAP (arXiv 2609.02556)"


@dataclass
class Result:
    """One training set: what was trained on, and a precision for each seed."""

    images: int
    boxes: int
    scores: list[Precision] = field(default_factory=list)
    seconds: float = 0.0

    def of(self, name: str, of_class: str | None = None) -> tuple[float, float]:
        """Return mean and standard deviation over the seeds (0 for one) of "map" or "ap50", or of a class's AP50."""
        values = [score.by_class[of_class] if of_class else getattr(score, name) for score in self.scores]
        mean = statistics.fmean(values)  # nan for a class without test boxes, whose deviation stdev cannot tell
        return mean, statistics.stdev(values) if len(values) > 1 and not math.isnan(mean) else 0.0


def verdicts(results: Mapping[str, Result]) -> list[str]:
    """Plain sentences: each generated set against the better of the grey ones, which it beats by more than the sum of
    both deviations or not at all. One training has no deviation, so that it cannot beat, only lie above."""
    greys = {name: results[name].of("map") for name in GREY.values() if name in results}
    lines = []
    if greys:
        best = max(greys, key=lambda name: greys[name][0])
        for name, result in results.items():
            if name.startswith("generated"):
                mine, spread = result.of("map"), greys[best][1] + result.of("map")[1]
                known = min(len(result.scores), len(results[best].scores)) > 1
                above = "beats" if known else "is above, with one seed too few to say that it beats,"
                says = above if mine[0] - greys[best][0] > spread else "does not beat"
                lines.append(
                    f"{name} {says} grey: mAP {shown(mine)} against {shown(greys[best])} of {best}; {PUBLISHED}"
                )
    strongest = max(result.of("ap50")[0] for result in results.values())
    if not strongest >= LEARNT:
        lines.append(f"no detector reaches an AP50 of {LEARNT}: they have learnt too little to compare; raise --steps")
    if all(len(result.scores) == 1 for result in results.values()):
        lines.append("one seed: a few hundredths are chance; --seeds 3 shows how much")
    return lines


def shown(value: tuple[float, float]) -> str:
    """Write a mean and, of several seeds, its spread: 0.412 or 0.412 ± 0.010."""
    return f"{value[0]:.3f}" + (f" ± {value[1]:.3f}" if value[1] > 0 else "")


@dataclass(frozen=True)
class DetectionReport:
    """The results of every training set, of detectors that know `classes`; truth: the labels of the test images."""

    options: DetectionOptions
    results: Mapping[str, Result]
    classes: Sequence[str]
    truth: Sequence[Boxes]

    @property
    def columns(self) -> list[str]:
        """The names of the scores."""
        return ["mAP", "AP50", *(f"AP50 {name}" for name in self.classes)]

    @property
    def counts(self) -> dict[str, int]:
        """Test boxes to be found, by class."""
        return next(iter(self.results.values())).scores[0].boxes

    def values(self, name: str) -> list[tuple[float, float]]:
        """Return mean and deviation of a training set's scores, in the order of the columns."""
        result = self.results[name]
        return [result.of("map"), result.of("ap50"), *(result.of("ap50", of_class) for of_class in self.classes)]

    def text(self) -> str:
        """Return the table for a terminal, and the verdicts below it."""
        width = max(len(name) for name in self.results) + 2
        cell = 1 + max(13 if self.options.seeds > 1 else 7, max(map(len, self.columns)))
        rows: list[tuple[Any, ...]] = [("trained on", "images", "boxes", *self.columns)]
        rows += [(name, r.images, r.boxes, *map(shown, self.values(name))) for name, r in self.results.items()]
        rows += [("test boxes", "", "", sum(self.counts.values()), "", *(self.counts[name] for name in self.classes))]
        lines = [
            f"{name:{width}}{images:>7}{boxes:>7}" + "".join(f"{value:>{cell}}" for value in values)
            for name, images, boxes, *values in rows
        ]
        return "\n".join(lines + verdicts(self.results))

    def content(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return what scores.json holds."""
        return {
            "convention": CONVENTION,
            **facts,
            "options": to_dict(self.options),
            "classes": list(self.classes),
            "test_boxes": self.counts,
            "test_boxes_ignored": sum(int(boxes.what.sum()) for boxes in self.truth),
            "baseline": "luminance",
            "remarks": verdicts(self.results),
            "arms": {name: self._arm(name) for name in self.results},
        }

    def _arm(self, name: str) -> dict[str, Any]:
        result = self.results[name]
        scores = zip(self.columns, self.values(name), strict=True)
        return {
            "images": result.images,
            "boxes": result.boxes,
            "seconds": round(result.seconds, 1),
            **{column: {"mean": _plain(mean), "std": deviation} for column, (mean, deviation) in scores},
            "mAP of each seed": [_plain(score.map) for score in result.scores],
        }

    def table(self) -> Table:
        """Return the table of the page."""
        one, cells = self.options.seeds == 1, []
        for name, result in self.results.items():
            scores = [round(value[0], 4) if one else shown(value) for value in self.values(name)]
            cells.append([name, result.images, result.boxes, *scores])
        boxes = plural(sum(self.counts.values()), "box")
        title = f"Detectors on {plural(len(self.truth), 'real infrared test image')}, {boxes}"
        note = " ".join(f"{line[0].upper()}{line[1:]}." for line in verdicts(self.results))
        best = dict.fromkeys(self.columns, "max") if one else {}
        return Table(title, ["trained on", "images", "boxes", *self.columns], cells, note, best)

    def write(self, rows: Sequence[Row], facts: Mapping[str, Any]) -> Path:
        """Write scores.json, --out and the page with the rows of examples; returns the page's path."""
        folder = self.options.folder()
        for path in (folder / "scores.json", *([self.options.out] if self.options.out else [])):
            write_whole(path, json.dumps(self.content(facts), indent=2).encode())
        values = {name: self.values(name) for name in self.results}
        overall = {name: scores[:2] for name, scores in values.items()}
        by_class = {name: scores[2:] for name, scores in values.items()}
        charts = [
            bars_panel("Average precision on real infrared", overall, self.columns[:2], "Grey is the one to beat."),
            bars_panel("AP50 by class", by_class, self.classes),
        ]
        about = {key: str(value) for key, value in facts.items()} | {"convention": CONVENTION}
        page = folder / "index.html"
        write_gallery(page, "Detectors trained on generated infrared", rows, [self.table()], charts, about)
        return page


def _plain(number: float) -> float | None:
    """Return what JSON has for a number: nothing for nan."""
    return None if math.isnan(number) else number
