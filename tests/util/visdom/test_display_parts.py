"""The parts of the dashboard without a server: options, reading a run, its state, plots, the files of visdom's page."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from options.display import DisplayOptions
from util.training.messages import score_lines
from util.training.run_folder import RunFolder
from util.training.run_reader import RunReader, RunState, best_scores
from util.training.validation import TASKS
from util.visdom.client import VisdomClient, is_local
from util.visdom.files import FILES, missing, put_in_place
from util.visdom.images import _chosen
from util.visdom.plots import smooth, thin


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"display_port": 0}, "--display_port is 0"),
        ({"display_server": "localhost"}, "http://localhost"),
        ({"display_server": "http://localhost:8097"}, "--display_port"),
        ({"display_server": "http://[x"}, "http://localhost"),
        ({"display_server": "http://far.example", "start_visdom": True}, "this machine"),
    ],
)
def test_options_have_limits(wrong: dict, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        DisplayOptions(**wrong)


def test_addresses() -> None:
    assert VisdomClient("http://localhost/", 8097, "a/b+c d").url == "http://localhost:8097/env/a_b_c%20d"
    assert is_local("http://localhost") and is_local("http://127.0.0.1") and is_local("http://[::1]")
    assert not is_local("http://10.0.0.1") and not is_local("https://far.example")


def test_a_run_is_read_as_it_grows_and_anew_when_it_goes_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    reader = RunReader(tmp_path)
    reader.read()
    assert reader.terms == {}, "not begun"
    for step in (20, 40, 60):
        run.append({"step": step, "epoch": 0, "losses": {"a": step / 10}})
    reader.read()
    with run.losses.open("a") as file:
        file.write('{"step": 80, "losses": {"a"')
    reader.read()
    assert reader.terms["a"] == ([20, 40, 60], [2, 4, 6]), "half a line is not read"
    with run.losses.open("a") as file:
        file.write(': 8}}\n{"torn\n')
    reader.read()
    reader.read()
    assert reader.terms["a"] == ([20, 40, 60, 80], [2, 4, 6, 8]), "nor anything twice"
    run.forget_after(40)
    run.append({"step": 60, "epoch": 0, "losses": {"a": 66.0}})
    reader.read()
    assert reader.terms["a"] == ([20, 40, 60], [2, 4, 66]) and reader.step == 60


def test_states(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)

    def state(now: float = 0.0) -> RunState:
        reader = RunReader(tmp_path)
        reader.read()
        return RunState(reader, now)

    run.append({"step": 0, "epoch": 0, "event": "start", "time": 100.0, "steps": 50, "epochs": 2})
    run.append({"step": 20, "epoch": 0, "losses": {"a": 1.0}, "time": 120.0})
    assert state(121).word == "running" and state(121).left_s == pytest.approx(80) and not state(121).is_silent
    assert state(5000).is_silent
    run.append({"step": 30, "epoch": 0, "event": "stop", "time": 130.0})
    assert state(5000).word == "stopped" and state().seconds == 30 and state().left_s is None
    run.append({"step": 30, "epoch": 0, "event": "start", "time": 1000.0, "steps": 50, "epochs": 2})
    run.append({"step": 40, "epoch": 0, "losses": {"a": 1.0}, "time": 1005.0})
    resumed = state(1006)
    assert (resumed.word, resumed.resumed, resumed.seconds) == ("running", 1, 35)
    assert resumed.left_s == pytest.approx(30), "at the rate since it was resumed"
    run.append({"step": 1000, "epoch": 10, "event": "start", "time": 2000.0, "steps": 25, "epochs": 20})
    run.append({"step": 1025, "epoch": 11, "losses": {"a": 1.0}, "time": 2025.0})
    assert state(2026).left_s == pytest.approx(225), "epochs before had other numbers of steps"
    run.append({"step": 1045, "epoch": 11, "event": "nan", "reason": "the loss a", "time": 2045.0})
    assert (state().word, state().reason) == ("NaN", "the loss a")


def test_best_scores_know_the_better_direction(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for epoch, (ssim, mae) in enumerate(((0.5, 30.0), (0.4, 20.0), (math.nan, 25.0)), start=1):
        rivals = {"constant": {"ssim": 0.45, "mae": 10.0}}
        run.append({"step": epoch, "epoch": epoch, "val": {"generated": {"ssim": ssim, "mae": mae}} | rivals})
    reader = RunReader(tmp_path)
    reader.read()
    higher = {"ssim": True, "mae": False}
    assert best_scores(reader, higher) == {"ssim": ("generated", 0.5, 1), "mae": ("generated", 20.0, 2)}
    lines = score_lines(tmp_path, replace(TASKS["generation"], higher_is_better=higher, best_metric="ssim"))
    assert lines[0].split("  ")[0] == "" and "generated, epoch 1" in lines[0]
    assert "0.5" in lines[1] and "(!)" not in lines[1]
    assert "30 (!)" in lines[2], "the best weights' mae does not beat the constant"
    assert "20 (2)" in lines[2], "and another epoch's is better"


def test_smooth_is_a_weighted_mean_without_a_start_from_zero() -> None:
    assert smooth([3.0] * 50) == pytest.approx([3.0] * 50)
    y = np.array([1.0, 2.0, 5.0])
    weights = np.array([0.81, 0.9, 1.0])
    assert smooth(y)[2] == pytest.approx((weights * y).sum() / weights.sum())


def test_thin_keeps_ends_extremes_and_order() -> None:
    y = np.sin(np.arange(50_000) / 7)
    y[12_345], y[23_456] = 9.0, -9.0
    few_x, few_y = thin(range(50_000), y, 600)
    assert 500 <= len(few_x) <= 600 and few_x == sorted(set(few_x))
    assert few_x[0] == 0 and few_x[-1] == 49_999 and max(few_y) == 9.0 and min(few_y) == -9.0
    assert all(y[int(i)] == v for i, v in zip(few_x, few_y, strict=True))
    assert thin([1, 2], [3, 4]) == ([1, 2], [3, 4])


def test_pictures_under_the_slider_stay_few() -> None:
    assert _chosen(range(1, 6), 16) == [1, 2, 3, 4, 5]
    many = _chosen(range(1, 201), 16)
    assert len(many) <= 17 and many[0] == 1 and many[-1] == 200
    assert _chosen([], 16) == []


class Registry:
    """A small npm registry; `damaged` names a package whose archive is not what its metadata says."""

    def __init__(self) -> None:
        self.damaged = ""
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                answer = outer.answer(self.path)
                self.send_response(200 if answer else 404)
                self.end_headers()
                self.wfile.write(answer or b"")

            def log_message(self, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def archive(package: str) -> bytes:
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w:gz") as archive:
            for inner in FILES[package]:
                content = f"{package} {inner}".encode()
                info = tarfile.TarInfo(f"package/{inner}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return memory.getvalue()

    def answer(self, path: str) -> bytes | None:
        name, _, version = path.strip("/").rpartition("/")
        if name == "archives":
            return self.archives[version]
        package = f"{name}@{version}"
        if package not in FILES:
            return None
        self.archives = {package: self.archive(package)}
        digest = hashlib.sha512(self.archives[package] + b"!" * (package == self.damaged)).digest()
        dist = {"tarball": f"{self.url}archives/{package}", "integrity": f"sha512-{base64.b64encode(digest).decode()}"}
        if package.startswith("sjcl"):  # an old package has the other sum only
            dist = {"tarball": dist["tarball"], "shasum": hashlib.sha1(self.archives[package]).hexdigest()}
        return json.dumps({"dist": dist}).encode()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    made = Registry()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_the_files_come_from_a_registry_once(registry: Registry, tmp_path: Path) -> None:
    assert len(missing(tmp_path)) == 29
    registry.damaged = "d3@3.5.17"
    with pytest.raises(OSError, match=r"d3@3\.5\.17.*damaged"):
        put_in_place(tmp_path, registry.url)
    assert not (tmp_path / "js" / "d3.v3.min.js").exists() and not (tmp_path / "version.built").exists()
    registry.damaged = ""
    put_in_place(tmp_path, registry.url)
    assert missing(tmp_path) == [] and (tmp_path / "version.built").read_text() == "0.2.4"
    assert (tmp_path / "js/react-react.min.js").read_text() == "react@16.2.0 umd/react.production.min.js"
    asked = len(registry.asked)
    assert put_in_place(tmp_path, registry.url) == 0 and len(registry.asked) == asked, "nothing is fetched twice"
    (tmp_path / "fonts/classnames").write_bytes(b"")
    assert missing(tmp_path) == ["fonts/classnames"], "an empty file is none"
    assert put_in_place(tmp_path, registry.url) == 1
    with pytest.raises(OSError, match="127.0.0.1"):
        put_in_place(tmp_path / "other", "http://127.0.0.1:9/")
    for page in (b"<html>log in</html>", b'{"name": "d3"}', b"[]"):  # of a proxy
        registry.answer = lambda path, page=page: page
        with pytest.raises(OSError, match="answers what no npm registry does"):
            put_in_place(tmp_path / "other", registry.url)


def test_scores_of_before_are_not_beside_those_that_are_judged_anew(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    start = {"event": "start", "time": 1.0, "steps": 10, "epochs": 3}
    for epoch, (ssim, anew) in enumerate(((0.9, True), (0.4, True), (0.5, False)), start=1):
        run.append(start | {"step": 10 * (epoch - 1), "epoch": epoch - 1, "judged_anew": anew})
        run.append({"step": 10 * epoch, "epoch": epoch, "val": {"generated": {"ssim": ssim}}})
    reader = RunReader(tmp_path)
    reader.read()
    assert best_scores(reader, {"ssim": True}) == {"ssim": ("generated", 0.5, 3)}
    task = replace(TASKS["generation"], higher_is_better={"ssim": True}, best_metric="ssim")
    assert "epoch 3" in score_lines(tmp_path, task)[0]
