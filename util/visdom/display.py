"""The dashboard beside a training: a thread that follows the run's folder and keeps visdom's server in step.

The training hands nothing over and never waits: what it writes to its folder is all that is shown. So a resumed run,
a server that comes late or back, and a replay are one and the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from util.training.run_reader import RunReader
from util.visdom.client import NoAnswer, VisdomClient, Window
from util.visdom.images import Samples
from util.visdom.windows import comparison_windows, run_windows

FIRST_ANSWER_S = 1.0  # how long the training waits to learn whether there is a dashboard
INTERVAL_S = 2.0  # between updates, at the least
REST = 50.0  # times as long as an update took the thread then rests: it may cost 2 % of one processor at most
BACK_OFF_S = (5.0, 60.0)  # first and longest pause before asking a silent server again
LAST_S = 4.0  # how long the end of a training waits for the last update


class RunView:
    """One run in one environment."""

    def __init__(self, folder: Path, client: VisdomClient) -> None:
        self.client = client
        self.run, self.samples = RunReader(folder), Samples(folder)
        self._saved = 0  # validations and events on the server's disk

    def update(self) -> None:
        """Read what is new and show it; NoAnswer if the server does not take it."""
        self.run.read()
        saved, self._saved = self._saved, -1  # whether a server that fails now has kept anything is not known
        self.client.show(run_windows(self.run, self.samples))
        worth = len(self.run.scores) + len(self.run.events)
        if worth != saved:
            self.client.save()
        self._saved = worth


class Comparison:
    """Several runs in a common environment."""

    def __init__(self, views: Sequence[RunView], client: VisdomClient) -> None:
        self.views, self.client = views, client

    def update(self) -> None:
        """Show the runs as their views have read them."""
        windows: list[Window] = comparison_windows([view.run for view in self.views])
        self.client.show(windows)
        self.client.save()


class Display:
    """Runs the thread. close() ends it; nothing of it ever raises in the training."""

    def __init__(self, view: RunView, patient: bool, say: Callable[[str], None]) -> None:
        """patient: goes on asking a server that has never answered. say: prints one line for the user."""
        self.view, self.patient, self.say = view, patient, say
        self.interval_s, self.back_off_s = INTERVAL_S, BACK_OFF_S
        self.connected: bool | None = None  # None before the first answer, or its lack
        self.trouble = ""
        self._first = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="dashboard", daemon=True)

    def start(self) -> str | None:
        """Begin; returns the dashboard's address if its server answers within a second, else None."""
        self._thread.start()
        self._first.wait(FIRST_ANSWER_S)
        if not self._first.is_set():
            self.trouble = self.trouble or f"no answer within {FIRST_ANSWER_S:.0f} s"
            if not self.patient:
                self._closing.set()
        return self.view.client.url if self.connected else None

    def close(self) -> None:
        """Show the last state, if the server is there, and end. Waits a few seconds at most."""
        self._closing.set()
        if self.connected and self._thread.is_alive():
            self._thread.join(LAST_S)

    def _work(self) -> None:
        try:
            self._reach()
            pause = 0.0 if self.connected else self.back_off_s[0]
            while self.connected or self.patient:
                ended = self._closing.wait(pause)
                if ended and not self.connected:
                    return
                pause = self._update(pause)
                if ended:
                    return
        except Exception as error:  # the training must not suffer from a mistake here
            self.connected = False
            self.say(f"dashboard: stopped ({type(error).__name__}: {error}); the run goes on without it")
        finally:
            self._first.set()

    def _reach(self) -> None:
        try:
            self.view.client.check()
            self.connected = True
        except NoAnswer as error:
            self.connected, self.trouble = False, str(error)
        self._first.set()

    def _update(self, pause: float) -> float:
        """Returns the seconds until the next."""
        begun = time.thread_time()
        try:
            self.view.update()
        except NoAnswer as error:
            if self.connected:
                self.patient = True  # it was there once, so it may come back
                self.say(
                    f"dashboard: {self.view.client.address} does not answer ({error}); the run goes on, and the "
                    "dashboard is filled when the server is back"
                )
            pause = min(2 * pause, self.back_off_s[1]) if not self.connected else self.back_off_s[0]
            self.connected = False
            return pause
        self.connected = True
        return max(self.interval_s, REST * (time.thread_time() - begun))
