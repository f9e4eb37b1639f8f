"""Train a method: parse, build, loop. python train.py --help names every option.

The loop knows no method: a method yields (player, terms to lower), and for each yield the loop does backward for
that player alone, averages gradients over ranks, clips, steps and logs."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from data.first_use import ensure_sample
from data.layouts import Listing, find
from data.loader import TrainingImages, make_loader, steps_of_epoch
from data.samples import mean_infrared, read_validation
from models import METHODS
from options.cli import run_command, to_dict
from options.display import DisplayOptions
from options.train import TrainOptions, parse_train
from util import distributed
from util.compute import Compute, choose
from util.ema import EMA
from util.loss_log import LossLog, NotFinite, first_bad
from util.optimizers import Optimizers
from util.previews import Previews
from util.progress import Progress, duration
from util.run_folder import CHECKPOINT_FORMAT, RunFolder, remove_parts
from util.step import train_step
from util.stop_signal import StopSignal
from util.training_page import write_training_page
from util.validation import TASKS, Validation
from util.visdom_client import VisdomClient
from util.visdom_server import ensure_server
from util.votes import Votes
from util.watching import Watch, open_display, score_lines
from util.weights import save_weights

LOG_STEPS = 20  # steps between records in losses.jsonl


def on_cpu(state: Any) -> Any:
    """The same nest of dicts and lists with its tensors on the CPU."""
    if isinstance(state, torch.Tensor):
        return state.cpu()
    if isinstance(state, dict):
        return {key: on_cpu(value) for key, value in state.items()}
    return [on_cpu(value) for value in state] if isinstance(state, list) else state


class Training:
    """One run: what it is made of, the loop, and what is written while it goes on."""

    def __init__(self, options: TrainOptions, compute: Compute, listing: Listing, run: RunFolder, steps: int) -> None:
        self.options, self.compute, self.listing, self.run, self.steps = options, compute, listing, run, steps
        self.fingerprint = listing.fingerprint()  # asks for the size of every file
        torch.manual_seed(options.run.seed)
        self.method = METHODS[options.run.model](options.method)
        compute.place(self.method)
        players = self.method.players()
        distributed.broadcast([*self.method.parameters(), *self.method.buffers()])
        loop = options.loop
        self.optimizers = Optimizers(players, loop.lr, loop.beta1, loop.clip_grad, compute)
        self.task = TASKS[self.method.score_kind]
        self.metric = self.task.deciding if loop.best_metric == "auto" else loop.best_metric
        if self.metric not in self.task.higher_is_better:
            known = ", ".join(self.task.higher_is_better)
            raise ValueError(f"--best_metric {self.metric}: {options.run.model} has {known}")
        self.optimizers.schedule(
            loop.lr_policy,
            loop.n_epochs,
            loop.n_epochs_decay,
            loop.lr_decay_iters,
            self.task.higher_is_better[self.metric],
        )
        self.trained = players[self.method.trained]
        self.ema = EMA(self.trained, loop.ema) if loop.ema is not None else None
        compute.compile(self.method.networks(), options.run.compile)
        if options.input.crops:
            compute.expect_one_size()
        self.epoch, self.step = 0, 0  # that come next
        self.total = 0  # steps done since the beginning
        self.best: float | None = None
        self.validation: Validation | None = None
        self.mean_infrared: float | None = None
        self.log = LossLog()
        self.skipped: set[str] = set()

    # What is saved, and going on from it

    def state(self) -> dict[str, Any]:
        """Everything that training changes; every rank must ask at the same step, and rank 0 gets the whole."""
        return {
            "format": CHECKPOINT_FORMAT,
            "epoch": self.epoch,
            "step": self.step,
            "total": self.total,
            "steps": self.steps,
            "data": self.fingerprint,
            "method": {name: part.state_dict() for name, part in self.saved(modules=True)},
            "optimizers": self.optimizers.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "best": self.best,
            "mean_infrared": self.mean_infrared,
            "ranks": distributed.gather(self.own_state()),
        }

    def saved(self, modules: bool) -> Iterator[tuple[str, Any]]:
        """The method's networks, which are the same on all ranks, or what each rank has of its own."""
        return ((n, part) for n, part in self.method.saved().items() if isinstance(part, torch.nn.Module) == modules)

    def own_state(self) -> dict[str, Any]:
        """What this rank alone has: image pools and random states, on the CPU."""
        return {
            "pools": {name: on_cpu(part.state_dict()) for name, part in self.saved(modules=False)},
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if self.compute.device.type == "cuda" else None,
        }

    def load(self, state: dict[str, Any]) -> list[str]:
        """Go on from a state; returns remarks for the user."""
        remarks = []
        own = state["ranks"][distributed.rank() % len(state["ranks"])]
        for name, part in self.saved(modules=True):
            part.load_state_dict(state["method"][name])
        for name, part in self.saved(modules=False):
            part.load_state_dict(own["pools"][name])
        self.optimizers.load_state_dict(state["optimizers"])
        if self.ema:
            self.ema.load_state_dict(state["ema"] or self.trained.state_dict())
        self.epoch, self.step, self.total = state["epoch"], state["step"], state["total"]
        self.best, self.mean_infrared = state["best"], state["mean_infrared"]
        if state["steps"] != self.steps:
            self.step = self.step * self.steps // state["steps"]
            remarks.append(
                f"an epoch has {self.steps} steps, not {state['steps']} as before: goes on at the same share"
            )
        if state["data"] != self.fingerprint:
            remarks.append("the data set has changed since the run began: the run goes on, but not as it would have")
        if len(state["ranks"]) != distributed.world():
            remarks.append(f"goes on with {distributed.world()} rank(s); before there were {len(state['ranks'])}")
        torch.set_rng_state(own["random"])
        if own["random_cuda"] is not None and self.compute.device.type == "cuda":
            torch.cuda.set_rng_state(own["random_cuda"])
        return remarks

    def save(self, *names: str) -> None:
        """Write the checkpoint and the weights for use under the given names; refuses what is not finite."""
        self.note_losses(self.log.flush(self.total))
        norm = torch.stack(torch._foreach_norm(list(self.method.parameters()))).sum()
        if not torch.isfinite(norm):
            raise NotFinite("the weights")
        state = self.state()
        if distributed.is_writer():
            for name in names:
                self.save_weights(name)
            self.run.save_checkpoint(state)
        self.saved_at = time.monotonic()

    def save_weights(self, name: str) -> None:
        """Export the networks that are used after training, averaged if EMA is on."""
        metadata = {
            "model": self.options.run.model,
            "run": self.options.run.name,
            "epoch": str(self.epoch),
            "mean_infrared": f"{self.mean_infrared:.6f}",
            "options": json.dumps(to_dict(self.options.method)),
            "range": "clip",
        }
        save_weights(self.run.weights(name), self.network.state_dict(), metadata)

    @property
    def network(self) -> torch.nn.Module:
        """The networks as they are used after training."""
        return self.ema.average if self.ema else self.trained

    # The loop

    def train(self, loader: DataLoader) -> int:
        """From the present epoch and step to the last; returns the number of the signal that ended it, or 0."""
        loop = self.options.loop
        images = self.options.input.batch_size * loop.accumulate * distributed.world()
        done = self.epoch * self.steps + self.step
        self.progress = Progress(loop.epochs, self.steps, done, images, loop.log_seconds, distributed.is_writer())
        self.saved_at = time.monotonic()
        self.votes = Votes(self.total, self.compute.device)
        batches = iter(loader)
        try:
            with StopSignal() as stop:
                return self.loop(batches, stop)
        finally:  # workers ignore signals, so nobody else would end them while an error keeps the iterator alive
            if self.options.input.num_threads:
                batches._shutdown_workers()

    def loop(self, batches: Iterator[dict[str, Any]], stop: StopSignal) -> int:
        """Step after step, epoch after epoch; as train."""
        while self.epoch < self.options.loop.epochs:
            self.progress.start_epoch(self.epoch, self.step)
            self.method.train()
            while self.step < self.steps:
                waiting = time.monotonic()
                read = [next(batches) for _ in range(self.options.loop.accumulate)]
                waited = time.monotonic() - waiting
                self.update([self.on_device(batch) for batch in read])
                self.progress.step(waited)
                if self.total % LOG_STEPS == 0:
                    record = self.log.collect(self.total)
                    self.note_losses([record] if record else [])
                if self.ends_here(stop):
                    self.progress.end_epoch()
                    self.save("last")
                    return stop.number or 1
            self.progress.end_epoch()
            self.end_epoch()
        return 0

    def on_device(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """A batch of the loader's as the method takes it; unreadable images are reported, or end the run."""
        if "error" in batch:
            raise batch["error"]
        self.report_skipped(batch.pop("skipped"))
        return {name: self.compute.images(image) for name, image in batch.items()}

    def update(self, batches: list[dict[str, torch.Tensor]]) -> None:
        """One step on the mean of some batches."""
        terms = train_step(self.method, batches, self.optimizers, self.compute)
        if self.ema:
            self.ema.update()
        self.log.add(terms)
        self.step, self.total = self.step + 1, self.total + 1

    def ends_here(self, stop: StopSignal) -> bool:
        """Whether a signal ended the run, on any rank; also saves when it is time."""
        due = time.monotonic() - self.saved_at > 60 * self.options.loop.save_minutes
        due, stopped = self.votes.agree(self.total, due, stop.number is not None)
        if due and not stopped:
            self.save("last")
        return stopped

    def end_epoch(self) -> None:
        """Validate, show, move the schedules on, save."""
        loop = self.options.loop
        self.note_losses(self.log.flush(self.total))
        self.epoch, self.step = self.epoch + 1, 0
        last = self.epoch == loop.epochs
        validated = bool(loop.val_epoch_freq) and (last or self.epoch % loop.val_epoch_freq == 0)
        score, is_best = self.validate() if validated else (None, False)
        self.optimizers.end_epoch(score)
        names = ["best"] if is_best else []
        if last or self.epoch % loop.save_epoch_freq == 0:
            self.save(*names, "last", str(self.epoch))
        elif is_best and distributed.is_writer():
            self.save_weights("best")
        self.write_page(running=not last)

    def validate(self) -> tuple[float | None, bool]:
        """Scores beside the baselines, and pictures; returns (the deciding score, whether it is the best yet)."""
        if self.validation is None:
            return None, False
        with self.uncompiled():
            scores = self.validation.scores(self.network)
        score = scores[self.task.product][self.metric]
        sign = 1 if self.task.higher_is_better[self.metric] else -1
        is_best = score == score and (self.best is None or sign * score > sign * self.best)
        if is_best:
            self.best = score
        if distributed.is_writer():
            samples, previews = self.options.loop.samples, Previews(self.run.web)
            with self.uncompiled():
                self.validation.write_previews(self.method.preview, self.network, samples, self.epoch, previews)
            self.run.append({"step": self.total, "epoch": self.epoch, "val": scores, "time": round(time.time(), 2)})
            print(f"epoch {self.epoch} val{' (best so far)' if is_best else ''}", flush=True)
            for name, values in scores.items():
                print("  " + f"{name:20}" + "  ".join(f"{m} {value:.4g}" for m, value in values.items()), flush=True)
        return score, is_best

    def uncompiled(self) -> AbstractContextManager:
        """A context in which networks run as they were written: validation images have many sizes."""
        return torch.compiler.set_stance("force_eager") if self.options.run.compile != "off" else nullcontext()

    def write_page(self, running: bool) -> None:
        """Write the run's gallery."""
        if distributed.is_writer():
            facts = {
                "method": self.options.run.model,
                "device": self.compute.describe(),
                "data": self.listing.summary(),
                "epochs": f"{self.epoch} of {self.options.loop.epochs}",
            }
            title, records = self.options.run.name, self.run.records()
            write_training_page(self.run.web, title, records, facts, self.task.higher_is_better, running)

    # The log

    def note_losses(self, records: list[dict[str, float]]) -> None:
        """Write records of losses; a loss that is no number ends the run."""
        for record in records:
            bad = first_bad(record)
            if bad:
                raise NotFinite(f"the loss {bad} at step {record['step']:.0f}")
            losses = {name: value for name, value in record.items() if name != "step"}
            self.progress.show(losses)
            if distributed.is_writer():
                self.run.append(
                    {
                        "step": record["step"],
                        "epoch": self.epoch,
                        "losses": losses,
                        "lr": self.optimizers.rate,
                        "images_per_second": self.progress.rate,
                        "data_wait": self.progress.wait_share,
                        "time": round(time.time(), 2),
                        **self.compute.memory(),
                    }
                )

    def report_skipped(self, skipped: list[tuple[str, str]]) -> None:
        """Name every unreadable image once."""
        for path, reason in skipped:
            if path not in self.skipped:
                self.skipped.add(path)
                tqdm.write(f"skipped {path}: {reason} ({len(self.skipped)} so far)", file=sys.stderr)


def announce(training: Training, steps: int, remarks: list[str]) -> None:
    """The first page of output: what is happening, and where things go."""
    options = training.options
    sizes = ", ".join(
        f"{name} {sum(p.numel() for p in player.parameters()) / 1e6:.3f} M parameters"
        for name, player in training.method.players().items()
    )
    begun = f"goes on at epoch {training.epoch + 1}, step {training.step}" if options.run.continue_train else "new"
    ranks = f", {distributed.world()} ranks" if distributed.world() > 1 else ""
    more = f", {options.loop.accumulate} batches a step" if options.loop.accumulate > 1 else ""
    lines = [
        ("run", f"{options.run.name} ({options.run.model}), {begun}"),
        ("data", training.listing.summary()),
        *(("", note) for note in training.listing.notes),
        ("networks", sizes),
        ("device", training.compute.describe() + ranks),
        ("length", f"{options.loop.epochs} epochs of {steps} steps, batch {options.input.batch_size} a rank{more}"),
        *(("note", remark) for remark in (*training.method.remarks(), *remarks)),
        ("writes", f"{training.run.path}/: losses.jsonl, last.pt, best.safetensors, web/index.html"),
    ]
    for name, text in lines:
        print(f"{name:9} {text}", flush=True)


def closing(training: Training, seconds: float, dashboard: str | None) -> None:
    """The last lines of output: scores, where everything is, what to do next. dashboard: its address."""
    run, name = training.run, training.options.run.name
    folder = training.options.run.checkpoints_dir
    where = [] if folder == type(training.options.run)().checkpoints_dir else ["--checkpoints_dir", str(folder)]
    print(f"finished {training.epoch} epochs in {duration(seconds)}")
    for line in score_lines(run.path, training.task.higher_is_better):
        print(f"  {line}")
    if training.best is not None:
        print(f"weights   {run.weights('best')}, the best by {training.metric}; {run.weights('last').name} beside it")
    else:
        print(f"weights   {run.weights('last')}")
    print(f"gallery   {(run.web / 'index.html').resolve()}")
    if dashboard:
        print(f"dashboard {dashboard}")
    command = "test.py" if training.method.score_kind == "generation" else "fuse.py"
    words = [command, "--name", name, *where, "--dataroot", str(training.options.data.dataroot)]
    print(f"next      python {shlex.join(words)}")


def start_dashboard(display: DisplayOptions) -> None:
    """Start visdom's server if none answers; what prevents it is one line, and no reason not to train."""
    try:
        ensure_server(display.display_server, display.display_port, display.visdom_public)
    except (ValueError, OSError) as trouble:
        print(f"dashboard none: {trouble}", file=sys.stderr)


def main() -> int:
    """The command."""
    options, _ = parse_train(sys.argv[1:], {name: method.Options for name, method in METHODS.items()})
    compute = choose(options.run.device, options.run.precision, options.run.channels_last)
    run = RunFolder(options.run.checkpoints_dir / options.run.name)
    state = run.load_checkpoint() if options.run.continue_train else None
    if state is None and run.checkpoint.exists():
        raise ValueError(f"{run.path} holds a run: add --continue_train to go on with it, or give another --name")
    compute = replace(compute, device=distributed.start(compute.device))
    try:
        return train(options, compute, run, state)
    except NotFinite as trouble:
        kept = f"{run.checkpoint} holds the last good state" if run.checkpoint.exists() else "nothing was saved yet"
        print(
            f"error: {trouble} became infinite or NaN; {kept}. Try --clip_grad 1, a lower --lr, or --precision fp32",
            file=sys.stderr,
        )
        return 1
    except distributed.RankLost as lost:
        kept = f"{run.checkpoint} holds the last saved state" if run.checkpoint.exists() else "nothing was saved yet"
        again = "the same command with --continue_train goes on" if run.checkpoint.exists() else "start it again"
        print(
            f"error: rank {distributed.rank()} lost another rank, whose own message tells why ({lost}); {kept}: "
            f"{again}, with any number of ranks",
            file=sys.stderr,
        )
        return 1
    finally:
        distributed.stop()


def train(options: TrainOptions, compute: Compute, run: RunFolder, state: dict[str, Any] | None) -> int:
    """Open the data, build, loop, report; returns the exit status."""
    if distributed.is_writer():
        ensure_sample(options.data.dataroot)
    distributed.barrier()
    listing = find(options.data)
    if "train" not in listing.splits:
        raise ValueError(f"{listing.root}: has no training images; see docs/data.md")
    split, rank, world = listing.splits["train"], distributed.rank(), distributed.world()
    masked = METHODS[options.run.model].needs_mask
    dataset = TrainingImages(split, options, masked)
    steps = steps_of_epoch(dataset, options.input.batch_size * options.loop.accumulate, world)
    training = Training(options, compute, listing, run, steps)
    remarks = training.load(state) if state else []
    if training.mean_infrared is None:
        training.mean_infrared = mean_infrared(split.infrared, options)
    remarks += dataset.remarks()
    if options.loop.val_epoch_freq and (samples := read_validation(listing.splits.get("val"), options, masked)):
        training.validation = Validation(training.task, samples, compute, training.mean_infrared)
    elif options.loop.lr_policy == "plateau":
        raise ValueError("--lr_policy plateau watches the validation score, and there are no validation pairs here")
    else:
        remarks.append("no validation (no pairs, or --val_epoch_freq 0): the last weights are the ones to use")
    loader = make_loader(dataset, options, rank, world, training.epoch, training.step)
    shown = options.display
    if distributed.is_writer():
        if shown.start_visdom and shown.display != "none":
            start_dashboard(shown)
        remove_parts(run.path)
        if state is None:
            run.clear()
        announce(training, steps, remarks)
        facts = {"data": {"fingerprint": training.fingerprint, "summary": listing.summary()}}
        run.write_options(to_dict(replace(options, run=replace(options.run, continue_train=False))), facts)
        run.forget_after(training.total)
    state.clear() if state else None  # it holds a second copy of everything
    begun = time.monotonic()
    if not distributed.is_writer():
        signal_number = training.train(loader)
        return 128 + signal_number if signal_number else 0
    client = VisdomClient(shown.display_server, shown.display_port, shown.display_env or options.run.name)
    facts = {"steps": steps, "epochs": options.loop.epochs, "metric": training.metric}
    with Watch(run, lambda: {"step": training.total, "epoch": training.epoch}, facts) as watch:
        if shown.display != "none":
            watch.display = open_display(run.path, client, shown.display == "visdom" or shown.start_visdom)
        signal_number = training.train(loader)
        watch.stopped = bool(signal_number)
    if signal_number:
        again = shlex.join(word for word in sys.argv[1:] if word not in ("--continue_train", "--continue-train"))
        print(f"stopped at epoch {training.epoch + 1}, step {training.step}; everything is saved. To go on:")
        start = f"torchrun --nproc_per_node={world}" if world > 1 else "python"
        print(f"  {start} train.py {again} --continue_train")
        return 128 + signal_number
    seen = watch.display is not None and watch.display.connected
    closing(training, time.monotonic() - begun, client.url if seen else None)
    return 0


if __name__ == "__main__":
    run_command(main)
