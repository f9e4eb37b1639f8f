"""The dashboard's data on a real visdom server, through its HTTP interface, and what a bad server costs a run."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from PIL import Image

from models.cycle_gan import CycleGAN
from scripts.dashboard import follow, update
from tests.conftest import TINY
from tests.training_fixtures import begun
from tests.visdom_fixtures import Server, free_port, running_server
from util.device import select_device
from util.json_file import read_lines
from util.pages.previews import Previews
from util.training.progress import Progress
from util.training.run_folder import RunFolder
from util.training.run_log import RunLog
from util.training.state import NotFinite
from util.visdom.client import NoAnswer, VisdomClient
from util.visdom.display import FIRST_ANSWER_S, LAST_S, Comparison, Display, RunView
from util.visdom.server import ensure_server, start_server
from util.visdom.watching import Watch

BASELINES = {"luminance": {"ssim": 0.3}, "constant": {"ssim": 0.2}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running_server(tmp_path_factory.mktemp("visdom"))


def note(run: RunFolder, step: int) -> None:
    losses = {"adv_infrared": 1.0 / step, "content_visible": 10.0 / step, "real_infrared": 0.25}
    run.append({"step": step, "epoch": 0, "losses": losses, "lr": 2e-4, "images_per_second": 3.5, "data_wait": 0.25,
                "memory": 2.5, "time": 1000.0 + step})  # fmt: skip


def written(path: Path, steps: int = 5) -> RunFolder:
    """A run that has validated twice and goes on."""
    run = RunFolder(path)
    facts = {"data": {"summary": "two pairs"}, "loss_groups": CycleGAN.loss_groups}
    run.write_options({"run": {"name": path.name, "model": "cycle_gan"}}, facts)
    run.append({"step": 0, "epoch": 0, "event": "start", "time": 1000.0, "steps": 50, "epochs": 4})
    for step in range(20, 20 * steps + 1, 20):
        note(run, step)
    for epoch, ssim in ((1, 0.5), (2, 0.4)):
        images = {"visible": -torch.ones(1, 3, 96, 240), "generated": torch.ones(1, 1, 96, 240)}
        images |= {"infrared": torch.ones(1, 1, 96, 240), "cycled": -torch.ones(1, 3, 96, 240)}
        Previews(run.web).write(epoch, [("a", images)])
        run.append({"step": 50 * epoch, "epoch": epoch, "val": {"generated": {"ssim": ssim}} | BASELINES})
    return run


def windows(client: VisdomClient) -> dict[str, dict]:
    return json.loads(client.post("win_data", {"win": None, "eid": client.env}))


def curves(window: dict) -> dict[str, tuple[list, list]]:
    return {trace["name"]: (trace["x"], trace["y"]) for trace in window["content"]["data"]}


def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    ends = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except (NoAnswer, KeyError):
            pass
        assert time.monotonic() < ends, "did not come about"
        time.sleep(0.05)


def test_windows_hold_what_the_run_wrote(server: Server, tmp_path: Path) -> None:
    run = written(tmp_path / "one")
    client = server.client("one")
    RunView(run.path, client).update()
    shown = windows(client)
    assert list(shown)[:4] == ["state", "scores", "options", "samples"]
    adversarial = curves(shown["loss_adversarial"])
    assert adversarial["adv_infrared raw"][0] == [20, 40, 60, 80, 100]
    assert adversarial["adv_infrared raw"][1] == pytest.approx([1 / s for s in (20, 40, 60, 80, 100)], rel=1e-5)
    assert set(curves(shown["loss_content"])) == {"content_visible", "content_visible raw"}, "scales stand apart"
    assert set(curves(shown["loss_discriminator"])) == {"real_infrared", "real_infrared raw"}
    scores = curves(shown["score_ssim"])
    assert scores["generated"] == ([50, 100], [0.5, 0.4])
    assert scores["luminance"] == ([0, 50, 100, 100], [0.3] * 4), "a baseline is a line across"
    assert "best 0.5, epoch 1" in shown["score_ssim"]["content"]["layout"]["title"]["text"]
    rates = {name: curves(window) for name, window in shown.items() if name.startswith("rate_")}
    assert set(rates) == {"rate_lr", "rate_images_per_second", "rate_data_wait", "rate_memory"}
    assert next(iter(rates["rate_data_wait"].values()))[1] == [25.0] * 5, "in per cent"
    state = re.sub("<[^>]*>", " ", shown["state"]["content"])
    assert "running" in state and "2 of 4 done" in state and "100 of 200" in state and "to go" in state
    assert "two pairs" in shown["options"]["content"] and "cycle_gan" in shown["options"]["content"]
    history = shown["samples"]["content"]
    assert len(history) == 2 and shown["samples"]["selected"] == 1, "a picture for each validation, the last is shown"
    picture = Image.open(io.BytesIO(base64.b64decode(history[-1]["src"].partition(",")[2]))).convert("L")
    scale = picture.width / (4 * 246 + 6)
    tiles = [picture.getpixel((round((126 + 246 * column) * scale), round(96 * scale))) for column in range(4)]
    assert [round(grey / 255) for grey in tiles] == [0, 1, 1, 0], "visible, generated, infrared, cycled"
    above, below = (picture.getpixel((round(126 * scale), round(144 * scale) + beside)) for beside in (-5, 5))
    assert above < 30 and below > 220, "aspects are kept"


def test_only_what_changed_is_sent_and_all_of_it_to_a_new_server(server: Server, tmp_path: Path) -> None:
    run = written(tmp_path / "two")
    client = server.client("two")
    view = RunView(run.path, client)
    view.update()
    before = windows(client)
    note(run, 120)
    view.update()
    after = windows(client)
    changed = {name for name in after if after[name]["contentID"] != before[name]["contentID"]}
    assert "loss_adversarial" in changed and not changed & {"options", "samples", "scores"}
    server.kill()
    with pytest.raises(NoAnswer, match="refused"):
        view.update()
    server.start()
    note(run, 140)
    view.update()
    again = windows(client)
    assert set(again) == set(after)
    assert curves(again["loss_adversarial"])["adv_infrared raw"][0] == [20, 40, 60, 80, 100, 120, 140]
    server.kill()
    server.start()
    view.update()  # nothing new, and the server's end went unnoticed
    assert curves(windows(client)["loss_adversarial"])["adv_infrared raw"][0] == [20, 40, 60, 80, 100, 120, 140]


def test_a_server_that_ends_in_mid_run_costs_one_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("util.visdom.display.LAST_S", 60.0)  # a busy machine must not decide
    run, lines = written(tmp_path / "three"), []
    display = Display(RunView(run.path, server.client("three")), False, lines.append)
    display.interval_s, display.back_off_s = 0.05, (0.05, 0.1)
    client = server.client("three")
    assert display.start() == client.url
    until(lambda: "loss_adversarial" in windows(client))
    server.kill()
    for step in range(120, 400, 20):
        note(run, step)
        time.sleep(0.03)
    until(lambda: bool(lines))
    assert len(lines) == 1 and "does not answer" in lines[0] and "\n" not in lines[0]
    server.start()

    def complete() -> bool:
        return curves(windows(client)["loss_adversarial"])["adv_infrared raw"][0] == list(range(20, 400, 20))

    until(complete)
    until(lambda: display.connected)
    note(run, 400)
    display.close()
    assert curves(windows(client)["loss_adversarial"])["adv_infrared raw"][0] == list(range(20, 401, 20)), "the last"
    assert len(lines) == 1, "silence after the line"


def test_following_waits_for_a_server_that_ends(server: Server, tmp_path: Path) -> None:
    """It says so once, and again when the server is back, which then has all, the run's end too."""
    runs, lines = [written(tmp_path / name) for name in ("four", "five")], []
    views = [RunView(run.path, server.client(run.path.name)) for run in runs]
    both = Comparison(views, server.client("four and five"))
    update(views, both)
    thread = threading.Thread(target=follow, args=(views, both, lines.append, 0.05), daemon=True)
    thread.start()
    server.kill()
    until(lambda: bool(lines))
    for run in runs:
        note(run, 120)
        run.append({"step": 120, "epoch": 2, "event": "finish", "time": 2000.0})
    time.sleep(0.3)
    assert thread.is_alive() and len(lines) == 1, "all runs have ended, but their end is not shown"
    server.start()
    thread.join(20)
    assert not thread.is_alive()
    assert len(lines) == 2 and f"{server.port} does not answer" in lines[0] and "is back" in lines[1]
    for run in runs:
        shown = windows(server.client(run.path.name))
        assert curves(shown["loss_adversarial"])["adv_infrared raw"][0] == [20, 40, 60, 80, 100, 120]
        assert "finished" in shown["state"]["content"] and len(shown["samples"]["content"]) == 2
        assert list(server.folder.glob(f"start {server.starts}/{run.path.name}.json")), "and keeps it"
    assert "loss_adv_infrared" in windows(server.client("four and five"))


