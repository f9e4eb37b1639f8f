"""A run's beginnings and ends in its log, and the dashboard that follows it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from util.training.run_log import RunLog
from util.training.state import NotFinite
from util.visdom.client import VisdomClient
from util.visdom.display import Display, RunView
from util.visdom.server import ensure_server


def say(line: str) -> None:
    """One line for the user, beside a progress bar."""
    tqdm.write(line, file=sys.stderr)


def start_dashboard(server: str, port: int, public: bool) -> None:
    """Start visdom's server if none answers; what prevents it is one line, and no reason not to train."""
    try:
        ensure_server(server, port, public)
    except (ValueError, OSError) as trouble:
        print(f"dashboard none: {trouble}", file=sys.stderr)


def open_display(folder: Path, client: VisdomClient, patient: bool) -> Display:
    """The dashboard of a run's folder, started; one line says where it is, or how to get one."""
    display = Display(RunView(folder, client), patient, say)
    url = display.start()
    if url:
        print(f"dashboard {url}", flush=True)
    elif patient:
        print(f"dashboard {client.url}: no answer yet ({display.trouble}); asked again now and then", flush=True)
    else:
        print(
            f"dashboard none: no visdom server at {client.address} ({display.trouble}); --start_visdom starts one",
            flush=True,
        )
    return display


class Watch:
    """A context around a training: notes in losses.jsonl when it began and how it ended, and closes the dashboard."""

    def __init__(self, log: RunLog, facts: Mapping[str, Any]) -> None:
        """facts: noted at the beginning."""
        self.log, self.facts = log, facts
        self.display: Display | None = None
        self.stopped = False  # set when a signal ended the training

    def __enter__(self) -> Watch:
        self.log.note(event="start", **self.facts)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        reason = {"reason": " ".join(f"{error}".split())} if error is not None and str(error) else {}
        with nullcontext() if error is None else suppress(OSError):  # the first error is the one to tell
            if isinstance(error, NotFinite):
                self.log.note(event="nan", reason=f"{error} became infinite or NaN")
            elif isinstance(error, KeyboardInterrupt) or self.stopped:
                self.log.note(event="stop", **reason)
            else:
                self.log.note(event="finish" if error is None else "error", **reason)
        if self.display is not None:
            self.display.close()
