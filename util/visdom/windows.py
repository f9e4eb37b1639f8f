"""What the dashboard shows: the windows of one run, and those that compare several."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from util.metrics.fusion import FUSION_METRICS
from util.metrics.generation import HIGHER_IS_BETTER
from util.text import duration, format_number, metric_title
from util.training.run_reader import Points, RunReader, RunState, best_scores
from util.visdom.client import Window
from util.visdom.images import Samples
from util.visdom.plots import COLOURS, GREYS, HEIGHT, WIDTH, line, loss_plot, plot, raw_and_smooth, thin

HIGHER = HIGHER_IS_BETTER | {name: metric.higher_is_better for name, metric in FUSION_METRICS.items()}
RATE_PLOTS = {  # rate -> title, unit, what its values are multiplied by
    "lr": ("Learning rate", "", 1),
    "images_per_second": ("Speed", "images of each kind a second", 1),
    "data_wait": ("Time spent waiting for images", "%", 100),
    "memory": ("GPU memory, highest so far", "GiB", 1),
}
BADGES = {"running": "#2b8a3e", "finished": "#1864ab", "stopped": "#e67700", "NaN": "#c92a2a", "failed": "#c92a2a"}
TEXT = "font:13px/1.5 system-ui,sans-serif;color:#343a40"
HEAD = "font:600 13px/1.5 system-ui,sans-serif;color:#868e96;text-align:left"
CELL = "padding:1px 11px 1px 0;vertical-align:top"


def _table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Cells are HTML already."""
    lines = [[f"<th style='{CELL};{HEAD}'>{cell}</th>" for cell in head]] if head else []
    lines += [[f"<td style='{CELL};{TEXT}'>{cell}</td>" for cell in row] for row in rows]
    return "<table style='border-collapse:collapse'>" + "".join(f"<tr>{''.join(c)}</tr>" for c in lines) + "</table>"


def _text(name: str, title: str, content: str, width: int = WIDTH, height: int = HEIGHT) -> Window:
    scrolling = f"<div style='padding:10px 14px'>{content}</div>"
    return Window(name, title, width, height, [{"type": "text", "content": scrolling}])


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(min(seconds, 1e11)))  # C knows no later time


def state_window(run: RunReader, state: RunState) -> Window:
    """Running or how it ended, how far, how fast, until when."""
    badge = (
        f"<span style='background:{BADGES.get(state.word, '#868e96')};color:white;padding:3px 12px;border-radius:11px;"
        f"font:600 14px system-ui,sans-serif'>{state.word}</span>"
    )
    reason = f"<p style='color:#c92a2a;margin:6px 0'>{html.escape(state.reason)}</p>" if state.reason else ""
    if state.is_silent:
        reason += f"<p style='color:#e67700;margin:6px 0'>no word for {duration(state.silent_s)}: it may be gone</p>"
    whole = state.steps * state.epochs
    done = 1.0 if state.word == "finished" else min(1.0, run.step / whole) if whole else 0.0
    bar = (
        "<div style='background:#e9ecef;border-radius:4px;height:8px;margin:12px 0'>"
        f"<div style='background:#4c6ef5;border-radius:4px;height:8px;width:{100 * done:.1f}%'></div></div>"
    )
    rows = [
        ("epoch", f"{run.epoch} of {state.epochs} done" if state.epochs else str(run.epoch)),
        ("step", f"{run.step:.0f} of {whole}" if whole else f"{run.step:.0f}"),
    ]
    if "images_per_second" in run.rates:
        rows.append(("speed", f"{run.rates['images_per_second'][1][-1]:.3g} images a second"))
    if state.begun is not None:
        rows.append(("begun", _clock(state.begun) + (f", resumed {state.resumed}×" if state.resumed else "")))
        rows.append(("trained", duration(state.seconds)))
    if state.left_s is not None:
        rows.append(("to go", f"{duration(state.left_s)}, until {_clock(run.time + state.left_s)}"))
    elif run.time and state.word != "running":
        rows.append((state.word, _clock(run.time)))
    best = best_scores(run, HIGHER)
    for metric, (_, value, epoch) in sorted(best.items(), key=lambda item: item[0] != state.metric)[:3]:
        rows.append((f"best {html.escape(metric_title(metric))}", f"{value:.4g} in epoch {epoch}"))
    name = f"<span style='font:600 16px system-ui,sans-serif;color:#343a40'>{html.escape(run.name)}</span> &nbsp; "
    return _text("state", "State", name + badge + reason + bar + _table(rows))