@pytest.fixture
def dead_socket() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield listener.getsockname()[1]


def test_a_server_that_hangs_does_not_block(dead_socket: int, tmp_path: Path) -> None:
    run = written(tmp_path / "r")
    for patient in (False, True):
        display = Display(RunView(run.path, VisdomClient("http://127.0.0.1", dead_socket, "r", 1.5)), patient, print)
        begun = time.monotonic()
        assert display.start() is None
        display.close()
        assert time.monotonic() - begun < FIRST_ANSWER_S + 0.5


def answer_once(listener: socket.socket, body: bytes) -> None:
    """Answer the first request with this body, from a thread; then nothing more."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)

    threading.Thread(target=answer, daemon=True).start()


def test_a_server_that_hangs_later_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """It answers once, and then takes connections only."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)

        answer_once(listener, b"[]")
        lines: list[str] = []
        client = VisdomClient("http://127.0.0.1", listener.getsockname()[1], "r", 0.5)
        display = Display(RunView(written(tmp_path / "r").path, client), False, lines.append)
        assert display.start() == client.url
        until(lambda: bool(lines))
        begun = time.monotonic()
        display.close()
        assert time.monotonic() - begun < LAST_S and len(lines) == 1


def test_what_is_no_visdom_server_is_told_apart() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)

        answer_once(listener, b"<html>")
        with pytest.raises(NoAnswer, match="no visdom server"):
            VisdomClient("http://127.0.0.1", listener.getsockname()[1], "x").check()


