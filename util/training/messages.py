"""What train.py says, line by line: after a validation, when it stops, fails or has finished."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from util.text import duration, format_number, metric_title, plural
from util.training import ranks as distributed
from util.training.run_folder import RunFolder
from util.training.run_reader import RunReader, best_scores, comparable_scores
from util.training.state import NotFinite, TrainingState
from util.training.validation import Task


def validated(epoch: int, scores: Mapping[str, Mapping[str, float]], is_best: bool) -> list[str]:
    """The scores of what was made and of the baselines, a line each."""
    lines = [f"epoch {epoch} val{' (best so far)' if is_best else ''}"]
    for name, values in scores.items():
        shown = "  ".join(f"{metric_title(metric)} {format_number(value)}" for metric, value in values.items())
        lines.append(f"  {name:20}{shown}")
    return lines


def inverted(validations: Sequence[Mapping[str, Mapping[str, float]]]) -> list[str]:
    """A line where hot and cold are swapped in what is generated, as by an unpaired training now and then: the last two
    validations, methods' scores with the trained one's first, have correlations below 0."""
    found = [next(iter(scores.values())).get("cc", 0.0) for scores in validations[-2:]]
    if len(found) < 2 or not max(found) < 0:
        return []
    return [
        f"  hot and cold seem swapped: the correlation with real images is below 0 twice in a row ({found[1]:.2f}): "
        "train anew with another --seed, or let some aligned pairs teach (--sampling mixed --lambda_paired 30)"
    ]


def stopped(state: TrainingState, arguments: Sequence[str]) -> list[str]:
    """Where a signal stopped a run that is saved, and the command that goes on. arguments: that name the run."""
    start = f"torchrun --nproc_per_node={distributed.world()}" if distributed.world() > 1 else "python"
    return [
        f"stopped at epoch {state.epoch + 1}, step {state.step}; everything is saved. To go on:",
        f"  {start} train.py {shlex.join(arguments)} --continue_train",
    ]


def failed(trouble: NotFinite | distributed.RankLost, checkpoint: Path) -> str:
    """What ended a run, what is kept of it, and what may help."""
    saved = checkpoint.exists()
    if isinstance(trouble, NotFinite):
        kept = f"{checkpoint} holds the last good state" if saved else "nothing was saved yet"
        return f"{trouble} became infinite or NaN; {kept}. Try --clip_grad 1, a lower --lr, or --precision fp32"
    kept = f"{checkpoint} holds the last saved state" if saved else "nothing was saved yet"
    again = "the same command with --continue_train goes on" if saved else "start it again"
    return (
        f"rank {distributed.rank()} lost another rank, whose own message tells why ({trouble}); {kept}: "
        f"{again}, with any number of ranks"
    )


def score_lines(folder: Path, task: Task) -> list[str]:
    """A run's validation scores, as lines of a table: those of its best weights, the best of all epochs where that is
    another one, and the baselines."""
    run = RunReader(folder)
    run.read()
    best = best_scores(run, task.higher_is_better)
    if task.best_metric not in best:
        return []
    output_name, _, chosen = best[task.best_metric]
    scores = next(record["val"] for record in comparable_scores(run) if record["epoch"] == chosen)
    baselines = [name for name in scores if name != output_name]
    rows = [["", f"{output_name}, epoch {chosen}", "best epoch", *baselines]]
    for metric, (_, highest, epoch) in best.items():
        sign = 1 if task.higher_is_better.get(metric, True) else -1
        value, *rivals = (scores[name].get(metric, math.nan) for name in (output_name, *baselines))
        beaten = not any(sign * value <= sign * rival for rival in rivals)  # some have no value
        ours = f"{format_number(value)}{'' if beaten else ' (!)'}"
        peak = "" if epoch == chosen else f"{format_number(highest)} ({epoch})"
        name = f"{metric_title(metric)} {'↑' if sign > 0 else '↓'}"
        rows.append([name, ours, peak, *map(format_number, rivals)])
    if not any(row[2] for row in rows[1:]):
        rows = [[*row[:2], *row[3:]] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    if any("(!)" in line for line in lines):
        lines.append("(!) does not beat every baseline")
    return lines


def finished(
    run: RunFolder, state: TrainingState, task: Task, seconds: float, dashboard: str | None, following: Sequence[str]
) -> list[str]:
    """The last lines of output: scores, where everything is, what to do next.

    seconds: how long it took. dashboard: its address. following: the next command, with its arguments."""
    lines = [f"finished {plural(state.epoch, 'epoch')} in {duration(seconds)}"]
    lines += [f"  {line}" for line in score_lines(run.path, task)]
    if state.best is not None:
        lines.append(
            f"weights   {run.weights('best')}, the best by {task.best_metric}; {run.weights('last').name} beside it"
        )
    else:
        lines.append(f"weights   {run.weights('last')}")
    lines.append(f"gallery   {(run.web / 'index.html').resolve()}")
    if dashboard:
        lines.append(f"dashboard {dashboard}")
    return [*lines, f"next      python {shlex.join(following)}"]