def scores_window(run: RunReader) -> Window:
    """The best of each score, its epoch, and what it must beat."""
    if not run.scores:
        return _text("scores", "Validation scores", f"<p style='{TEXT};color:#868e96'>No validation yet.</p>")
    latest = run.scores[-1]["val"]
    output_name, *baselines = latest
    best = best_scores(run, HIGHER)
    columns = [[f"<b>{html.escape(output_name)}</b>", "best", "epoch", "last", *map(html.escape, baselines)]]
    for metric, (_, value, epoch) in best.items():
        sign = 1 if HIGHER.get(metric, True) else -1
        last, *rivals = (latest[name].get(metric, math.nan) for name in latest)
        colour = "#c92a2a" if any(sign * value <= sign * rival for rival in rivals) else "#2b8a3e"
        ours = [f"<b style='color:{colour}'>{value:.4g}</b>", str(epoch), format_number(last)]
        name = f"{html.escape(metric_title(metric))}&nbsp;{'↑' if sign > 0 else '↓'}"
        columns.append([name, *ours, *map(format_number, rivals)])
    # The longer side goes downwards.
    lines = columns if len(columns) > len(columns[0]) else list(zip(*columns, strict=True))
    note = f"<p style='{TEXT};color:#868e96;margin:10px 0 0'>Green beats every baseline; red does not.</p>"
    return _text("scores", "Validation scores", _table(lines[1:], lines[0]) + note)


def options_window(run: RunReader) -> Window:
    """Every option of the run."""
    known = run.options()
    parts = []
    for group, values in known.get("options", {}).items():
        rows = [
            (html.escape(name), html.escape(" ".join(map(str, v)) if isinstance(v, list) else str(v)))
            for name, v in values.items()
            if v not in (None, [])
        ]
        parts.append(f"<div style='{HEAD};margin-top:8px'>{html.escape(group)}</div>{_table(rows)}")
    facts = [("code", known.get("code", "")), ("torch", known.get("torch", ""))]
    facts.append(("data", known.get("data", {}).get("summary", "")))
    top = _table([(name, html.escape(str(value))) for name, value in facts])
    return _text("options", "Options", top + "".join(parts))


def _loss_plots(run: RunReader) -> list[Window]:
    return [
        loss_plot(f"loss_{group}", f"{group.capitalize()} losses", {term: run.terms[term] for term in terms})
        for group, terms in run.loss_groups().items()
    ]


def _scaled(points: Points, factor: float) -> Points:
    return thin(points[0], [factor * value for value in points[1]])


def _rate_plots(run: RunReader) -> list[Window]:
    windows: list[Window] = []
    for rate, (title, unit, factor) in RATE_PLOTS.items():
        if rate in run.rates:
            trace = line(title, *_scaled(run.rates[rate], factor), COLOURS[len(windows)], showlegend=False)
            windows.append(plot(f"rate_{rate}", title, [trace], unit))
            windows[-1].layout["yaxis"]["rangemode"] = "tozero"
    return windows


def _curve(scores: Sequence[Mapping[str, Any]], method: str, metric: str) -> Points:
    points = [(r["step"], r["val"][method][metric]) for r in scores if metric in r["val"].get(method, {})]
    return [step for step, _ in points], [value for _, value in points]