def test_a_run_and_its_resumption_make_one_curve(
    command: Callable,
    server: Server,
    pairs_root: Path,
    tmp_path: Path,
) -> None:
    base = ["--dataroot", pairs_root, "--name", "whole run", *TINY, "--max_dataset_size", 4, "--n_epochs_decay", 0]
    display = ["--display", "visdom", "--display_server", "http://127.0.0.1", "--display_port", server.port]
    done = command("train.py", *base, *display, "--n_epochs", 2)
    url = f"http://127.0.0.1:{server.port}/env/whole%20run"
    assert done.stdout.count(f"dashboard {url}") == 2, "at the beginning and in the summary"
    assert "generated, epoch" in done.stdout and "next      python test.py --name 'whole run'" in done.stdout
    client = server.client("whole run")
    assert "finished" in windows(client)["state"]["content"]
    command("train.py", "--name", "whole run", "--continue_train", "--n_epochs", 4)
    shown = windows(client)
    steps, _ = curves(shown["loss_adversarial"])["adv_infrared raw"]
    records = read_lines(tmp_path / "checkpoints" / "whole run" / "losses.jsonl")
    assert steps == [r["step"] for r in records if "losses" in r] == sorted(set(steps)) and steps[-1] == 16
    assert curves(shown["score_ssim"])["generated"][0] == [4, 8, 12, 16]
    assert len(shown["samples"]["content"]) == 4
    assert [r["event"] for r in records if "event" in r] == ["start", "finish", "start", "finish"]
    assert "resumed 1" in shown["state"]["content"]


