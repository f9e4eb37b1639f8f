"""Benchmarks: the dispatcher, what they share, and that each reports what it measured; no test looks at a time."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import scripts.benchmark as dispatcher
from data.images import read_infrared, read_visible, write_image
from scripts.benchmarks import common, generate, metrics
from tests.conftest import ROOT
from util.metrics.fusion import FUSION_METRICS

CPU = torch.device("cpu")


def test_the_dispatcher_names_all_and_imports_one(command: Callable) -> None:
    done = command("scripts.benchmark", "--help")
    assert all(name in done.stdout for name in ("train", "generate", "fuse", "metrics", "data"))
    wrong = command("scripts.benchmark", "nothing", status=2)
    assert wrong.stderr.count("\n") == 1 and "train, generate, fuse, metrics, data" in wrong.stderr
    assert "usage" in command("scripts.benchmark", status=2).stdout
    assert "--reference" in command("scripts.benchmark", "train", "--help").stdout
    bad = command("scripts.benchmark", "fuse", "--repeats", 0, status=2)
    assert "--repeats is 0" in bad.stderr and bad.stderr.count("\n") == 1


@pytest.mark.parametrize("name", sorted(dispatcher.BENCHMARKS))
def test_every_benchmark_keeps_the_contract(name: str) -> None:
    module = importlib.import_module(dispatcher.BENCHMARKS[name][0])
    options = module.Options()
    assert is_dataclass(options) and options.device == "auto" and options.out is None and callable(module.main)


def test_timed_leaves_out_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, clock = iter([50, 50, 50, 1, 2, 9]), [0]

    def work() -> None:
        clock[0] += next(seconds)

    monkeypatch.setattr(common.time, "perf_counter", lambda: clock[0])
    assert common.timed(work, CPU, 3, warm_up=3) == 2 and next(seconds, None) is None


def test_machine_and_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = common.machine(CPU)
    assert {"processor", "cores", "threads", "memory_gb", "python", "torch", "date", "code", "device"} <= facts.keys()
    assert common.peak_memory(CPU) > 1e7
    sides: list[tuple[int, ...]] = []
    monkeypatch.setattr(common, "timed", lambda function, *_: sides.append(function().shape) or 4.0)
    assert common.matrix_rate(CPU, torch.float32) == sides[0][0] ** 3 / 2


def test_reports_are_a_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [{"what": "a", "rate": 1234.5}, {"what": "b", "more": 0.5}]
    facts = {"cores": 2, "options": {"x": 1}}
    report = common.Report("title", facts, tmp_path / "o.json")
    for row in rows:
        report.add(row)
        assert json.loads((tmp_path / "o.json").read_text())["rows"] == report.rows, "it may be stopped at any time"
    report.show()
    text = capsys.readouterr().out
    assert "title" in text and "cores 2" in text and "options" not in text
    assert [line.split() for line in text.splitlines() if line[:1] in "ab" and line] == [["a", "1234"], ["b", "0.5"]]
    content = json.loads((tmp_path / "o.json").read_text())
    assert content["rows"] == rows and content["facts"]["options"] == {"x": 1}


def test_commands_report_memory_of_their_own_and_failures(tmp_path: Path) -> None:
    run = common.run_logged
    small = run([sys.executable, "-S", "-c", "pass"], tmp_path, {}, tmp_path / "log", "small")
    large = run([sys.executable, "-S", "-c", "b'x' * 10**8"], tmp_path, {}, tmp_path / "log", "large")
    assert small < 60 and large - small > 80, "MB, whatever this process holds"
    words = [sys.executable, "-S", "-c", "print('why'); raise SystemExit(3)"]
    with pytest.raises(ValueError, match="it failed: why"):
        run(words, tmp_path, {}, tmp_path / "log", "it")


def measure_gpu(folder: Path, **variables: str) -> tuple[int, str, list[dict]]:
    """Status, output and parts.jsonl of scripts/measure_gpu.sh with a Python that does nothing, or fails at metrics."""
    python = folder / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *"benchmark metrics"*) exit 3 ;; esac\n')
    python.chmod(0o755)
    environment = os.environ | {"PYTHON": str(python), "DEVICE": "cpu"} | variables
    words = ["bash", ROOT / "scripts" / "measure_gpu.sh", folder / "out", "checkout"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    parts = folder / "out" / "parts.jsonl"
    return done.returncode, done.stdout, [json.loads(line) for line in parts.open()] if parts.exists() else []


def test_a_gpu_is_measured_part_by_part_within_its_limit(tmp_path: Path) -> None:
    status, text, parts = measure_gpu(tmp_path, ROOTS="one two", TRAIN="--lr 1e-3")
    names = ["train", "kernels", "generate", "fuse", "metrics", "data"]
    assert [part["part"] for part in parts[:-2]] == names and status == 1, "a part that fails ends no other"
    assert {part["part"] for part in parts[-2:]} == {"tests", "generator"}, "beside each other"
    assert {part["part"] for part in parts if part["status"]} == {"metrics"}
    assert sum(part["limit"] for part in parts[:-2]) < 540 and max(part["limit"] for part in parts) <= 540 - 5
    here, said = Path.cwd(), " ".join(text.split())
    assert f"--reference {here / 'checkout'}" in said and f"--dataroot {here / 'one'} {here / 'two'} " in said
    assert said.count("--lr 1e-3") == 1


def test_measuring_a_gpu_needs_a_folder() -> None:
    done = subprocess.run(["bash", ROOT / "scripts/measure_gpu.sh"], capture_output=True, text=True)
    assert done.returncode and "give a folder for the results" in done.stderr and not done.stdout


def test_no_part_of_measuring_a_gpu_begins_without_time(tmp_path: Path) -> None:
    status, text, parts = measure_gpu(tmp_path, LIMIT="9", PARTS="tests train")
    assert status == 0 and not parts and text.count("no time left") == 2


def test_pictures_fill_a_folder_again_and_again(tmp_path: Path) -> None:
    drawn: list[int] = []

    def draw() -> Iterator[np.ndarray]:
        for number in range(5):
            drawn.append(number)
            yield np.full((6, 9), 40 * number, np.uint8)

    common.write_files(tmp_path / "many", draw(), 12, ".png")
    common.write_files(tmp_path / "few", draw(), 2, ".png")
    names = sorted(path.name for path in (tmp_path / "many").iterdir())
    assert names == [f"{number:05d}.png" for number in range(12)]
    greys = [int(read_infrared(tmp_path / "many" / name, None)[0, 0]) for name in names]
    assert greys == [40 * (number % 5) for number in range(12)]
    assert len(list((tmp_path / "few").iterdir())) == 2 and drawn == [0, 1, 2, 3, 4, 0, 1], "no picture in vain"


def test_pictures_are_streets_seen_by_both_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "SCENES", 2)
    scenes = common.streets(3)
    assert [scene.visible.shape for scene in scenes] == [(512, 640, 3)] * 2
    assert all(scene.thermal.shape == (512, 640) and scene.thermal.dtype == np.uint8 for scene in scenes)
    assert not np.array_equal(scenes[0].visible, scenes[1].visible) and len(common.streets(1)) == 1


def test_generate_reads_a_folder_of_its_own(tmp_path: Path) -> None:
    for number in range(2):
        write_image(tmp_path / "in" / f"{number}.png", np.full((20, 30, 3), 90 * number, np.uint8))
    options = generate.Options(dataroot=tmp_path / "in", size=(16, 24))
    generate.write_folder(tmp_path / "out", options, 3)
    assert [read_visible(tmp_path / "out" / f"0000{number}.png").mean() for number in range(3)] == [0, 90, 0]
    assert read_visible(tmp_path / "out" / "00002.png").shape == (16, 24, 3)


def test_flops_are_those_of_the_network() -> None:
    """ResNet-9 at 256x256: 18 convolutions 3x3, 256 to 256 channels at 64x64, are nearly nine tenths of all."""
    total = generate.flops(generate.Options(), 256, 256)
    blocks = 18 * 2 * 64 * 64 * 9 * 256 * 256
    assert 0.85 < blocks / total < 0.95
    assert generate.flops(generate.Options(), 128, 256) == pytest.approx(total / 2, rel=0.02)


def test_generate_measures_network_stages_and_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    def run(self: common.Command) -> None:
        ran.append((self.name, self.few, self.many, [path for path in self.words if path.endswith("test.py")]))
        self.rates.append(5.0 if self.name == "test.py" else 2.0)

    monkeypatch.setattr(common.Command, "run", run)
    out = tmp_path / "out.json"
    words = ["--device", "cpu", "--precision", "fp32", "--netG", "resnet_6blocks", "--ngf", "2", "--size", "20", "32",
             "--images", "8", "--repeats", "1", "--batch_sizes", "2", "--out", str(out)]  # fmt: skip
    assert generate.main(words) == 0
    content = json.loads(out.read_text())
    rows = {row["what"]: row for row in content["rows"]}
    assert rows["network"]["batch"] == 2 and rows["network"]["images_per_second"] > 0
    assert 0 < rows["network"]["matrix_share"] < 1
    assert {"read, one worker", "write, one thread", "to 8 bits and back", "test.py"} <= rows.keys()
    assert rows["test.py"]["images_per_second"] == 5 and ran[0][:3] == ("test.py", 2, 8)
    assert content["facts"]["size"] == "32x20"


def test_benchmark_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(metrics, "HEIGHT", 48)
    monkeypatch.setattr(metrics, "WIDTH", 64)
    assert metrics.main(["--device", "cpu", "--repeats", "1", "--out", str(tmp_path / "b.json")]) == 0
    rows = {row["metric"]: row for row in json.loads((tmp_path / "b.json").read_text())["rows"]}
    assert set(rows) == {*FUSION_METRICS, "all"}
    assert all({"standard_1", "standard_3"} <= row.keys() for row in rows.values())
    assert "vifb_1" in rows["SF"] and "vifb_1" not in rows["VIF"] and "one core" in capsys.readouterr().out


def test_the_pair_is_as_said() -> None:
    for channels in (1, 3):
        assert {tuple(image.shape) for image in metrics.pair(channels)} == {(1, channels, 480, 640)}


def test_metrics_with_no_repeat(command: Callable) -> None:
    assert "--repeats is 0" in command("scripts.benchmark", "metrics", "--repeats", 0, status=2).stderr
