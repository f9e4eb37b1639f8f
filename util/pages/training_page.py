"""The gallery page of a training run: curves from losses.jsonl, scores beside baselines, sample images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from util.pages.charts import Curve, curve_panel
from util.pages.gallery import Table, write_gallery
from util.pages.image_rows import Row
from util.pages.previews import Previews
from util.text import metric_title
from util.training.run_reader import RunReader


def curves(run: RunReader) -> list[Curve]:
    """One plot for each group of loss terms and each validation score, of what the reader has read."""
    plots = [
        Curve(f"{group.capitalize()} losses", {t: list(zip(*run.terms[t], strict=True)) for t in terms}, "step")
        for group, terms in run.loss_groups().items()
    ]
    scores = [(record["step"], record["val"]) for record in run.scores]
    for metric in dict.fromkeys(m for _, methods in scores for values in methods.values() for m in values):
        series = {
            method: [(step, methods[method][metric]) for step, methods in scores if metric in methods.get(method, {})]
            for method in dict.fromkeys(name for _, methods in scores for name in methods if metric in methods[name])
        }
        plots.append(Curve(f"Validation {metric_title(metric)}", series, "step"))
    return plots


def score_table(title: str, scores: Mapping[str, Mapping[str, float]], higher: Mapping[str, bool]) -> Table:
    """Methods by metrics, as papers spell them; the best of each column in bold. A method may lack some."""
    metrics = list(dict.fromkeys(metric for values in scores.values() for metric in values))
    rows = [[method, *(values.get(metric, math.nan) for metric in metrics)] for method, values in scores.items()]
    best = {metric_title(metric): "max" if higher.get(metric, True) else "min" for metric in metrics}
    note = "A score means something only where it beats every baseline." if len(scores) > 1 else ""
    return Table(title, ["", *map(metric_title, metrics)], rows, note, best)


def write_training_page(run: RunReader, facts: Mapping[str, str], higher: Mapping[str, bool], running: bool) -> Path:
    """Write web/index.html in the run's folder from what it has recorded so far; returns its path.

    facts: what it says of the run. higher: metric -> whether higher is better. running: it reloads itself."""
    run.read()
    web, validated = run.folder / "web", run.scores
    tables = []
    if validated:
        last = validated[-1]
        best = next((record for record in reversed(validated) if record.get("best")), last)
        if best is not last:
            tables.append(score_table(f"Validation of the best weights, epoch {best['epoch']}", best["val"], higher))
        tables.append(score_table(f"Validation after epoch {last['epoch']}", last["val"], higher))
    page = web / "index.html"
    rows = [Row(name, images) for name, images in Previews(web).rows()]
    charts = [curve_panel(curve) for curve in curves(run)]
    write_gallery(page, run.name, rows, tables, charts, facts, refresh_s=60 if running else None)
    return page
