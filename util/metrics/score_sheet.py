"""Scores of images by several methods: means, spreads and ranks of them; as text, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from util.files import write_whole
from util.text import format_number

Values = dict[str, float]  # metric -> value; nan where an image has none
NAME_WIDTH, CELL_WIDTH, PAPER = 14, 21, 160  # characters; PAPER: of a line where there is no terminal


def mean_and_std(values: Iterable[float]) -> tuple[float, float]:
    """Mean and population standard deviation of those that are not nan; nan, nan where there are none, and no
    deviation of one."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return math.nan, math.nan
    mean = math.fsum(known) / len(known)  # exact, so that it does not depend on the order
    if math.isinf(mean) or len(known) == 1:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in known) / len(known))


def ranks(values: Mapping[str, float], higher: bool) -> dict[str, float]:
    """Place of each name, 1 the best; equal values share the mean of their places; nan has none and is left out."""
    from scipy.stats import rankdata  # takes half a second, which commands without a table of ranks need not

    known = {name: -value if higher else value for name, value in values.items() if not math.isnan(value)}
    return dict(zip(known, map(float, rankdata(list(known.values()))), strict=True))


def places(table: Mapping[str, Mapping[str, float]], higher: Mapping[str, bool]) -> dict[str, Values]:
    """Name -> metric -> value  to  name -> metric -> rank among the names, as of ranks."""
    found: dict[str, Values] = {name: {} for name in table}
    for metric, up in higher.items():
        for name, place in ranks({n: values.get(metric, math.nan) for n, values in table.items()}, up).items():
            found[name][metric] = place
    return found


def mean_ranks(ranked: Mapping[str, Values]) -> dict[str, float]:
    """Each name's mean rank over the metrics, nan without any. ranked: name -> metric -> rank, as `places` gives it."""
    return {name: sum(row.values()) / len(row) if row else math.nan for name, row in ranked.items()}


