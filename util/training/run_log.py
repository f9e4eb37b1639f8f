"""What a run records and shows while it goes on: losses, scores, their page."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import torch

from util.device import Compute
from util.pages.training_page import write_training_page
from util.training import messages, ranks
from util.training.loss_log import LossLog, first_bad
from util.training.progress import Progress
from util.training.run_folder import RunFolder
from util.training.state import NotFinite, TrainingState


class RunLog:
    """Losses and scores on their way to losses.jsonl, the terminal and the page; a loss that is no finite number is
    NotFinite. Every rank calls it at the same steps, as losses are means over ranks; rank 0 writes and prints."""

    def __init__(
        self,
        run: RunFolder,
        state: TrainingState,
        compute: Compute,
        progress: Progress,
        higher: Mapping[str, bool],
        about: Mapping[str, str],
    ) -> None:
        """higher: metric -> whether higher is better. about: what the page says of the run."""
        self.run, self.state, self.compute, self.progress = run, state, compute, progress
        self.higher, self.about = higher, about
        self._losses = LossLog()

    def add(self, terms: Mapping[str, torch.Tensor]) -> None:
        """The terms of one step, scalars on the device; never waits for it."""
        self._losses.add(terms)

    def collect(self) -> None:
        """Send the losses since the last time on their way, and record those sent before; never waits."""
        record = self._losses.collect(self.state.total)
        if record:
            self._record(record)

    def flush(self) -> None:
        """Record all losses up to this step."""
        for record in self._losses.flush(self.state.total):
            self._record(record)

    def _record(self, record: Mapping[str, float]) -> None:
        bad = first_bad(record)
        if bad:
            raise NotFinite(f"the loss {bad} at step {record['step']:.0f}")
        losses = {name: value for name, value in record.items() if name != "step"}
        self.progress.show(losses)
        if ranks.is_writer():
            self.run.append(
                {
                    "step": record["step"],
                    "epoch": self.state.epoch,
                    "losses": losses,
                    "lr": self.state.optimizers.rate,
                    "images_per_second": self.progress.rate,
                    "data_wait": self.progress.wait_share,
                    "time": round(time.time(), 2),
                    **self.compute.memory(),
                }
            )

    def validated(self, scores: Mapping[str, Mapping[str, float]], is_best: bool) -> None:
        """The scores after an epoch, method -> metric -> mean; is_best: whether its weights are the best so far."""
        if ranks.is_writer():
            known = {name: {m: v for m, v in values.items() if math.isfinite(v)} for name, values in scores.items()}
            record = {"step": self.state.total, "epoch": self.state.epoch, "val": known, "best": is_best}
            self.run.append(record | {"time": round(time.time(), 2)})
            lines = messages.validated(self.state.epoch, scores, is_best)
            lines += messages.inverted([record["val"] for record in self.run.records() if "val" in record])
            print("\n".join(lines), flush=True)

    def write_page(self, running: bool) -> None:
        """The page, with all that is recorded so far. running: it reloads itself."""
        if ranks.is_writer():
            facts = {**self.about, "epochs": f"{self.state.epoch} of {self.progress.epochs}"}
            write_training_page(self.run.web, self.run.path.name, self.run.records(), facts, self.higher, running)
