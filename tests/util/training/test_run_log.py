"""The run folder, losses and scores on their way to it, progress lines, batches."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from data.loader import Batches
from tests.training_fixtures import begun, train
from util.device import select_device
from util.files import write_whole
from util.json_file import read_lines
from util.pages.previews import Previews
from util.pages.training_page import curves, write_training_page
from util.text import duration
from util.training.progress import Progress
from util.training.run_folder import CHECKPOINT_FORMAT, RunFolder
from util.training.run_log import LossLog, RunLog
from util.training.run_reader import RunReader
from util.training.state import NotFinite


def test_losses_arrive_as_means_one_collection_late() -> None:
    log = LossLog()
    for value in (1.0, 3.0):
        log.add({"a": torch.tensor(value), "b": torch.tensor(2 * value)})
    assert log.collect(2) is None
    log.add({"a": torch.tensor(10.0), "b": torch.tensor(0.0)})
    assert log.flush(3) == [(2, {"a": 2.0, "b": 4.0}), (3, {"a": 10.0, "b": 0.0})]
    assert log.flush(3) == [], "nothing is told twice"


def test_records_after_a_checkpoint_are_forgotten_and_a_torn_line_too(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for step in (20, 40, 60):
        run.append({"step": step})
    with run.losses.open("a") as file:
        file.write('{"step": 8')
    assert [record["step"] for record in read_lines(run.losses)] == [20, 40, 60]
    run.forget_after(40)
    assert run.losses.read_text() == '{"step": 20}\n{"step": 40}\n'


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path)
    run.save_checkpoint({"format": CHECKPOINT_FORMAT, "epoch": 1})
    write_whole(run.options, b"old")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        run.save_checkpoint({"epoch": 2})
    with pytest.raises(OSError, match="no space"):
        write_whole(run.options, b"new")
    assert run.load_checkpoint()["epoch"] == 1 and run.options.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "options.json"]


def test_a_full_disk_is_named_with_its_file_and_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.save raises its own error over the system's where the disk is full in the midst of a file."""
    run = RunFolder(tmp_path)
    run.save_checkpoint({"format": CHECKPOINT_FORMAT, "epoch": 1})
    opened = Path.open

    class Full(io.FileIO):
        def write(self, data: bytes) -> int:
            if self.tell() > 4096:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    def open_full(path: Path, mode: str = "r", **more: object) -> object:
        return Full(path, mode) if "w" in mode else opened(path, mode, **more)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(OSError) as full:
        run.save_checkpoint({"format": CHECKPOINT_FORMAT, "many": torch.zeros(10000), "more": torch.zeros(10000)})
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, str(run.checkpoint))
    monkeypatch.undo()
    assert run.load_checkpoint()["epoch"] == 1 and [path.name for path in tmp_path.iterdir()] == ["last.pt"]
    run.losses.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"losses\.jsonl") as full:
        run.append({"step": 1})
    assert full.value.errno == errno.ENOSPC


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_a_flipped_bit_of_a_checkpoint_is_found(tmp_path: Path, place: float) -> None:
    run = RunFolder(tmp_path)
    run.save_checkpoint({"format": CHECKPOINT_FORMAT, "weights": torch.rand(4000)})
    content = bytearray(run.checkpoint.read_bytes())
    content[round(place * len(content))] ^= 4
    run.checkpoint.write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.pt: is damaged"):
        run.load_checkpoint()


@pytest.mark.parametrize("value", [[1, 2], 7, torch.ones(2), None])
def test_a_checkpoint_that_holds_no_dict_is_one_line(tmp_path: Path, value: object) -> None:
    run = RunFolder(tmp_path)
    torch.save(value, run.checkpoint)
    with pytest.raises(ValueError, match=r"last\.pt: is damaged, or no checkpoint"):
        run.load_checkpoint()


