"""Options of the dashboard: where visdom's server is, and whether to start one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit


@dataclass(frozen=True)
class ServerOptions:
    """Dashboard: visdom's server."""

    display_server: str = "http://localhost"
    """Address of visdom's server, without the port."""
    display_port: int = 8097
    """Port of visdom's server, in [1, 65535]."""
    start_visdom: bool = False
    """Start visdom's server on this machine if none answers; it goes on when the command has ended. The files of
    its page are fetched from the npm registry first where they are missing."""
    visdom_public: bool = False
    """A server started by start_visdom answers all machines, not only this one. It asks for no password."""

    def __post_init__(self) -> None:
        if not 1 <= self.display_port <= 65535:
            raise ValueError(f"--display_port is {self.display_port}: give a port in [1, 65535]")
        try:
            parts = urlsplit(self.display_server)
            right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port is None
        except ValueError:
            right = False
        if not right:
            raise ValueError(
                f"--display_server {self.display_server!r}: give an address like http://localhost, "
                "with the port in --display_port"
            )
        if self.start_visdom and parts.hostname not in ("localhost", "127.0.0.1"):
            raise ValueError(
                f"--start_visdom starts a server on this machine: leave out --display_server {self.display_server}"
            )


@dataclass(frozen=True)
class DisplayOptions(ServerOptions):
    """Dashboard: the run's curves and images in visdom while it trains."""

    display: Literal["auto", "visdom", "none"] = "auto"
    """auto: visdom if its server answers within a second. visdom: also waits, in the background, for a server that
    comes later. none: no dashboard."""
    display_env: str | None = None
    """Environment of visdom that shows the run; by default the run's name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start_visdom and self.display == "none":
            raise ValueError(
                "--start_visdom and --display none: leave one out; a run begun so also wants --display auto"
            )
