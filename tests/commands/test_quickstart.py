"""The scripts that newcomers start with: their commands are valid, their steps are those of README."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import torch

from models import METHODS
from models.inference.trained import SHIPPED, load_initial
from options.recorded import parse_train
from options.test import TestOptions
from scripts import quickstart
from tests.conftest import ROOT
from util.command_line import parse
from util.training.state import load_weights
from util.visdom.server import free_port
from util.visdom.watching import start_dashboard

TABLE = {name: method.Options for name, method in METHODS.items()}


@pytest.mark.parametrize("sizes", [quickstart.ON_CPU, quickstart.WITHOUT_BF16, quickstart.ON_CUDA])
def test_the_training_begins_with_the_generator_that_comes_with_the_project(sizes: str) -> None:
    options, _ = parse_train(["--name", "q", *sizes.split()], TABLE)
    path = ROOT / options.run.init_from
    assert path == SHIPPED and options.data.pairs == "weak" and options.input.load_size >= 320
    network = METHODS[options.run.model].network(options.method)
    load_initial(network, options.run.init_from, path, options.method)  # ValueError where it is another network
    about, tensors = load_weights(path)
    assert options.data.infrared_range == about["infrared_range"]
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in network.state_dict().items())


def test_steps_are_run_in_order_and_a_rerun_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    seen: list[list[str]] = []

    def pretend(words: list[str], check: bool) -> subprocess.CompletedProcess:
        seen.append(words[1:])
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quickstart.subprocess, "run", pretend)
    monkeypatch.setattr("sys.argv", ["quickstart", "--device", "cpu"])
    assert quickstart.main() == 0
    assert [words[0] for words in seen] == ["test.py", "test.py", "train.py", "test.py", "test.py", "fuse.py"]
    assert "best baseline" not in capsys.readouterr().out  # the pretended commands have left no scores
    assert all(parse(TestOptions, words[1:]) for words in seen if words[0] == "test.py")
    assert ["--name" in words for words in seen[:5]] == [False, False, True, True, True]
    assert all((ROOT / picture).is_file() for picture in seen[1][-3:]) and seen[4][-3:] == seen[1][-3:]
    (tmp_path / "checkpoints/quickstart").mkdir(parents=True)
    (tmp_path / "checkpoints/quickstart/last.pt").touch()
    for name, cc in (("to_infrared", 0.5), ("quickstart", 0.75)):
        mean = {"CC": cc, "PSNR": 10.0, "SSIM": 0.25}
        baselines = {"luminance": {"CC": -0.125, "PSNR": 11.0, "SSIM": 0.5}, "constant": {"CC": None, "PSNR": 12.5}}
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "scores.json").write_text(json.dumps({"mean": mean, "baselines": baselines}))
    quickstart.main()
    assert seen[8][0] == "train.py" and seen[8][-1] == "--continue_train"
    printed = " ".join(capsys.readouterr().out.split())
    assert "CC PSNR SSIM as it comes 0.5 10 0.25 after training 0.75 10 0.25" in printed
    assert "best baseline -0.125 12.5 0.5" in printed


def test_a_failing_step_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickstart.subprocess, "run", lambda words, check: subprocess.CompletedProcess(words, 2))
    with pytest.raises(SystemExit) as stop:
        quickstart.run("train.py")
    assert stop.value.code == 2
    monkeypatch.setattr(quickstart.subprocess, "run", lambda words, check: subprocess.CompletedProcess(words, 1))
    quickstart.run("test.py", skipping=True)
    with pytest.raises(SystemExit):
        quickstart.run("train.py")


@pytest.mark.parametrize("name", ["environment.sh", "run_tests.sh", "quickstart.sh"])
def test_shell_scripts_are_sound(name: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / "scripts" / name)], check=True)


def test_ci_runs_the_test_command_of_readme() -> None:
    assert "bash scripts/run_tests.sh" in (ROOT / ".ci" / "run").read_text()
    readme = (ROOT / "README.md").read_text()
    for command in (
        "bash scripts/quickstart.sh",
        "bash scripts/run_tests.sh",
        "pip install -r requirements.txt",
        "--no-build-isolation -r requirements-visdom.txt",
    ):
        assert command in readme


def names(file: str) -> set[str]:
    """The packages that a file of requirements or constraints names."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return {re.split("[<>=]", line)[0] for line in lines if line}


def test_a_plain_install_needs_no_visdom_and_every_requirement_has_a_tested_version() -> None:
    plain, dashboard = names("requirements.txt"), names("requirements-visdom.txt")
    assert dashboard == {"visdom", "tornado"} and not plain & dashboard
    assert names("constraints.txt") == plain | dashboard
    assert all((ROOT / "scripts/environment.sh").read_text().count(f"-r {file}") == 1
               for file in ("requirements.txt", "requirements-visdom.txt"))  # fmt: skip


def test_training_goes_on_without_visdom_and_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("util.visdom.files.importlib.util.find_spec", lambda name: None)
    start_dashboard("http://127.0.0.1", free_port(), public=False)
    assert capsys.readouterr().err == (
        "dashboard none: visdom is not installed: requirements-visdom.txt says how, in two lines\n"
    )
