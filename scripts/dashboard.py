"""Show runs in visdom from their folders: each in its own environment, several also in common plots."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from options.display import ServerOptions
from util.command_line import parse, run_command
from util.training.run_reader import RunState
from util.visdom.client import NoAnswer, VisdomClient
from util.visdom.display import Comparison, RunView
from util.visdom.server import ensure_server

FOLLOW_S = 5.0


@dataclass(frozen=True)
class DashboardOptions:
    """Show one or more runs in visdom, finished or not, from their folders. Several are compared in common plots."""

    name: tuple[str, ...]
    """Names of the runs."""
    checkpoints_dir: Path = Path("checkpoints")
    """Folder of all runs."""
    compare_env: str = "comparison"
    """Environment of visdom with a curve for each run, where there are several."""
    follow: bool = False
    """Go on showing what is new until every run has ended, or Ctrl-C. A server that ends meanwhile is waited for."""
    server: ServerOptions = field(default_factory=ServerOptions)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("--name is without a value: give the names of runs")
        for name in self.name:
            if not (self.checkpoints_dir / name / "losses.jsonl").is_file():
                known = sorted(path.parent.name for path in self.checkpoints_dir.glob("*/losses.jsonl"))
                there = f"there are {', '.join(known)}" if known else f"there are none in {self.checkpoints_dir}"
                raise ValueError(f"--name {name}: no run of that name; {there}")
        if len(set(self.name)) != len(self.name):
            raise ValueError(f"--name {' '.join(self.name)}: names a run twice")
        if len(self.name) > 1 and self.compare_env in self.name:
            raise ValueError(f"--compare_env {self.compare_env}: is a run's name; give another")


def update(views: Sequence[RunView], comparison: Comparison | None) -> None:
    """Show what is new; NoAnswer where the server does not take it: the next time sends it again."""
    for view in views:
        view.update()
    if comparison:
        comparison.update()


def follow(
    views: Sequence[RunView], comparison: Comparison | None, say: Callable[[str], None], pause_s: float = FOLLOW_S
) -> None:
    """Show what is new until every run has ended and its end is shown. say: prints one line when the server falls
    silent, and one when it is back."""
    address, silent = views[0].client.address, False
    while silent or any(RunState(view.run).word == "running" for view in views):
        time.sleep(pause_s)
        try:
            update(views, comparison)
        except NoAnswer as error:
            if not silent:
                say(
                    f"dashboard: {address} does not answer ({error}); it is asked again every {pause_s:g} s and then "
                    "shown what it missed; Ctrl-C ends this"
                )
            silent = True
            continue
        if silent:
            say(f"dashboard: {address} is back, and shows all that it missed")
        silent = False


def main() -> int:
    """Serve the dashboard of the runs that the command line names; returns the exit status."""
    options = parse(DashboardOptions)
    server, port = options.server.display_server, options.server.display_port
    if options.server.start_visdom:
        ensure_server(server, port, options.server.visdom_public)
    views = [RunView(options.checkpoints_dir / name, VisdomClient(server, port, name)) for name in options.name]
    clients = [view.client for view in views]
    comparison = None
    if len(views) > 1:
        clients.append(VisdomClient(server, port, options.compare_env))
        comparison = Comparison(views, clients[-1])
    try:
        clients[0].check()
        update(views, comparison)
    except NoAnswer as error:
        raise OSError(
            f"{clients[0].address} does not answer as visdom's server does ({error}): add --start_visdom, or give "
            "--display_server and --display_port"
        ) from None
    for client in clients:
        print(f"{client.env:20} {client.url}", flush=True)
    if options.follow:
        follow(views, comparison, lambda line: print(line, file=sys.stderr, flush=True))
    return 0


if __name__ == "__main__":
    run_command(main)