def test_without_a_server_a_run_says_one_line(command: Callable, pairs_root: Path, dead_socket: int) -> None:
    base = ["--dataroot", pairs_root, *TINY, "--max_dataset_size", 2, "--n_epochs", 1, "--n_epochs_decay", 0]
    done = command("train.py", *base, "--name", "a", "--display", "auto", "--display_port", dead_socket)
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("dashboard")]
    assert "--start_visdom" in line
    done = command("train.py", *base, "--name", "b", "--display", "none")
    assert "dashboard" not in done.stdout + done.stderr


def test_runs_are_replayed_and_compared(command: Callable, server: Server, tmp_path: Path) -> None:
    for name in ("x", "y"):
        written(tmp_path / "checkpoints" / name, steps=4 if name == "x" else 6)
    where = ["--display_server", "http://127.0.0.1", "--display_port", server.port]
    done = command("scripts.dashboard", "--name", "x", "y", *where)
    assert re.findall(r"/env/(\w+)", done.stdout) == ["x", "y", "comparison"]
    assert "loss_adversarial" in windows(server.client("x"))
    shown = windows(server.client("comparison"))
    adversarial = curves(shown["loss_adv_infrared"])
    assert len(adversarial["x raw"][0]) == 4 and len(adversarial["y raw"][0]) == 6
    assert curves(shown["score_ssim"])["y"] == ([50, 100], [0.5, 0.4])
    assert curves(shown["score_ssim"])["luminance"] == ([0, 120], [0.3, 0.3])
    assert "best SSIM" in shown["runs"]["content"]
    assert "x, y" in command("scripts.dashboard", "--name", "z", *where, status=2).stderr
    assert "--start_visdom" in command("scripts.dashboard", "--name", "x", "--display_port", 9, status=2).stderr
    assert "--name is without a value" in command("scripts.dashboard", "--name", "--display_port", 9, status=2).stderr


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (None, "finish"),
        (NotFinite("the loss adv at step 3"), "nan"),
        (KeyboardInterrupt(), "stop"),
        (OSError("full"), "error"),
    ],
)
def test_every_end_is_noted(tmp_path: Path, error: BaseException | None, event: str) -> None:
    run = RunFolder(tmp_path)
    expected = pytest.raises(type(error)) if error is not None else nullcontext()
    state = begun()
    state.total, state.epoch = 3, 1
    log = RunLog(run, state, select_device("cpu", "fp32"), Progress(2, 5, 3, 1, 1e9, False, {}))
    with expected, Watch(log, {"steps": 5, "epochs": 2}):
        if error is not None:
            raise error
    first, ended = read_lines(run.losses)
    assert first["event"] == "start" and first["steps"] == 5
    assert ended["event"] == event and ended["step"] == 3
    assert ("reason" in ended) == (event in ("nan", "error"))


def test_comparison_of_runs_without_scores(server: Server, tmp_path: Path) -> None:
    views = []
    for name in ("p", "q"):
        run = RunFolder(tmp_path / name)
        run.path.mkdir()
        note(run, 20)
        views.append(RunView(run.path, server.client(name)))
        views[-1].update()
    client = server.client("p and q")
    Comparison(views, client).update()
    assert "loss_adv_infrared" in windows(client)


def test_a_server_is_started_once_also_without_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(static: Path) -> int:
        raise OSError("the registry does not answer")

    monkeypatch.setattr("util.visdom.server.default_folder", lambda: tmp_path)
    monkeypatch.setattr("util.visdom.server.missing", lambda static: ["js/one.js"])
    monkeypatch.setattr("util.visdom.server.put_in_place", unreachable)
    port, lines = free_port(), []
    ensure_server("http://localhost", port, False, lines.append)
    process = int(re.search(r"kill (\d+)", lines[-1])[1])
    try:
        assert "for want of 1 file (the registry does not answer)" in lines[1] and "visdom_offline" in lines[1]
        assert "this machine only" in lines[2] and os.getsid(process) != os.getsid(0), "Ctrl-C is not meant for it"
        VisdomClient("http://127.0.0.1", port, "x").check()
        ensure_server("http://localhost", port, False, lines.append)
        assert "answers already" in lines[-1]
    finally:
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)


def test_a_server_that_cannot_start_is_one_line(dead_socket: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=f"did not start on port {dead_socket}.*in use"):
        start_server(dead_socket, folder=tmp_path)
