"""What train.py says after a validation and at its end, from plain values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.training_fixtures import begun, train
from util.training.messages import failed, finished, inverted, stopped, validated
from util.training.ranks import RankLost
from util.training.run_folder import RunFolder
from util.training.state import NotFinite
from util.training.validation import TASKS


def test_validation_has_a_line_for_each_method() -> None:
    lines = validated(3, {"generated": {"ssim": 0.51239, "mae": 20.0}, "constant": {"ssim": 0.1, "mae": 9.5}}, True)
    assert lines == [
        "epoch 3 val (best so far)",
        "  generated           SSIM 0.5124  MAE 20",
        "  constant            SSIM 0.1  MAE 9.5",
    ]
    assert validated(3, {}, False) == ["epoch 3 val"]
    assert validated(3, {"constant": {"cc": float("nan")}}, False)[1] == "  constant            CC n/a"


def test_hot_and_cold_swapped_twice_is_one_line_with_the_remedy() -> None:
    down, up = ({"generated": {"cc": value}, "luminance": {"cc": -0.5}} for value in (-0.25, 0.1))
    (line,) = inverted([up, down, down])
    assert "(-0.25)" in line and "--seed" in line and "--sampling mixed" in line
    for others in ([], [down], [down, up], [up, down], [down, {"fused": {"SSIM": 1.0}}], [down, {"generated": {}}]):
        assert inverted(others) == []


def test_a_stopped_run_is_continued_by_one_command() -> None:
    state = begun()
    train(state, 2)
    lines = stopped(state, ["--name", "a b"])
    assert lines[0].startswith("stopped at epoch 1, step 2;")
    assert lines[1] == "  python train.py --name 'a b' --continue_train"


def test_a_failure_says_what_is_kept(tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.pt"
    broken, lost = NotFinite("the loss adv at step 3"), RankLost("connection closed")
    assert "nothing was saved yet. Try" in failed(broken, checkpoint) and "start it again" in failed(lost, checkpoint)
    checkpoint.touch()
    assert failed(broken, checkpoint).startswith("the loss adv at step 3 became infinite or NaN;")
    assert f"{checkpoint} holds the last good state" in failed(broken, checkpoint)
    assert "connection closed" in failed(lost, checkpoint) and "--continue_train goes on" in failed(lost, checkpoint)


def test_the_last_lines_say_where_everything_is(tmp_path: Path) -> None:
    state, run, task = begun(), RunFolder(tmp_path), replace(TASKS["generation"], best_metric="mae")
    command = ["test.py", "--dataroot", "my data"]
    lines = finished(run, state, task, 65.0, None, command)
    assert lines == [
        "finished 0 epochs in 1 min 5 s",
        f"weights   {tmp_path / 'last.safetensors'}",
        f"gallery   {(tmp_path / 'web' / 'index.html').resolve()}",
        "next      python test.py --dataroot 'my data'",
    ]
    state.improves(20.0, False)
    run.append({"step": 4, "epoch": 1, "val": {"generated": {"mae": 20.0}, "constant": {"mae": 10.0}}})
    lines = finished(run, state, task, 65.0, "http://localhost:8097", command)
    assert "MAE" in lines[2] and "(!)" in lines[2] and "best epoch" not in lines[1], "the scores stand first"
    assert f"weights   {tmp_path / 'best.safetensors'}, the best by mae; last.safetensors beside it" in lines
    assert "dashboard http://localhost:8097" in lines
