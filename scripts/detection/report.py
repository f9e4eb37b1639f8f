"""What evaluate_detection prints and writes: the table, the comparison with plain grey, JSON and the page."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from options.detection import DetectionOptions
from util.command_line import to_dict
from util.files import write_whole
from util.metrics.detection import Boxes, Precision
from util.pages.detection_page import bars_panel
from util.pages.gallery import write_gallery
from util.pages.image_rows import Row
from util.pages.table_panel import Table
from util.text import plural

CONVENTION = "COCO average precision (101 recall points, at most 100 detections an image), pycocotools"
GREY = {"luminance": "luminance", "inverted": "inverted luminance"}
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
        """Mean and standard deviation over the seeds (0 for one) of "map" or "ap50", or of a class's AP at 0.50."""
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
    """E.g. 0.412 or 0.412 ± 0.010."""
    return f"{value[0]:.3f}" + (f" ± {value[1]:.3f}" if value[1] > 0 else "")


def write_results(
    options: DetectionOptions, results: Mapping[str, Result], classes: Sequence[str], truth: Sequence[Boxes],
    rows: Sequence[Row], facts: Mapping[str, Any],
) -> None:  # fmt: skip
    """The table on the terminal, scores.json, --out, and the page."""
    counts = next(iter(results.values())).scores[0].boxes
    columns = ["mAP", "AP50", *(f"AP50 {name}" for name in classes)]
    values = {name: [result.of("map"), result.of("ap50"), *(result.of("ap50", c) for c in classes)]
              for name, result in results.items()}  # fmt: skip
    width = max(len(name) for name in results) + 2
    cell = 1 + max(13 if options.seeds > 1 else 7, max(len(column) for column in columns))
    print(f"{'trained on':{width}}{'images':>7}{'boxes':>7}" + "".join(f"{column:>{cell}}" for column in columns))
    for name, result in results.items():
        print(f"{name:{width}}{result.images:>7}{result.boxes:>7}"
              + "".join(f"{shown(value):>{cell}}" for value in values[name]))  # fmt: skip
    print(f"{'test boxes':{width}}{'':14}{sum(counts.values()):>{cell}}{'':>{cell}}"
          + "".join(f"{counts[name]:>{cell}}" for name in classes))  # fmt: skip
    lines = verdicts(results)
    print("\n".join(lines))

    def plain(number: float) -> float | None:
        return None if math.isnan(number) else number

    content = {"convention": CONVENTION, **facts, "options": to_dict(options), "classes": list(classes)}
    content |= {"test_boxes": counts, "test_boxes_ignored": sum(int(boxes.what.sum()) for boxes in truth)}
    content |= {"baseline": "luminance", "remarks": lines}
    content["arms"] = {
        name: {"images": result.images, "boxes": result.boxes, "seconds": round(result.seconds, 1)}
        | {column: {"mean": plain(mean), "std": deviation}
           for column, (mean, deviation) in zip(columns, values[name], strict=True)}
        | {"mAP of each seed": [plain(score.map) for score in result.scores]}
        for name, result in results.items()
    }  # fmt: skip
    text = json.dumps(content, indent=2).encode()
    folder = options.folder()
    for path in (folder / "scores.json", *([options.out] if options.out else [])):
        write_whole(path, text)
    bars = bars_panel("Average precision on real infrared", {name: cells[:2] for name, cells in values.items()},
                      columns[:2], "Plain grey is the baseline to beat.")  # fmt: skip
    by_class = bars_panel("AP50 by class", {name: cells[2:] for name, cells in values.items()}, list(classes))
    cells = [[name, result.images, result.boxes, *(round(value[0], 4) for value in values[name])]
             for name, result in results.items()]  # fmt: skip
    if options.seeds > 1:
        cells = [row[:3] + [shown(value) for value in values[row[0]]] for row in cells]
    best = dict.fromkeys(columns, "max") if options.seeds == 1 else {}
    title = f"Detectors on {plural(len(truth), 'real infrared test image')}, {plural(sum(counts.values()), 'box')}"
    note = " ".join(f"{line[0].upper()}{line[1:]}." for line in lines)
    table = Table(title, ["trained on", "images", "boxes", *columns], cells, note, best)
    about = {key: str(value) for key, value in facts.items()} | {"convention": CONVENTION}
    write_gallery(
        folder / "index.html",
        "Detectors trained on generated infrared",
        rows,
        [table],
        (),
        about,
        plots=[bars, by_class],
    )
    print(f"page      {(folder / 'index.html').resolve()}")
