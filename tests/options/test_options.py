"""Options: limits, one-line errors, options.json and back."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models import METHODS
from options.cycle_gan import CycleGANOptions
from options.data import DataOptions
from options.recorded import from_dict, parse_train, read_train
from options.shared import WeightsOptions
from options.train import for_method
from tests.conftest import ROOT
from util.command_line import run_command, to_dict

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
        ("--lr x", "--lr 'x': give a number"),
        ("--load_size 4.5", "--load_size '4.5': give a whole number"),
        ("--ema x", "--ema 'x': give a number, or None"),
        ("--patch_stride 1e400", "--patch_stride '1e400': give a whole number, or None"),
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
        ("--clip_grad inf", "--clip_grad is inf: give a finite number"),
        ("--strict 2", "--strict takes no value such as 2"),
        ("stray", "stray"),
        ("--model fusion_gan --sampling unpaired --no_flip", "--sampling"),
        ("--model pix2pix --patch_stride 64", "--preprocess scale_width_and_crop resizes: give --preprocess crop"),
        ("--model stdfusion_net --scale_jitter 0.1", "--scale_jitter resizes: leave it out"),
        ("--dataroot a b --dataroot_weights 1 2 --serial_batches", "--dataroot_weights draws: give one"),
        ("--model stdfusion_net --sampling unpaired --patch_stride None", "--sampling paired"),
        ("--netD n_layers --n_layers_D 6 --crop_size 191", "at least 192 pixels"),
        ("--crop_size 23", "--n_layers_D"),
        ("--gan_mode wgangp --norm batch", "give --norm_D another than batch"),
        ("--gan_mode wgangp --preprocess scale_width", "choose a mode that crops"),
        ("--content_weights -1", "give weights of at least 0"),
        ("--model pix2pix --crop_size 16", "images of at least 24 pixels"),
        ("--model pix2pix --draw_scale 5", "--draw_scale is 5.0: give a number in [1, 4]"),
        ("--model pix2pix --draw_scale 2 --netG unet_256", "unet_256 draws as it sees"),
        ("--model pix2pix --draw_scale 2 --crop_size 200", "give a multiple of 32"),
        ("--model pix2pix --draw_scale 2 --preprocess crop", "--preprocess scale_width_and_crop"),
        ("--model pix2pix --shift 3", "--shift is 3: give an even number"),
        ("--model fusion_gan --crop_size 64", "--patch_size 132, --crop_size 64"),
        ("--model fusion_gan --preprocess none --patch_stride None --batch_size 1", "--preprocess none"),
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


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"options": {"run": {"nam": 1}}}', '{"options": {"run": 3}}', '{"options": 7}',
     '{"options": {"run": {"model": ["cycle_gan"]}}}', '{"options": {"input": null}}'],
)  # fmt: skip
def test_a_broken_options_file_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "options.json"
    file.write_text(content)
    with pytest.raises(ValueError, match="options.json"):
        parse_train(["--options", str(file)], TABLE)


@pytest.mark.parametrize(
    ("group", "name", "value", "says"),
    [
        ("loop", "lr", "2e-4", '"2e-4": give a number'),
        ("method", "ngf", "4", '"4": give a whole number'),
        ("method", "ngf", 4.0, "4.0: give a whole number"),
        ("method", "ngf", True, "true: give a whole number"),
        ("method", "ngf", None, "null: give a whole number"),
        ("method", "ngf", 0, "--ngf is 0"),
        ("input", "load_size", [40], "[40]: give a whole number"),
        ("input", "max_dataset_size", "all", '"all": give a whole number or null'),
        ("input", "cache_dir", 3, "3: give a path or null"),
        ("data", "strict", "false", '"false": give true or false'),
        ("data", "dataroot", {}, "{}: give a list"),
        ("run", "name", 7, "7: give text"),
        ("run", "precision", ["fp32"], '["fp32"]: give one of "auto", "bf16", "fp16", "fp32"'),
        ("method", "content_layers", "relu3_3", '"relu3_3": give a list'),
        ("method", "self_patch_sizes", ["8", 4, 2], '["8", 4, 2]: give a list'),
        ("loop", "ema", 10**400, "1e"),
    ],
)
def test_a_value_of_another_type_is_one_line(tmp_path: Path, group: str, name: str, value: object, says: str) -> None:
    file = tmp_path / "options.json"
    values = to_dict(parse_train([], TABLE)[0])
    values[group][name] = value
    file.write_text(json.dumps({"options": values}))
    for read in (lambda: parse_train(["--options", str(file)], TABLE), lambda: read_train(file, TABLE)):
        with pytest.raises(ValueError) as refused:
            read()
        message = str(refused.value)
        assert message.startswith(f"{file}: ") and name in message and (says in message or value == 10**400)
        assert "\n" not in message and len(message) < len(str(file)) + 120


def test_whole_numbers_are_numbers_and_an_option_may_be_null(tmp_path: Path) -> None:
    file = tmp_path / "options.json"
    values = to_dict(parse_train([], TABLE)[0])
    values["loop"] |= {"lr": 1, "clip_grad": None, "ema": None}
    file.write_text(json.dumps({"options": values}))
    assert read_train(file, TABLE).loop.lr == 1.0


@pytest.mark.parametrize(("before", "now"), [("cycle_gan", "fusion_gan"), ("fusion_gan", "pix2pix")])
def test_other_methods_take_over_all_but_what_methods_set(tmp_path: Path, before: str, now: str) -> None:
    file = tmp_path / "options.json"
    words = ["--model", before, "--val_size", "7", "--val_fraction", "0.2", "--beta1", "0.7"]
    file.write_text(json.dumps({"options": to_dict(parse_train(words, TABLE)[0])}))
    taken, _ = parse_train(["--options", str(file), "--model", now], TABLE)
    published, _ = parse_train(["--model", now], TABLE)
    assert taken.loop.val_size == 7 and taken.data.val_fraction == 0.2
    assert taken.input == published.input and taken.method == published.method and taken.loop.ema == published.loop.ema
    given, _ = parse_train(["--options", str(file), "--model", now, "--beta1", "0.6"], TABLE)
    assert given.loop.beta1 == 0.6, "the command line comes on top"


def test_the_last_of_an_option_given_twice_counts(tmp_path: Path) -> None:
    for name, ngf in (("a", "8"), ("b", "16")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "options.json").write_text(json.dumps({"options": to_dict(parse_train(["--ngf", ngf], TABLE)[0])}))
    words = ["--checkpoints_dir", str(tmp_path), "--name", "a", "--continue_train", "--name", "b"]
    assert parse_train(words, TABLE)[0].method.ngf == 16
    options, before = parse_train([*words, "--no_continue_train"], TABLE)
    assert before is None and options.method.ngf == 64 and not options.run.continue_train


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


def test_a_continued_run_takes_no_other_weights(tmp_path: Path) -> None:
    start = ["--init_from", "a.safetensors", "--name", "a"]
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "options.json").write_text(json.dumps({"options": to_dict(parse_train(start, TABLE)[0])}))
    again = [*start, "--continue_train", "--checkpoints_dir", str(tmp_path)]
    assert parse_train(again, TABLE)[1], "the same command goes on"
    with pytest.raises(ValueError, match="--init_from b.safetensors --continue_train: .* own weights"):
        parse_train([*again, "--init_from", "b.safetensors"], TABLE)
    with pytest.raises(ValueError, match=r"--options \S+options.json --continue_train: .* own options"):
        parse_train([*again, "--options", str(folder / "options.json")], TABLE)


def test_without_a_discriminator_crops_may_be_small() -> None:
    parse_train(["--model", "pix2pix", "--lambda_gan", "0", "--crop_size", "16"], TABLE)


def test_no_run_is_called_nothing() -> None:
    with pytest.raises(ValueError, match='--name "": give the name'):
        WeightsOptions(name="")
    for given in ({}, {"name": "a", "weights": Path("a.safetensors")}):
        with pytest.raises(ValueError, match="--epoch 7 belongs to a run"):
            WeightsOptions(epoch="7", **given)


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
    assert lines == {"error: --lr is 0.0: give a number above 0\n"}


@pytest.mark.parametrize("made_of_it", [None, RuntimeError("in a library's own words"), ValueError("as well")])
def test_ctrl_c_is_ctrl_c_whatever_a_library_makes_of_it(
    made_of_it: Exception | None, capsys: pytest.CaptureFixture
) -> None:
    here = signal.signal(signal.SIGINT, signal.default_int_handler)  # nohup and a shell's & have it ignored
    before = signal.getsignal(signal.SIGINT)

    def command() -> int:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            if made_of_it is not None:
                raise made_of_it from None
            raise
        return 0

    try:
        with pytest.raises(SystemExit) as stop:
            run_command(command)
        assert stop.value.code == 130 and capsys.readouterr().err == "stopped by Ctrl-C\n"
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, here)


def test_an_error_of_the_system_is_its_words_and_the_file(capsys: pytest.CaptureFixture) -> None:
    def full() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/last.pt")

    with pytest.raises(SystemExit) as stop:
        run_command(full)
    assert stop.value.code == 2 and capsys.readouterr().err == "error: No space left on device: runs/last.pt\n"
