"""Starting visdom's server on this machine, as a process of its own that goes on when its starter has ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from util.text import plural
from util.visdom.client import NoAnswer, VisdomClient
from util.visdom.files import missing, put_in_place, static_folder

# visdom's own command downloads first, and ends where it cannot: this begins after that.
_SERVE = "import sys; sys.argv[0] = 'visdom'; from visdom.server.run_server import main; main()"


def default_folder() -> Path:
    """Where visdom keeps its environments."""
    return Path.home() / ".visdom"


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_server(
    port: int, public: bool = False, folder: Path | None = None, timeout_s: float = 20.0
) -> subprocess.Popen:
    """Start the server, wait until it answers, and return its process; OSError with its last words where it does not.

    folder: where it keeps its environments and its log, by default visdom's own."""
    folder = folder or default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"server_{port}.log"
    words = ["-port", str(port), "-env_path", f"{folder}/", *([] if public else ["-bind_local"])]
    # A session of its own, so that Ctrl-C in the starter's terminal is not meant for it.
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    client = VisdomClient("http://127.0.0.1", port, "main", timeout_s=1.0)
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends and process.poll() is None:
        try:
            client.check()
        except NoAnswer:
            time.sleep(0.1)
        else:
            return process
    if process.poll() is None:
        process.terminate()
    said = log.read_text(errors="replace").strip().splitlines()
    raise OSError(f"visdom's server did not start on port {port}: {said[-1] if said else 'it says nothing'} ({log})")


def ensure_server(server: str, port: int, public: bool, say: Callable[[str], None] = print) -> None:
    """Start a server unless one answers already. Where the page's files cannot be had it starts without them."""
    client = VisdomClient(server, port, "main", timeout_s=1.0)
    try:
        client.check()
    except NoAnswer:
        pass
    else:
        say(f"visdom    answers already at {client.address}")
        return
    static = static_folder()
    lacking = missing(static)
    if lacking:
        say(f"visdom    fetches {plural(len(lacking), 'file')} of its page from the npm registry, once")
        try:
            put_in_place(static)
        except OSError as error:
            say(
                f"visdom    its page stays blank for want of {plural(len(missing(static)), 'file')} ({error}); the "
                "curves are kept all the same. Remedy: python -m scripts.visdom_offline --help"
            )
    process = start_server(port, public)
    heard = "all machines" if public else "this machine only"
    say(f"visdom    {client.address}, for {heard}; it outlives this command (kill {process.pid} ends it)")