def _score_plots(run: RunReader) -> list[Window]:
    """One plot for each score: the trained method's curve, the baselines as lines across."""
    windows = []
    for metric, (output_name, best, epoch) in best_scores(run, HIGHER).items():
        steps, values = _curve(run.scores, output_name, metric)
        markers = {"color": COLOURS[0], "size": 6, "line": {"width": 0}}
        traces = [line(output_name, steps, values, COLOURS[0], mode="lines+markers", marker=markers)]
        for index, name in enumerate(name for name in run.scores[-1]["val"] if name != output_name):
            at, level = _curve(run.scores, name, metric)
            if at:
                across = line(name, [0, *at, run.step], [level[0], *level, level[-1]], GREYS[index % len(GREYS)])
                across["line"] |= {"dash": ("dot", "dash", "dashdot")[index % 3], "width": 1.5, "shape": "hv"}
                traces.append(across)
        better = "↑" if HIGHER.get(metric, True) else "↓"
        heading = f"Validation {metric_title(metric)}: best {best:.4g}, epoch {epoch} ({better} is better)"
        windows.append(plot(f"score_{metric}", f"Validation {metric_title(metric)}", traces, heading=heading))
    return windows


def run_windows(run: RunReader, samples: Samples, now: float | None = None) -> list[Window]:
    """Everything about one run, in the order of its panes."""
    state = RunState(run, now)
    first = [state_window(run, state), scores_window(run), options_window(run), samples.window(run.scores)]
    return first + _loss_plots(run) + _score_plots(run) + _rate_plots(run)


def _word(state: RunState) -> str:
    return f"{state.word}?" if state.is_silent else state.word


def comparison_windows(runs: Sequence[RunReader]) -> list[Window]:
    """One plot for each loss term, score and rate, with a curve for each run, and a table of best scores."""
    metrics = list(dict.fromkeys(m for run in runs for m in best_scores(run, HIGHER)))
    best = {run.name: best_scores(run, HIGHER) for run in runs}
    rows = [
        [f"<b>{html.escape(run.name)}</b>", _word(RunState(run)), str(run.epoch)]
        + [f"{best[run.name][m][1]:.4g}" if m in best[run.name] else "" for m in metrics]
        for run in runs
    ]
    heads = ["run", "state", "epochs", *(f"best {html.escape(metric_title(m))}" for m in metrics)]
    windows = [_text("runs", "Runs", _table(rows, heads))]
    for term in dict.fromkeys(term for run in runs for term in run.terms):
        traces = []
        for index, run in enumerate(runs):
            if term in run.terms:
                traces += raw_and_smooth(run.name, run.terms[term], COLOURS[index % len(COLOURS)])
        windows.append(plot(f"loss_{term}", f"Loss {term}", traces))
    for metric in metrics:
        traces = []
        for index, run in enumerate(runs):
            if metric in best[run.name]:
                curve = _curve(run.scores, best[run.name][metric][0], metric)
                traces.append(line(run.name, *curve, COLOURS[index % len(COLOURS)], mode="lines+markers"))
        traces += _shared_baselines(runs, metric)
        windows.append(plot(f"score_{metric}", f"Validation {metric_title(metric)}", traces))
    for rate, (title, unit, factor) in RATE_PLOTS.items():
        traces = [
            line(run.name, *_scaled(run.rates[rate], factor), COLOURS[index % len(COLOURS)])
            for index, run in enumerate(runs)
            if rate in run.rates
        ]
        if traces:
            windows.append(plot(f"rate_{rate}", title, traces, unit))
    return windows


def _shared_baselines(runs: Sequence[RunReader], metric: str) -> list[dict[str, Any]]:
    """Baselines that all runs with this score agree on, across the longest of them."""
    scored = [run for run in runs if run.scores and metric in next(iter(run.scores[-1]["val"].values()))]
    traces = []
    for index, name in enumerate(list(scored[0].scores[-1]["val"])[1:] if scored else []):
        levels = {run.scores[-1]["val"].get(name, {}).get(metric) for run in scored}
        if len(levels) == 1 and None not in levels:
            level = levels.pop()
            across = line(name, [0, max(run.step for run in scored)], [level, level], GREYS[index % len(GREYS)])
            across["line"] |= {"dash": ("dot", "dash", "dashdot")[index % 3], "width": 1.5}
            traces.append(across)
    return traces
