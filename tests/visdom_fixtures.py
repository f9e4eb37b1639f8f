"""A visdom server for tests: on a free port, in a folder of the test's own, ended with it."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from util.visdom.client import VisdomClient
from util.visdom.server import free_port, start_server


class Server:
    """Can be killed and started again on its port, without what it knew."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen | None = None
        self.starts = 0

    def start(self) -> None:
        self.starts += 1
        self.process = start_server(self.port, folder=self.folder / f"start {self.starts}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def client(self, env: str, timeout_s: float = 3.0) -> VisdomClient:
        return VisdomClient("http://127.0.0.1", self.port, env, timeout_s)


def running_server(folder: Path) -> Iterator[Server]:
    """For a fixture: `yield from` it."""
    if importlib.util.find_spec("visdom") is None:
        pytest.skip("visdom is not installed (requirements-visdom.txt)")
    made = Server(folder)
    made.start()
    try:
        yield made
    finally:
        made.kill()
