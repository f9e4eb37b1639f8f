"""Options: limits, one-line errors, options.json and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models import METHODS
from options.cli import from_dict, to_dict
from options.cycle_gan import CycleGANOptions
from options.data import DataOptions
from options.recorded import parse_train, read_train
from options.train import for_method
from tests.conftest import ROOT

TABLE = {name: method.Options for name, method in METHODS.items()}


def test_defaults_are_valid_and_survive_json() -> None:
    for name in METHODS:
        options, before = parse_train(["--model", name], TABLE)
        assert before is None and options.run.model == name
        stored = json.loads(json.dumps(to_dict(options)))
        assert from_dict(for_method(TABLE[name]), stored, "x") == options


def test_underscores_and_hyphens_mean_the_same() -> None:
    one, _ = parse_train(["--batch_size", "3", "--no_flip", "--lambda_self", "0.5"], TABLE)
    two, _ = parse_train(["--batch-size", "3", "--no-flip", "--lambda-self", "0.5"], TABLE)
    assert one == two and one.input.batch_size == 3 and not one.input.flip and one.method.lambda_self == 0.5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--batchsize 3", "--batch_size"),
        ("--lr x", "--lr"),
        ("--lr nan", "--lr is nan"),
        ("--lr -1", "--lr is -1"),
        ("--n_epochs", "--n_epochs"),
        ("--gan_mode wgan", "lsgan"),
        ("--model cyclegan", "cycle_gan"),
        ("--crop_size 400", "--load_size"),
        ("--preprocess none --batch_size 2", "--batch_size 1"),
        ("--lambda_content 0 --lambda_self 0", "--lambda_cycle"),
        ("--content_layers relu9_9", "relu3_3"),
        ("--self_patch_sizes 4", "--self_layers"),
        ("--val_fraction 0.9", "[0, 0.5]"),
        ("--kelvin_low 400", "--kelvin_high"),
        ("--visible_dir a", "--infrared_dir"),
        ("--name a/b", "--name"),
        ("--seed -1", "--seed"),
        ("--ema 1.5", "--ema"),
        ("--sampling paired --pairs none", "--pairs none"),
        ("--lr_policy plateau --val_epoch_freq 0", "--val_epoch_freq"),
        ("--options /nowhere/options.json", "/nowhere/options.json"),
        ("--continue_train --name never_trained", "never_trained"),
        ("stray", "stray"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    arguments: str, says: str, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        with pytest.raises(SystemExit) as stop:
            parse_train(arguments.split(), TABLE)
        assert stop.value.code == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1 and message.startswith("error: ")
    except ValueError as error:  # turned into the same line by run_command
        message = str(error)
        assert "\n" not in message
    assert says in message
    assert not list(tmp_path.iterdir()), "nothing is created before options are right"


def test_options_file_is_a_start_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "options.json"
    first, _ = parse_train(["--lr", "0.001", "--ngf", "8", "--crop_size", "64"], TABLE)
    file.write_text(json.dumps({"options": to_dict(first)}))
    second, _ = parse_train(["--options", str(file), "--ngf", "16"], TABLE)
    assert (second.loop.lr, second.method.ngf, second.input.crop_size) == (0.001, 16, 64)
    assert read_train(file, TABLE) == first


@pytest.mark.parametrize("content", ["", "[]", "{", '{"options": {"run": {"nam": 1}}}', '{"options": {"run": 3}}'])
def test_a_broken_options_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "options.json"
    file.write_text(content)
    with pytest.raises(ValueError, match="options.json"):
        parse_train(["--options", str(file)], TABLE)


def test_a_continued_run_keeps_its_method(tmp_path: Path) -> None:
    first, _ = parse_train(["--ngf", "8", "--lr", "0.01"], TABLE)
    folder = tmp_path / "experiment_name"
    folder.mkdir()
    (folder / "options.json").write_text(json.dumps({"options": to_dict(first)}))
    base = ["--continue_train", "--checkpoints_dir", str(tmp_path)]
    again, before = parse_train([*base, "--n_epochs", "7"], TABLE)
    assert before == first and again.method == first.method and again.loop.lr == 0.01 and again.loop.n_epochs == 7
    with pytest.raises(ValueError, match="--ngf"):
        parse_train([*base, "--ngf", "16"], TABLE)


def test_options_are_frozen() -> None:
    with pytest.raises(AttributeError):
        DataOptions().strict = True
    with pytest.raises(AttributeError):
        CycleGANOptions().ngf = 3


def test_a_mistake_reads_alike_where_the_output_is_ascii() -> None:
    lines = set()
    for encoding in ("ascii", "utf-8"):
        done = subprocess.run(
            [sys.executable, str(ROOT / "train.py"), "--lr", "0"],
            env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 2
        lines.add(done.stderr)
    assert lines == {"error: --lr is 0.0: give a finite number above 0\n"}