def test_a_new_run_takes_only_a_folder_that_is_free(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.check_free()
    run.path.mkdir()
    (run.path / ".lock").touch()
    run.check_free()
    for name in ("losses.jsonl", "photo.jpg", "options.json", "web"):
        (run.path / name).write_text("{}")
        with pytest.raises(ValueError, match=f"run holds files that are of no run .{name}.*--name"):
            run.check_free()
        (run.path / name).unlink()
    run.write_options({}, {})
    run.append({"step": 1})
    (run.web / "images").mkdir(parents=True)
    (run.web / "images" / ".x.png.7.part").touch()
    run.check_free()
    run.clear()
    assert {path.name for path in run.path.iterdir()} == {".lock", "options.json"}
    (run.path / "mine.safetensors").touch()
    with pytest.raises(ValueError, match=r"holds weights .mine\.safetensors"):
        run.check_free()
    (run.path / "mine.safetensors").unlink()
    run.save_checkpoint({})
    with pytest.raises(ValueError, match="--continue_train"):
        run.check_free()


def test_a_run_that_another_went_on_with_is_left_alone(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.save_checkpoint({"format": CHECKPOINT_FORMAT})
    run.load_checkpoint()
    run.check_unchanged()
    RunFolder(tmp_path).save_checkpoint({"format": CHECKPOINT_FORMAT, "more": 1})
    with pytest.raises(ValueError, match="meanwhile"):
        run.check_unchanged()


@pytest.mark.parametrize(
    "line",
    [
        {"losses": {"a": 1.0}},
        {"step": "1"},
        {"step": None},
        {"step": 2, "losses": [1]},
        {"step": 2, "losses": {"a": "x"}},
        {"step": 2, "epoch": 1, "val": {}},
        {"step": 2, "epoch": 1, "val": {"generated": [1]}},
        {"step": 2, "val": {"generated": {"a": 1}}},
        {"step": 2, "epoch": "1"},
        {"step": 2, "event": 3, "time": 1},
        {"step": 2, "event": "stop"},
        {"step": 2, "lr": []},
        {"step": 2, "time": 1e300},
        {"step": 2, "event": "start", "time": 1, "steps": 3},
    ],
)
def test_a_line_that_no_run_wrote_counts_as_none(tmp_path: Path, line: dict) -> None:
    run = RunFolder(tmp_path)
    record = {"step": 1, "epoch": 1, "val": {"generated": {"ssim": 0.5}}, "best": True, "time": 3.0}
    start = {"step": 0, "epoch": 0, "event": "start", "time": 2.0, "steps": 4, "epochs": 2, "metric": "ssim"}
    for one in (start, line, record):
        run.append(one)
    reader = RunReader(tmp_path)
    reader.read()
    assert reader.scores == [record] and reader.events == [start]
    run.forget_after(5)
    assert len(read_lines(run.losses)) == 2


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04junk"])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    run = RunFolder(tmp_path)
    if content is not None:
        run.checkpoint.write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.pt"):
        run.load_checkpoint()


def test_weights_by_name() -> None:
    run = RunFolder(Path("x"))
    assert [run.weights(n).name for n in ("best", "last", "7")] == [
        "best.safetensors",
        "last.safetensors",
        "epoch_0007.safetensors",
    ]


def test_progress_counts_from_where_it_went_on(capsys: pytest.CaptureFixture) -> None:
    now = [100.0]
    groups = {"adv": ("adv_infrared", "adv_visible")}
    progress = Progress(2, 10, 15, images=4, every=0.0, shown=True, groups=groups, clock=lambda: now[0])
    progress.start_epoch(1, 5)
    progress.show({"adv_infrared": 1.0, "adv_visible": 2.0, "self_visible": 0.5})
    now[0] += 10
    progress.step(waited=2.0)
    line = capsys.readouterr().out
    assert (
        "epoch 2/2 step 6/10  0.4 img/s, waits 20% for images, 40 s left in all" in line
        and "adv 3 self_visible 0.5" in line
    )
    assert progress.rate == pytest.approx(0.4) and progress.remaining == pytest.approx(40)
    assert progress.wait_share == pytest.approx(0.2)
    assert [duration(s) for s in (5, 65, 7300)] == ["5 s", "1 min 5 s", "2 h 1 min"]


def test_rates_forget_slow_first_steps_and_leave_out_what_is_between_epochs() -> None:
    now = [0.0]
    progress = Progress(epochs=3, steps=50, done=0, images=1, every=1e9, shown=False, groups={}, clock=lambda: now[0])
    progress.start_epoch(0, 0)
    for seconds in [60.0] + [1.0] * 49:
        now[0] += seconds
        progress.step(0.0)
        assert progress.rate == pytest.approx(1 / 60 if progress.done == 1 else 1.0), "not the first minute"
    assert progress.remaining == pytest.approx(100)
    progress.end_epoch()
    now[0] += 20
    progress.start_epoch(1, 0)
    now[0] += 1
    progress.step(0.0)
    assert progress.rate == pytest.approx(1.0), "not the validation"
    assert progress.remaining == pytest.approx(99 + 2 * 20), "but time is left for the validations to come"


def test_curves_group_terms_and_show_baselines(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_options({}, {"loss_groups": {"adversarial": ["adv_infrared", "adv_visible"], "other": ["absent"]}})
    for record in (
        {"step": 20, "losses": {"adv_infrared": 1.0, "adv_visible": 2.0, "self": 0.1}},
        {"step": 40, "losses": {"adv_infrared": 0.5, "adv_visible": 1.0, "self": 0.2}},
        {"step": 40, "epoch": 1, "val": {"generated": {"ssim": 0.4}, "luminance": {"ssim": 0.3}}},
    ):
        run.append(record)
    reader = RunReader(tmp_path)
    reader.read()
    plots = {curve.title: curve.series for curve in curves(reader)}
    assert list(plots) == ["Adversarial losses", "Self losses", "Validation SSIM"]
    assert plots["Adversarial losses"]["adv_visible"] == [(20, 2.0), (40, 1.0)]
    assert plots["Validation SSIM"] == {"generated": [(40, 0.4)], "luminance": [(40, 0.3)]}
    for damaged in (3, {"adversarial": 3}):
        run.write_options({}, {"loss_groups": damaged})
        assert list(reader.loss_groups()) == ["adv_infrared", "adv_visible", "self"], "each by itself"


def test_previews_of_long_names_are_written(tmp_path: Path) -> None:
    images = {"visible": torch.zeros(1, 3, 4, 4), "generated": torch.zeros(1, 1, 4, 4)}
    long = "ä" * 120
    Previews(tmp_path).write(1, [(long + "a", images), (long + "b", images), ("short", images)])
    names = [name for name, _ in Previews(tmp_path).rows()]
    assert len(names) == 3 and "epoch 1, short" in names


def test_previews_are_listed_newest_first(tmp_path: Path) -> None:
    previews = Previews(tmp_path)
    images = {"visible": torch.zeros(1, 3, 8, 12), "generated": torch.ones(1, 1, 8, 12)}
    for epoch in (1, 10):
        previews.write(epoch, [("FLIR-video_1", images), ("b", images)])
    rows = previews.rows()
    assert [name for name, _ in rows] == [
        "epoch 10, FLIR-video_1",
        "epoch 10, b",
        "epoch 1, FLIR-video_1",
        "epoch 1, b",
    ]
    assert set(rows[0][1]) == {"visible", "generated"} and (tmp_path / "grids" / "epoch_0010.png").is_file()
    previews.write(11, [])
    (tmp_path / "images" / "epoch_0011-b-visible.png").touch()  # as a kill left it, when they were written in place
    (tmp_path / "images" / "epoch_0012-b-visible.png").write_bytes(rows[0][1]["visible"].read_bytes()[:-9])
    assert previews.rows() == rows and not list(tmp_path.rglob("*.part"))


def test_a_checkpoint_of_another_format_is_refused_in_one_line(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.save_checkpoint({"format": CHECKPOINT_FORMAT - 1, "epoch": 1})
    with pytest.raises(ValueError, match="another version"):
        run.load_checkpoint()


def test_a_run_records_losses_scores_and_their_page(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    state, run = begun(), RunFolder(tmp_path)
    progress = Progress(epochs=2, steps=4, done=0, images=1, every=1e9, shown=False, groups={})
    log = RunLog(run, state, select_device("cpu", "fp32"), progress)
    for value in (1.0, 3.0):
        train(state, 1)
        log.add({"loss": torch.tensor(value)})
    log.collect()
    assert read_lines(run.losses) == [], "losses arrive one collection late"
    train(state, 1)
    log.add({"loss": torch.tensor(9.0)})
    log.flush()
    state.epoch = 1
    log.validated({"generated": {"ssim": 0.5}}, True)
    write_training_page(log.reader, {"method": "toy"}, {"ssim": True}, running=True)
    first, second, scores = read_lines(run.losses)
    assert [(record["step"], record["losses"]) for record in (first, second)] == [(2, {"loss": 2}), (3, {"loss": 9})]
    assert set(first) == {"step", "epoch", "losses", "lr", "images_per_second", "data_wait", "time"}
    assert (scores["step"], scores["epoch"], scores["val"]) == (3, 1, {"generated": {"ssim": 0.5}})
    assert "epoch 1 val (best so far)" in capsys.readouterr().out
    page = (run.web / "index.html").read_text()
    assert "toy" in page and "Validation after epoch 1" in page and "best weights" not in page
    state.epoch = 2
    log.validated({"generated": {"ssim": 0.25}}, False)
    write_training_page(log.reader, {"method": "toy"}, {"ssim": True}, running=True)
    page = (run.web / "index.html").read_text()
    assert page.index("Validation of the best weights, epoch 1") < page.index("Validation after epoch 2")
    log.validated({"generated": {"ssim": 0.2, "cc": -0.1}, "constant": {"ssim": 0.1, "cc": float("nan")}}, False)
    assert read_lines(run.losses)[-1]["val"]["constant"] == {"ssim": 0.1} and "NaN" not in run.losses.read_text()
    assert "swapped" not in capsys.readouterr().out
    log.validated({"generated": {"ssim": 0.2, "cc": -0.2}}, False)
    write_training_page(log.reader, {"method": "toy"}, {"ssim": True}, running=True)
    assert (
        "below 0 twice in a row (-0.20)" in capsys.readouterr().out
        and "n/a" not in (run.web / "index.html").read_text()
    )
    log.add({"loss": torch.tensor(float("nan"))})
    with pytest.raises(NotFinite, match="the loss loss at step 3"):
        log.flush()
    assert len(read_lines(run.losses)) == 6, "what is no number is not recorded"


def test_batches_reach_the_device_and_unreadable_images_are_named_once(capsys: pytest.CaptureFixture) -> None:
    bad = [("a.png", "is truncated")]
    white = torch.full((1, 3, 4, 6), 255, dtype=torch.uint8)
    items = [{"visible": white, "skipped": bad if i < 3 else []} for i in range(4)]
    loader = DataLoader(items, batch_size=None)
    with Batches(loader, 2, select_device("cpu", "fp32")) as batches:
        for _ in range(2):
            images, waited = batches.read()
            assert [image["visible"].unique().tolist() for image in images] == [[1.0], [1.0]] and waited >= 0
            assert list(images[0]) == ["visible"]
    assert capsys.readouterr().err == "skipped a.png: is truncated (1 so far)\n"
    failing = DataLoader([{"error": ValueError("nothing can be read")}], batch_size=None)
    with (
        Batches(failing, 1, select_device("cpu", "fp32")) as batches,
        pytest.raises(ValueError, match="nothing can be read"),
    ):
        batches.read()
