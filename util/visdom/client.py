"""Talking to visdom's server: whole windows, sent with a time limit and never twice without need.

The server's own JSON protocol (visdom 0.2.4) is spoken directly: its Python client has no time limits."""

from __future__ import annotations

import http.client
import ipaddress
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit


class NoAnswer(OSError):
    """The server does not answer, or not as visdom's does."""


@dataclass(frozen=True)
class Window:
    """One pane. data: visdom's data items; items of type image_history make a pane with a slider."""

    name: str
    title: str
    width: int
    height: int
    data: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)

    def message(self, env: str, data: list[dict[str, Any]]) -> dict[str, Any]:
        """What the server is told to show these data in this pane."""
        opts = {"title": self.title, "width": self.width, "height": self.height}
        return {"win": self.name, "eid": env, "data": data, "layout": self.layout, "opts": opts}


def is_local(server: str) -> bool:
    """Whether an address means this machine."""
    host = urlsplit(server).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class VisdomClient:
    """One environment on one server. Everything raises NoAnswer within about the time limit of a request."""

    def __init__(self, server: str, port: int, env: str, timeout_s: float = 3.0) -> None:
        self.address = f"{server.rstrip('/')}:{port}"
        self.env = env.replace("/", "_").replace("+", "_")  # as the server does; "+" separates environments
        self.timeout_s = timeout_s
        # A proxy meant for the internet cannot reach this machine's own servers.
        handlers = [urllib.request.ProxyHandler({})] if is_local(server) else []
        self._opener = urllib.request.build_opener(*handlers)
        self._sent: dict[str, Window] = {}
        self._guard: tuple[str, str] | None = None  # the window sent last, and the server's mark of it

    @property
    def url(self) -> str:
        """Where a person looks at the environment."""
        return f"{self.address}/env/{quote(self.env)}"

    def post(self, endpoint: str, message: dict[str, Any]) -> str:
        """The server's answer to a message."""
        request = urllib.request.Request(
            f"{self.address}/{endpoint}", json.dumps(message).encode(), {"Content-Type": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=self.timeout_s) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise NoAnswer(f"HTTP status {error.code}") from None
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            reason = getattr(error, "reason", None) or error
            raise NoAnswer(getattr(reason, "strerror", None) or str(reason) or type(reason).__name__) from None

    def check(self) -> None:
        """Does a visdom server answer?"""
        try:
            known = json.loads(self.post("env_state", {}))
        except ValueError:
            known = None
        if not isinstance(known, list):
            raise NoAnswer("what answers there is no visdom server")

    def read(self, name: str) -> dict[str, Any]:
        """A window as the server has it."""
        return json.loads(self.post("win_data", {"win": name, "eid": self.env}))

    def show(self, windows: Sequence[Window]) -> None:
        """Bring the server to these windows, sending only what it lacks; after a restart of it, everything."""
        try:
            if self._guard is not None and not self._is_as_left():
                self._sent.clear()
            changed = [window for window in windows if self._sent.get(window.name) != window]
            for window in changed:
                self._send(window)
                self._sent[window.name] = window
            if changed:
                self._guard = (changed[-1].name, self._mark(changed[-1].name))
        except NoAnswer:
            self._sent.clear()  # whether the last message arrived is not known: the next time sends all anew
            self._guard = None
            raise

    def save(self) -> None:
        """Have the server keep the environment on disk, so that it outlives the server."""
        self.post("save", {"data": [self.env]})

    def _mark(self, name: str) -> str:
        return self.post("win_hash", {"win": name, "eid": self.env})

    def _is_as_left(self) -> bool:
        """Whether the window sent last is still what it was: a restarted server lacks it or has an older one."""
        name, mark = self._guard
        try:
            return self._mark(name) == mark
        except NoAnswer as error:
            if str(error) == "HTTP status 500":  # so the server says that it does not know the environment
                return False
            raise

    def _there(self, name: str) -> list[dict[str, Any]]:
        """The images of a history that the server holds, from an earlier client."""
        if self.post("win_exists", {"win": name, "eid": self.env}) != "true":
            return []
        content = self.read(name).get("content")
        if not isinstance(content, list):
            return [{}]  # something else, to be replaced
        return [{"type": "image_history", "content": {"src": image.get("src")}} for image in content]

    def _send(self, window: Window) -> None:
        if window.data[0]["type"] != "image_history":
            self.post("events", window.message(self.env, window.data))
            return
        known = self._sent[window.name].data if window.name in self._sent else self._there(window.name)
        if known != window.data[: len(known)]:
            # An open page goes on showing the number chosen on its slider, and breaks where the new pane has none such.
            self.post("close", {"win": window.name, "eid": self.env})
            known = []
        for i in range(len(known), len(window.data)):  # the server takes a history's images one by one
            self.post("update" if i else "events", window.message(self.env, [window.data[i]]))