class ScoreSheet:
    """Rows: method -> stem -> metric -> value. Trivial rows are what every method should be compared with."""

    def __init__(self, higher: Mapping[str, bool], trivial: Sequence[str] = (), unranked: Sequence[str] = ()) -> None:
        """higher: metric -> whether more is better, in the order of display. trivial: names of the trivial rows.
        unranked: metrics that take no part in ranks."""
        self.higher, self.trivial = dict(higher), tuple(trivial)
        self.ranked = {metric: up for metric, up in self.higher.items() if metric not in unranked}
        self.rows: dict[str, dict[str, Values]] = {}
        self.of_sets: dict[str, Values] = {}  # method -> metric of all its images together, such as FID
        self.why_none: dict[str, str] = {}  # metric -> why some images, or all, have no value of it

    def add(self, method: str, stem: str, values: Mapping[str, float]) -> None:
        """Note one image's values; nan where it has none."""
        self.rows.setdefault(method, {})[stem] = dict(values)

    @property
    def methods(self) -> list[str]:
        """The rows that are not trivial, in order."""
        return [name for name in self.rows if name not in self.trivial]

    def of(self, method: str, stem: str) -> Values:
        """Give an image's values; empty where it has none."""
        return self.rows.get(method, {}).get(stem, {})

    def values(self, method: str, metric: str) -> list[float]:
        """Of all images of a method, those that have one."""
        found = (values.get(metric, math.nan) for values in self.rows[method].values())
        return [value for value in found if not math.isnan(value)]

    def _of_set(self, method: str, metric: str) -> bool:
        return metric in self.of_sets.get(method, {})

    def statistics(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Method -> metric -> (mean, standard deviation); of a metric of sets its value, and nan."""
        return {
            name: {
                metric: (self.of_sets[name][metric], math.nan)
                if self._of_set(name, metric)
                else mean_and_std(values.get(metric, math.nan) for values in images.values())
                for metric in self.higher
            }
            for name, images in self.rows.items()
        }

    def means(self) -> dict[str, Values]:
        """Method -> metric -> mean over the images that have a value; nan where none has."""
        return {
            name: {metric: pair[0] for metric, pair in values.items()} for name, values in self.statistics().items()
        }

    def places(self) -> dict[str, Values]:
        """Method -> metric -> its rank among the methods, where it has one; trivial rows take no part."""
        return places({name: row for name, row in self.means().items() if name not in self.trivial}, self.ranked)

    def ranking(self) -> dict[str, float]:
        """Method -> mean rank over the metrics among the methods, best first."""
        found = mean_ranks(self.places())
        return dict(sorted(found.items(), key=lambda item: (math.isnan(item[1]), item[1])))

    def beaten(self, method: str) -> list[str]:
        """The metrics in which a trivial row has a better mean than the method."""
        means = self.means()
        trivial = [means[name] for name in self.trivial if name in means]
        return [
            metric
            for metric, up in self.ranked.items()
            if any(
                (row[metric] > means[method][metric]) == up and row[metric] != means[method][metric]
                for row in trivial
                if not math.isnan(row[metric]) and not math.isnan(means[method][metric])
            )
        ]

    def image_ranks(self, method: str) -> dict[str, float]:
        """Stem -> mean over the metrics of its rank among the images of the method, best first."""
        per_image = {metric: up for metric, up in self.ranked.items() if self.values(method, metric)}
        found = mean_ranks(places(self.rows[method], per_image))
        return dict(sorted(found.items(), key=lambda item: (math.isnan(item[1]), item[1])))

    def text(self) -> str:
        """Means and standard deviations for a terminal: a line a metric, as many methods beside as fit."""
        width = shutil.get_terminal_size((PAPER, 24)).columns if sys.stdout.isatty() else PAPER
        statistics, lines = self.statistics(), []
        names = list(statistics)
        cell = max(CELL_WIDTH, 1 + max(map(len, names), default=0))
        beside = max(1, (width - NAME_WIDTH - 20) // cell)
        for at in range(0, len(names), beside):
            block = names[at : at + beside]
            lines.append(" " * NAME_WIDTH + "".join(f"{name:>{cell}}" for name in block))
            for metric, up in self.higher.items():
                cells = "".join(
                    f"{_cell(*statistics[name][metric], self._of_set(name, metric)):>{cell}}" for name in block
                )
                lines.append(f"{metric:<{NAME_WIDTH}}{cells}  {'higher' if up else 'lower'} is better")
            lines.append("")
        return "\n".join(lines[:-1] + [f"no {metrics}: {why}" for metrics, why in self.reasons().items()])

    def reasons(self) -> dict[str, str]:
        """Metrics, joined by commas -> why values of them are missing."""
        joined: dict[str, list[str]] = {}
        for metric, why in self.why_none.items():
            joined.setdefault(why, []).append(metric)
        return {", ".join(metrics): why for why, metrics in joined.items()}

    def ranking_text(self) -> str:
        """The ranking of several methods for a terminal, best first."""
        lines = ["mean rank over the metrics among the methods; in how many metrics a trivial row is better:"]
        means = self.means()
        for name, place in self.ranking().items():
            beaten, scored = self.beaten(name), sum(not math.isnan(means[name][metric]) for metric in self.ranked)
            lines.append(f"  {place:5.2f}  {name:24} {len(beaten):2} of {scored}  {', '.join(beaten)}".rstrip())
        return "\n".join(lines)

    def block(self, method: str) -> dict[str, Any]:
        """A method's images, mean and std for JSON; what is no finite number is null."""
        statistics = self.statistics()[method]
        return {
            "images": {stem: finite(values) for stem, values in sorted(self.rows[method].items())},
            "mean": finite({metric: pair[0] for metric, pair in statistics.items()}),
            "std": finite({metric: pair[1] for metric, pair in statistics.items()}),
        }

    def content(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """All for JSON: facts; one method's block, or "methods" and "ranking"; the trivial rows."""
        blocks = {name: self.block(name) for name in self.rows}
        methods = self.methods
        content: dict[str, Any] = dict(facts) | {"count": len(self.rows[methods[0]])}
        content["higher_is_better"] = self.higher
        if self.why_none:
            content["why_null"] = self.why_none
        trivial = {name: blocks[name] for name in self.trivial if name in blocks}
        content["baselines"] = {name: block["mean"] for name, block in trivial.items()}
        content["baseline_std"] = {name: block["std"] for name, block in trivial.items()}
        if len(methods) == 1:
            content |= blocks[methods[0]]
        else:
            content["ranking"] = finite(self.ranking())
            content["methods"] = {name: blocks[name] for name in methods}
        content["baseline_images"] = {name: block["images"] for name, block in trivial.items()}
        return content

    def write(self, path: Path, facts: Mapping[str, Any]) -> None:
        """path (.json), and .csv beside it with a line for each image of each method; no value is an empty cell."""
        write_whole(path, json.dumps(self.content(facts), indent=2, allow_nan=False).encode())
        text = io.StringIO()
        writer = csv.writer(text)
        per_image = [m for m in self.higher if not any(m in values for values in self.of_sets.values())]
        writer.writerow(["image", "method", *per_image])
        for name, images in self.rows.items():
            for stem in sorted(images):
                values = finite({metric: images[stem].get(metric, math.nan) for metric in per_image})
                writer.writerow([stem, name, *("" if value is None else value for value in values.values())])
        write_whole(path.with_suffix(".csv"), text.getvalue().encode(errors="backslashreplace"))


def _cell(mean: float, std: float, of_set: bool) -> str:
    if math.isnan(mean):
        return "-"
    if of_set:
        return format_number(mean)
    if math.isnan(std):
        return f"{format_number(mean)} ± -"
    return f"{format_number(mean)} ± {std:.0f}" if std >= 100 else f"{format_number(mean)} ± {std:.2g}"


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """Values for JSON, which knows no other numbers: None for what is not finite."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
