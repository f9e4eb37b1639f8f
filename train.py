"""Train a method: parse, build, loop. python train.py --help names every option.

The loop knows no method: a method yields (player, terms to lower), and for each yield a step
(util/training/step.py) does backward for that player alone, averages gradients over ranks, clips and steps."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch

from data.counts import ThermalRange
from data.inputs import find_data
from data.layouts import Listing
from data.loader import Batches, Loader
from data.samples import mean_infrared, read_validation
from data.training_images import TrainingImages, make_loader, steps_of_epoch
from models import METHODS, fused
from models.inference.trained import load_initial, named_weights
from options.recorded import parse_train
from options.train import RunOptions, TrainOptions
from util.command_line import run_command, to_dict
from util.device import Device, select_device
from util.files import alone_in, check_folder
from util.pages.previews import Previews
from util.pages.training_page import write_training_page
from util.text import plural
from util.training import messages, ranks
from util.training.optimizers import Optimizers
from util.training.progress import Progress
from util.training.ranks import Votes
from util.training.run_folder import RunFolder
from util.training.run_log import RunLog
from util.training.signals import StopSignal
from util.training.state import NotFinite, TrainingState
from util.training.step import Stepper
from util.training.validation import TASKS, Task, Validation
from util.visdom.client import VisdomClient
from util.visdom.watching import Watch, open_display, start_dashboard

LOG_STEPS = 20  # steps between records in losses.jsonl


def choose_task(options: TrainOptions) -> Task:
    """What the method makes and how it is scored, decided by the metric that --best_metric asks for."""
    model, task = options.run.model, TASKS[METHODS[options.run.model].score_kind]
    metric = task.best_metric if options.loop.best_metric == "auto" else options.loop.best_metric
    if metric not in task.higher_is_better:
        raise ValueError(f"--best_metric {metric}: {model} has {', '.join(task.higher_is_better)}")
    return replace(task, best_metric=metric)


def build(
    options: TrainOptions, device: Device, task: Task, steps: int, fingerprint: str, compiled: str
) -> tuple[TrainingState, list[str]]:
    """Build a training that has not begun, the same on all ranks, and remarks on the weights that it begins with.
    steps: of an epoch. fingerprint: of the data set. compiled: the mode in which networks are compiled."""
    torch.manual_seed(options.run.seed)
    method, named, remarks = METHODS[options.run.model](options.method), options.run.init_from, []
    if named is not None and not options.run.continue_train:
        path = named_weights(named, options.run.checkpoints_dir)
        about = load_initial(method.players()[method.trained], named, path, options.method)
        theirs, ours = about.get("infrared_range"), options.data.infrared_range
        if options.data.thermal_source == "8bit" and theirs not in (None, ours):
            remarks.append(f"{path.name} was trained with --infrared_range {theirs}, and this run has {ours}")
    device.place(method)
    ranks.broadcast([*method.parameters(), *method.buffers()])
    loop, best_is_max = options.loop, task.higher_is_better[task.best_metric]
    optimizers = Optimizers(method.players(), loop.lr, loop.beta1, loop.clip_grad, device)
    optimizers.schedule(loop.lr_policy, loop.n_epochs, loop.n_epochs_decay, loop.lr_decay_iters, best_is_max)
    judged_by = _judged_by(options, task, fingerprint)
    state = TrainingState(method, optimizers, loop.ema, device.device, steps, fingerprint, judged_by)
    device.compile(method.networks(), compiled, forgiving=options.run.compile == "auto")
    if options.input.crops:
        device.expect_one_size()
    if ranks.rank():  # else all ranks would draw the same random numbers
        torch.manual_seed(options.run.seed + ranks.rank())
    return state, remarks


def _judged_by(options: TrainOptions, task: Task, fingerprint: str) -> str:
    """All that validation scores depend on, but for the networks."""
    data, seen = options.data, options.input
    images = ThermalRange.from_options(data), data.pairs, data.val_fraction, data.test_fraction, data.camera_crop
    size = seen.preprocess, seen.load_size, seen.crop_size
    return repr((task.best_metric, fingerprint, *images, *size, options.loop.val_size))


class Training:
    """The loop: it moves a state on from step to step, and saves, validates and shows when it is time."""

    def __init__(
        self,
        options: TrainOptions,
        device: Device,
        run: RunFolder,
        state: TrainingState,
        validation: Validation,
        compiled: bool,
        data: str,
    ) -> None:
        """compiled: whether networks are. data: what the page says of the data set."""
        self.options, self.device, self.run, self.state = options, device, run, state
        self.validation, self.compiled, self.data = validation, compiled, data
        loop, done = options.loop, state.epoch * state.steps + state.step
        images = options.input.batch_size * loop.accumulate * ranks.world()
        shown, groups = ranks.is_writer(), state.method.loss_groups
        self.progress = Progress(loop.epochs, state.steps, done, images, loop.log_seconds, shown, groups)
        self.log = RunLog(run, state, device, self.progress)
        self.votes = Votes(state.total)
        self.saved_at = time.monotonic()

    def train(self, loader: Loader) -> int:
        """From the present epoch and step to the last; returns the number of the signal that ended it, or 0."""
        state, loop, replays = self.state, self.options.loop, self.options.run.cuda_graph and self.options.input.crops
        stepper = Stepper(state.method, state.optimizers, self.device, replays)
        with Batches(loader, loop.accumulate, self.device) as batches, StopSignal() as stop:
            while state.epoch < loop.epochs:
                self.progress.start_epoch(state.epoch, state.step)
                state.method.train()
                while state.step < state.steps:
                    images, waited = batches.read()
                    self.log.add(stepper.take(images))
                    state.stepped()
                    self.progress.step(waited)
                    if state.total % LOG_STEPS == 0 or state.total == 1:
                        self.log.collect()
                    if self.ends_here(stop):
                        self.progress.end_epoch()
                        self.save("last")
                        return stop.number or 1
                self.progress.end_epoch()
                self.end_epoch()
        return 0

    def ends_here(self, stop: StopSignal) -> bool:
        """Whether a signal ended the run, on any rank; also saves when it is time."""
        due = time.monotonic() - self.saved_at > 60 * self.options.loop.save_minutes
        due, stopped = self.votes.agree(self.state.total, due, stop.number is not None)
        if due and not stopped:
            self.save("last")
        return stopped

    def end_epoch(self) -> None:
        """Validate, show, move the schedules on, save."""
        loop, state = self.options.loop, self.state
        self.log.flush()
        state.epoch, state.step = state.epoch + 1, 0
        state.average_statistics()
        state.check_finite()  # before metrics, which need numbers
        last = state.epoch == loop.epochs
        validated = bool(loop.val_epoch_freq) and (last or state.epoch % loop.val_epoch_freq == 0)
        score, is_best = self.validate() if validated else (None, False)
        state.optimizers.end_epoch(score)
        names = ["best"] if is_best else []
        if last or state.epoch % loop.save_epoch_freq == 0:
            self.save(*names, "last", str(state.epoch))
        elif state.epoch == 1:  # from now on a run that is killed can go on
            self.save(*names, "last")
        elif is_best and ranks.is_writer():
            self.save_weights("best")
        if ranks.is_writer():
            facts = {"method": self.options.run.model, "device": self.device.describe(), "data": self.data}
            facts["epochs"] = f"{state.epoch} of {loop.epochs}"
            write_training_page(self.log.reader, facts, self.validation.task.higher_is_better, running=not last)

    def validate(self) -> tuple[float | None, bool]:
        """Scores beside the baselines, and pictures; returns (score of the best metric, whether it is the best yet)."""
        if not self.validation.samples:
            return None, False
        state, task, samples = self.state, self.validation.task, self.options.loop.samples
        with self.device.many_sizes(self.compiled):
            scores = self.validation.scores(state.network)
            if ranks.is_writer():
                made = self.validation.previews(state.method.preview, state.network, samples)
                Previews(self.run.web).write(state.epoch, made)
        score = scores[task.output_name][task.best_metric]
        is_best = state.improves(score, task.higher_is_better[task.best_metric])
        self.log.validated(scores, is_best)
        return score, is_best

    def save(self, *names: str) -> None:
        """Write the checkpoint and the weights for use under the given names; refuses what is not finite."""
        self.log.flush()
        self.state.check_finite()
        checkpoint = self.state.state_dict()  # every rank adds its part
        if ranks.is_writer():
            for name in names:
                self.save_weights(name)
            self.run.save_checkpoint(checkpoint)
            if self.state.best is None:
                self.run.set_aside_best()
        self.saved_at = time.monotonic()

    def save_weights(self, name: str) -> None:
        """Write the networks that are used after training, and what they are."""
        run, method = self.options.run, self.options.method
        about = {"model": run.model, "run": run.name, "options": json.dumps(to_dict(method))}
        about["infrared_range"] = self.options.data.infrared_range
        if METHODS[run.model].score_kind == "generation":  # how images are to be seen by whoever uses the file
            seen = ("preprocess", "load_size", "crop_size")
            about["input"] = json.dumps({name: getattr(self.options.input, name) for name in seen})
        self.state.save_weights(self.run.weights(name), about)


def first_page(training: Training, listing: Listing, remarks: Sequence[str]) -> str:
    """What is happening, on what, and where things go. remarks: what else a user should know."""
    options, run, state = training.options, training.run, training.state
    begun = f"goes on at epoch {state.epoch + 1}, step {state.step}" if options.run.continue_train else "new"
    sizes = ", ".join(
        f"{name} {sum(p.numel() for p in player.parameters()) / 1e6:.3f} M parameters"
        for name, player in state.method.players().items()
    )
    together = f", {ranks.world()} ranks" if ranks.world() > 1 else ""
    size, accumulate = options.input.batch_size, options.loop.accumulate
    more = f", {accumulate} batches a step" if accumulate > 1 else ""
    length = f"{plural(options.loop.epochs, 'epoch')} of {plural(state.steps, 'step')}"
    weights = run.weights("best" if training.validation.samples else "last").name
    lines = [
        ("run", f"{run.path.name} ({options.run.model}), {begun}"),
        ("data", listing.summary()),
        *(("", note) for note in listing.notes),
        ("networks", sizes),
        ("device", training.device.describe() + together),
        ("length", f"{length}, batch {size} a rank{more}"),
        *(("note", remark) for remark in (*state.method.remarks(), *remarks)),
        ("writes", f"{run.path}/: losses.jsonl, last.pt, {weights}, web/index.html"),
    ]
    return "\n".join(f"{name:9} {text}" for name, text in lines)


def begin(training: Training, listing: Listing, remarks: Sequence[str]) -> None:
    """Before the first step, on rank 0: the dashboard's server, the first page of output, the run's folder."""
    options, run, state = training.options, training.run, training.state
    shown = options.display
    if shown.start_visdom:
        start_dashboard(shown.display_server, shown.display_port, shown.visdom_public)
    if options.run.continue_train:
        run.check_unchanged()
        run.remove_parts()
    else:
        run.check_free()
        run.clear()
    print(first_page(training, listing, remarks), flush=True)
    data = {"fingerprint": state.fingerprint, "summary": listing.summary()}
    began = replace(options.run, continue_train=False)  # what holds for this command alone is not recorded
    recorded = to_dict(replace(options, run=began, display=replace(shown, start_visdom=False)))
    run.write_options(recorded, {"data": data, "loss_groups": state.method.loss_groups})
    run.forget_after(state.total)


def other_folder(options: TrainOptions) -> list[str]:
    """The arguments that tell a command where the run is, if it is not where runs are by default."""
    runs = options.run.checkpoints_dir
    return [] if runs == RunOptions.checkpoints_dir else ["--checkpoints_dir", str(runs)]


def next_command(options: TrainOptions) -> list[str]:
    """What uses the weights of a finished run, with its arguments."""
    command = "test.py" if METHODS[options.run.model].score_kind == "generation" else "fuse.py"
    return [command, "--name", options.run.name, *other_folder(options)]


def train_watched(training: Training, loader: Loader) -> int:
    """Train as Training.train does, on rank 0: beside a dashboard, and with a last word."""
    options, run, state = training.options, training.run, training.state
    shown, task, begun = options.display, training.validation.task, time.monotonic()
    client = VisdomClient(shown.display_server, shown.display_port, shown.display_env or options.run.name)
    facts = {"steps": state.steps, "epochs": options.loop.epochs, "metric": task.best_metric}
    facts["judged_anew"] = state.best is None  # scores before do not count
    with Watch(training.log, facts) as watch:
        if shown.display != "none":
            watch.display = open_display(run.path, client, shown.display == "visdom" or shown.start_visdom)
        signal_number = training.train(loader)
        watch.stopped = bool(signal_number)
    if signal_number:
        print("\n".join(messages.stopped(state, ["--name", options.run.name, *other_folder(options)])))
        return signal_number
    seen = watch.display is not None and watch.display.connected
    dashboard = client.url if seen else None
    seconds, following = time.monotonic() - begun, next_command(options)
    print("\n".join(messages.finished(run, state, task, seconds, dashboard, following)))
    return 0


def train(options: TrainOptions, device: Device, run: RunFolder, stored: dict[str, Any] | None) -> int:
    """Open the data, build, loop, report; returns the exit status. stored: the checkpoint to go on from."""
    listing = find_data(options.data)
    if "train" not in listing.splits:
        raise ValueError(f"{listing.root}: has no training images; see docs/data.md")
    split, masked = listing.splits["train"], METHODS[options.run.model].needs_mask
    dataset = TrainingImages(split, options, masked)
    steps = steps_of_epoch(dataset, options.input.batch_size * options.loop.accumulate, ranks.world())
    task = choose_task(options)
    norm, one_size, length = getattr(options.method, "norm", "none"), options.input.crops, steps * options.loop.epochs
    joined = norm == "instance" and device.is_channels_last and fused.triton is not None
    compiled = device.compile_mode(options.run.compile, one_size, length, joined)
    state, remarks = build(options, device, task, steps, listing.fingerprint(), compiled)
    if stored is not None:
        try:
            remarks += state.load_state_dict(stored)
        except ValueError as error:
            raise ValueError(f"{run.checkpoint}: {error}; train with another --name") from None
        stored.clear()  # it holds a second copy of everything
    if state.mean_infrared is None:
        state.mean_infrared = mean_infrared(split.infrared, options)
    remarks += [*dataset.remarks(), *device.remarks(compiled)]
    held_out = listing.splits.get("val") if options.loop.val_epoch_freq else None
    validation = Validation(task, read_validation(held_out, options, masked), device, state.mean_infrared)
    if not validation.samples:
        if options.loop.lr_policy == "plateau":
            raise ValueError("--lr_policy plateau watches the validation score, and there are no validation pairs here")
        ones = "last weights are" if state.best is None else "best weights so far stay"
        remarks.append(f"no validation (no readable pairs, or --val_epoch_freq 0): the {ones} the ones to use")
    if state.epoch >= options.loop.epochs:
        remarks.append(f"all {state.epoch} epochs are done: a higher --n_epochs or --n_epochs_decay trains on")
    loader = make_loader(dataset, options, ranks.rank(), ranks.world(), state.epoch, state.step)
    with alone_in(run.path, "wait for its end, or give another --name") if ranks.is_writer() else nullcontext():
        training = Training(options, device, run, state, validation, compiled != "off", listing.summary())
        if ranks.is_writer():
            begin(training, listing, remarks)
            signal_number = train_watched(training, loader)
        else:
            signal_number = training.train(loader)
    return 128 + signal_number if signal_number else 0


def main() -> int:
    """Train as the command line says; returns the exit status."""
    options, _ = parse_train(sys.argv[1:], {name: method.Options for name, method in METHODS.items()})
    device = select_device(options.run.device, options.run.precision, options.run.channels_last)
    run = RunFolder(options.run.checkpoints_dir / options.run.name)
    check_folder("--checkpoints_dir", options.run.checkpoints_dir, options.run.name)
    if options.input.cache_dir is not None:
        check_folder("--cache_dir", options.input.cache_dir)
    if not options.run.continue_train:
        run.check_free()
    stored = run.load_checkpoint() if options.run.continue_train else None
    device = replace(device, device=ranks.start(device.device))
    try:
        return train(options, device, run, stored)
    except (NotFinite, ranks.RankLost) as trouble:
        print(f"error: {messages.failed(trouble, run.checkpoint)}", file=sys.stderr)
        return 1
    finally:
        ranks.stop()


if __name__ == "__main__":
    run_command(main)
