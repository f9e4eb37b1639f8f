"""The page of an evaluation: means beside the trivial rows, ranking, distributions, best and worst images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from util.metrics.score_sheet import ScoreSheet
from util.pages.charts import score_panels
from util.pages.gallery import Table, write_gallery
from util.pages.image_rows import Row
from util.text import format_number

EXTREMES = 3  # best and worst images shown of each method
TRIVIAL_NOTE = (
    "The trivial rows need no method and score well on many metrics: a score means something only where it beats them."
)


def mean_table(title: str, sheet: ScoreSheet) -> Table:
    """Means of methods and trivial rows by metrics; the best of each column in bold."""
    metrics = list(sheet.higher)
    rows = [[name, *(values[metric] for metric in metrics)] for name, values in sheet.means().items()]
    best = {metric: "max" if up else "min" for metric, up in sheet.higher.items()}
    reasons = "".join(f" No {metrics}: {why}." for metrics, why in sheet.reasons().items())
    return Table(title, ["mean", *metrics], rows, TRIVIAL_NOTE + reasons, best)


def deviation_table(sheet: ScoreSheet) -> Table:
    """Standard deviations over the images."""
    metrics = [metric for metric in sheet.higher if not any(metric in row for row in sheet.of_sets.values())]
    statistics = sheet.statistics()
    rows = [[name, *(_deviation(values[metric][1]) for metric in metrics)] for name, values in statistics.items()]
    return Table("Standard deviations over the images", ["", *metrics], rows)


def _deviation(value: float) -> str | float:
    """Two digits of it; one image has none."""
    return "-" if math.isnan(value) else float(f"{value:.2g}")


def ranking_table(sheet: ScoreSheet) -> Table:
    """Methods, best first: mean rank, in how many metrics a trivial row is better, rank in each metric."""
    places = sheet.places()
    rows = [
        [name, place, len(sheet.beaten(name)), *(places[name].get(metric, math.nan) for metric in sheet.ranked)]
        for name, place in sheet.ranking().items()
    ]
    note = "Ranks among the methods, 1 the best. Trivial row better: in how many metrics its mean is better."
    return Table("Ranking", ["", "mean rank", "trivial row better", *sheet.ranked], rows, note, {"mean rank": "min"})


def best_and_worst_table(sheet: ScoreSheet) -> Table:
    """Of each metric: the images with the best and the worst value of each method."""
    columns = ["metric", *(f"{end} of {name}" for name in sheet.methods for end in ("best", "worst"))]
    rows = []
    for metric, up in sheet.higher.items():
        cells = [metric]
        for name in sheet.methods:
            known = {s: v[metric] for s, v in sheet.rows[name].items() if not math.isnan(v.get(metric, math.nan))}
            order = sorted(known, key=known.__getitem__, reverse=up)
            ends = (order[0], order[-1]) if order else ()
            cells += [f"{stem} ({format_number(known[stem])})" for stem in ends] or ["-", "-"]
        if set(cells[1:]) != {"-"}:
            rows.append(cells)
    return Table("Best and worst image of each metric", columns, rows)


MARK = '"convention"'  # stands in every file of scores


def written_beside(out: Path) -> list[Path]:
    """What is written beside a file of scores."""
    return [out.with_suffix(".csv"), out.with_suffix(".html"), out.with_name(f"{out.stem}_images")]


def extremes(sheet: ScoreSheet, method: str, count: int) -> Mapping[str, str]:
    """Return label ("best 1", ..., "worst 1", ...) -> stem, by mean rank over the metrics among the method's images."""
    stems = list(sheet.image_ranks(method))
    best = min(count, (len(stems) + 1) // 2)
    worst = min(count, len(stems) - best)
    found = {f"best {i + 1}": stems[i] for i in range(best)}
    return found | {f"worst {i + 1}": stems[-1 - i] for i in range(worst)}


def shown_images(sheet: ScoreSheet) -> dict[str, list[tuple[str, str]]]:
    """Stem -> [(method, label)] of the images that the page shows: each method's best and worst."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name in sheet.methods:
        for label, stem in extremes(sheet, name, EXTREMES).items():
            found.setdefault(stem, []).append((name, label))
    return found


def write_evaluation_page(
    path: Path,
    title: str,
    sheet: ScoreSheet,
    images_of: Callable[[str], Mapping[str, Path]],
    facts: Mapping[str, str],
) -> None:
    """Write the page. images_of: stem -> column label -> image file (methods under their own names)."""
    methods, shown = sheet.methods, shown_images(sheet)
    tables = [mean_table("Scores", sheet)]
    tables += [ranking_table(sheet)] if len(methods) > 1 else []
    tables += [deviation_table(sheet), best_and_worst_table(sheet)]
    rows, places = [], {name: sheet.image_ranks(name) for name in methods}
    for stem, labels in sorted(shown.items(), key=lambda item: _place(item[1])):
        whose = ", ".join(label if len(methods) == 1 else f"{label} of {name}" for name, label in labels)
        if len(methods) == 1:
            known = sheet.of(methods[0], stem)
            scores = {metric: known[metric] for metric in sheet.higher if not math.isnan(known.get(metric, math.nan))}
        else:
            scores = {f"mean rank in {name}": places[name][stem] for name in methods}
        rows.append(Row(f"{stem} ({whose})", images_of(stem), scores))
    write_gallery(path, title, rows, tables, score_panels(sheet), facts)


def _place(labels: list[tuple[str, str]]) -> tuple[bool, int]:
    """Best before worst, the first of each before the second."""
    label = labels[0][1]
    return label.startswith("worst"), int(label.split()[1])
