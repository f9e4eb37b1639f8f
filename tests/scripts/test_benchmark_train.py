"""scripts.benchmark train: what it measures is there and consistent; the reference is run from its checkout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = ["--device", "cpu", "--netG", "resnet_6blocks", "--ngf", 4, "--ndf", 4, "--steps", 1, "--seconds", 0,
         "--warm_up", 1, "--num_threads", 0, "--precision", "fp32"]  # fmt: skip

STAND_IN = {
    "options/train_options.py": """
import sys, types
class TrainOptions:
    def parse(self):
        words = [word for word in sys.argv[1:] if word != "--no_html"]
        values = dict(zip(words[::2], words[1::2]))
        assert values["--output_nc"] == "1" and values["--lambda_identity"] == "0", words
        return types.SimpleNamespace(batch=int(values["--batch_size"]), device=None)
""",
    "data/__init__.py": """
def create_dataset(opt):
    return [{"A": [0] * opt.batch}] * 2
""",
    "models/__init__.py": """
import wandb
class Model:
    def setup(self, opt): self.ready = True
    def set_input(self, batch): assert self.ready
    def optimize_parameters(self): pass
def create_model(opt):
    return Model()
""",
    "models/cycle_gan_model.py": "",
    "util/__init__.py": "",
    "options/__init__.py": "",
    "util/util.py": "def init_ddp(): return 'cpu'",
}


def rows(path: Path) -> list[dict]:
    return json.loads(path.read_text())["rows"]


def test_the_work_of_a_step_grows_with_area_and_objective(command: Callable, tmp_path: Path) -> None:
    work = {}
    for side in (32, 64):
        out = tmp_path / f"{side}.json"
        done = command("scripts.benchmark", "train", *SMALL, "--load_size", side, "--crop_size", side, "--out", out)
        assert "images_per_second" in done.stdout
        for row in rows(out):
            assert row["images_per_second"] > 0 and row["with_loader"] > 0 and 0 <= row["data_wait"] <= 1
            assert min(row["generators_ms"], row["optimizer_ms"]) > 0 and row["batch"] == 1
            assert row["of_matrix_rate"] > 0 and "times_reference" not in row
            work[side, row["objective"]] = row["gflop_per_image"]
    # VGG16, 64 channels wide from the start, dwarfs networks of 4 channels.
    assert work[32, "full"] > 2 * work[32, "plain"]
    assert work[64, "full"] / work[32, "full"] == pytest.approx(4, rel=0.25)


def test_a_reference_is_timed_at_batch_one_and_at_ours(command: Callable, tmp_path: Path) -> None:
    checkout, out = tmp_path / "checkout", tmp_path / "out.json"
    for name, text in STAND_IN.items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(text)
    command("scripts.benchmark", "train", *SMALL, "--load_size", 32, "--crop_size", 32, "--batch_size", 2,
            "--objective", "plain", "--reference", checkout, "--out", out)  # fmt: skip
    *references, ours = rows(out)
    assert [row["batch"] for row in references] == [1, 2]
    assert ours["times_reference"] == pytest.approx(ours["with_loader"] / references[1]["with_loader"])
    assert ours["times_reference_at_1"] == pytest.approx(ours["with_loader"] / references[0]["with_loader"])


def test_a_wrong_checkout_is_one_line(command: Callable, tmp_path: Path) -> None:
    done = command("scripts.benchmark", "train", *SMALL, "--reference", tmp_path, status=2)
    assert done.stderr.count("\n") == 1 and "--reference" in done.stderr
