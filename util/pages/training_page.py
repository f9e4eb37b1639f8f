"""The gallery page of a training run: curves from losses.jsonl, scores beside baselines, sample images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from util.pages.curve_panel import Curve
from util.pages.gallery import write_gallery
from util.pages.image_rows import Row
from util.pages.table_panel import Table
from util.text import metric_title
from util.training.previews import Previews

LOSS_TITLES = {
    "adv": "Adversarial losses, generators",
    "discriminator": "Adversarial losses, discriminators",
    "self": "Self-similarity losses",
}


def loss_title(group: str) -> str:
    """Title of the plot of a group of loss_groups."""
    return LOSS_TITLES.get(group, f"{group.capitalize()} losses")


def loss_groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Terms that share a plot, since they are of one scale: those with the same part before their first "_", and
    all of the discriminators'."""
    groups: dict[str, list[str]] = {}
    for name in names:
        kind = name.partition("_")[0]
        groups.setdefault("discriminator" if kind in ("real", "fake", "penalty") else kind, []).append(name)
    return groups


def curves(records: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """One plot for each group of loss terms and each validation score."""
    losses = [(record["step"], record["losses"]) for record in records if "losses" in record]
    names = list(dict.fromkeys(name for _, terms in losses for name in terms))
    plots = [
        Curve(
            loss_title(group),
            {name: [(step, terms[name]) for step, terms in losses if name in terms] for name in members},
            "step",
        )
        for group, members in loss_groups(names).items()
    ]
    scores = [(record["step"], record["val"]) for record in records if "val" in record]
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


def write_training_page(
    web: Path,
    title: str,
    records: Sequence[Mapping[str, Any]],
    facts: Mapping[str, str],
    higher: Mapping[str, bool],
    running: bool,
) -> Path:
    """Write web/index.html from what the run has recorded so far; returns its path."""
    validated = [record for record in records if "val" in record]
    tables = []
    if validated:
        last = validated[-1]
        best = next((record for record in reversed(validated) if record.get("best")), last)
        if best is not last:
            tables.append(score_table(f"Validation of the best weights, epoch {best['epoch']}", best["val"], higher))
        tables.append(score_table(f"Validation after epoch {last['epoch']}", last["val"], higher))
    page = web / "index.html"
    rows = [Row(name, images) for name, images in Previews(web).rows()]
    write_gallery(page, title, rows, tables, curves(records), facts, refresh_s=60 if running else None)
    return page
