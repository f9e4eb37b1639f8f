"""The benchmark of the metrics: every metric of both conventions is timed, and the figures are written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.benchmarks import metrics as benchmark
from util.metrics.fusion import FUSION_METRICS


def test_benchmark_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(benchmark, "HEIGHT", 48)
    monkeypatch.setattr(benchmark, "WIDTH", 64)
    assert benchmark.main(["--device", "cpu", "--repeats", "1", "--out", str(tmp_path / "b.json")]) == 0
    rows = {row["metric"]: row for row in json.loads((tmp_path / "b.json").read_text())["rows"]}
    assert set(rows) == {*FUSION_METRICS, "all"}
    assert all({"standard_1", "standard_3"} <= row.keys() for row in rows.values())
    assert "vifb_1" in rows["SF"] and "vifb_1" not in rows["VIF"] and "one core" in capsys.readouterr().out


def test_the_pair_is_as_said() -> None:
    for channels in (1, 3):
        assert {tuple(image.shape) for image in benchmark.pair(channels)} == {(1, channels, 480, 640)}


def test_mistakes(command: Callable) -> None:
    assert "--repeats is 0" in command("scripts.benchmark", "metrics", "--repeats", 0, status=2).stderr
