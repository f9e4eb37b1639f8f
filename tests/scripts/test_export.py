"""scripts.export: the written file equals PyTorch at any size, says what it is, and mistakes are one line."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import scripts.export
from models.blocks import to_multiple
from models.cycle_gan import CycleGAN
from models.fusion_gan import FusionGAN
from models.generators import make_generator
from models.inference.exportable import Unpadded, differences, exported
from models.stdfusion_net import STDFusionNet, initialise
from options.cycle_gan import CycleGANOptions
from options.fusion_gan import FusionGANOptions
from options.stdfusion_net import STDFusionNetOptions
from scripts.export import ExportOptions
from util.command_line import to_dict
from util.files import check_file, part_of
from util.training.state import save_weights

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript or onnxruntime is not installed",
)


def write(path: Path, kind: str) -> Path:
    """A small network of a kind, in a weights file that names it."""
    torch.manual_seed(0)
    if kind == "imported":
        options = CycleGANOptions(ngf=4, netG="resnet_6blocks", upsample="transpose")
        tensors = make_generator("resnet_6blocks", 3, 3, 4, "instance", False, "transpose").state_dict()
        facts = {"direction": "to_infrared", "in_channels": "3", "out_channels": "3"}
        tensors, model = {f"to_infrared.{name}": tensor for name, tensor in tensors.items()}, "cycle_gan"
    else:
        method, options = {
            "resnet": (CycleGAN, CycleGANOptions(ngf=4, netG="resnet_6blocks", upsample="resize")),
            "unet": (CycleGAN, CycleGANOptions(ngf=4, netG="unet_128")),
            "efficientnet_unet": (CycleGAN, CycleGANOptions(ngf=4, netG="efficientnet_unet")),
            "stdfusion_net": (STDFusionNet, STDFusionNetOptions(ngf=4)),
            "fusion_gan": (FusionGAN, FusionGANOptions(ngf=8)),
        }[kind]
        network = method.network(options)
        if kind == "stdfusion_net":
            initialise(network, options)
        tensors, facts = network.state_dict(), {"epoch": "3"}
        facts |= {"infrared_range": "standard"} if kind == "stdfusion_net" else {}
        model = kind if kind in ("stdfusion_net", "fusion_gan") else "cycle_gan"
    save_weights(path, tensors, {"model": model, "options": json.dumps(to_dict(options))} | facts)
    return path


def checked(text: str) -> list[float]:
    return [float(line.split()[-1]) for line in text.splitlines() if line.startswith("checked")]


@pytest.mark.parametrize("kind", ["resnet", "imported", "unet", "efficientnet_unet", "stdfusion_net", "fusion_gan"])
def test_torchscript_equals_pytorch_at_odd_sizes(command: Callable, tmp_path: Path, kind: str) -> None:
    weights = write(tmp_path / "w.safetensors", kind)
    done = command("scripts.export", "--weights", weights, "--format", "torchscript")
    assert len(checked(done.stdout)) == 4 and max(checked(done.stdout)) < 1e-4
    extra = {"metadata.json": ""}
    loaded = torch.jit.load(str(tmp_path / "w.pt"), _extra_files=extra)
    facts = json.loads(extra["metadata.json"])
    assert facts["channel_order"] == "RGB" and facts["input_range"].startswith("[-1, 1]")
    inputs = [torch.rand(1, channels, 99, 131) for channels in ((3, 1) if "fusion" in kind else (3,))]
    assert loaded(*inputs).shape == (1, 1, 99, 131)
    assert not list(tmp_path.glob(".*part*"))


@pytest.mark.parametrize("kind", ["resnet", "imported", "unet", "efficientnet_unet", "stdfusion_net", "fusion_gan"])
def test_what_is_compiled_ahead_of_time_is_traced_for_any_size(tmp_path: Path, kind: str) -> None:
    """And equals PyTorch there; compiling it would take minutes."""
    options = ExportOptions(weights=write(tmp_path / "w.safetensors", kind), format="aoti")
    what, facts = scripts.export.open_network(options)
    with torch.no_grad():
        program = exported(what, torch.device("cpu")).module()
        found = list(differences(what, program, torch.device("cpu"), what.least))
    assert len(found) >= 3 and max(difference for _, difference in found) < 1e-4
    assert f"from {max(16, what.multiple + 1)} on" in facts["inputs"]


@needs_onnx
@pytest.mark.parametrize("kind", ["resnet", "fusion_gan"])
def test_onnx_equals_pytorch_and_names_itself(command: Callable, tmp_path: Path, kind: str) -> None:
    import onnxruntime

    weights = write(tmp_path / "w.safetensors", kind)
    done = command("scripts.export", "--weights", weights, "--out", "sub/net.onnx")
    assert len(checked(done.stdout)) == 4 and max(checked(done.stdout)) < 1e-3
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["net.onnx"], "one file, weights included"
    session = onnxruntime.InferenceSession(str(tmp_path / "sub/net.onnx"), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["epoch"] == "3" and facts["channel_order"] == "RGB" and "[-1, 1]" in facts["input_range"]
    assert [value.name for value in session.get_inputs()] == ["visible", "infrared"][: 2 if kind == "fusion_gan" else 1]


def test_a_file_that_differs_is_not_written(command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unpadded, "forward", lambda self, visible: self.to_infrared.unpadded(visible) + 0.01)
    weights = write(tmp_path / "w.safetensors", "resnet")
    done = command("scripts.export", "--weights", weights, "--format", "torchscript", status=2)
    assert "differs by" in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.pt"))


def test_what_a_killed_export_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "net [1].pt"
    path.write_text("old")
    part_of(path, path.suffix).write_text("half")
    check_file("--out", path)  # as the command does first
    assert [file.name for file in tmp_path.iterdir()] == [path.name] and path.read_text() == "old"


def test_a_full_disk_names_the_file(command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, _: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    weights = write(tmp_path / "w.safetensors", "resnet")
    monkeypatch.setattr(Path, "write_bytes", full)
    done = command("scripts.export", "--weights", weights, "--format", "torchscript", status=2)
    assert "No space left on device: w.pt" in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize(("length", "multiple"), [(1, 4), (5, 4), (8, 4), (130, 128), (64, 128), (12, 32)])
def test_sides_are_mirrored_as_padding_by_reflect_does_as_far_as_they_go(length: int, multiple: int) -> None:
    row = torch.arange(float(length))[None, None, None]
    places = to_multiple(row.expand(1, 1, multiple, length), multiple)[0, 0, 0]
    assert len(places) % multiple == 0 and len(places) - length < multiple
    far = min(len(places), 2 * length - 1)
    assert torch.equal(torch.nn.functional.pad(row, (0, far - length, 0, 0), mode="reflect")[0, 0, 0], places[:far])
    assert not places[far:].any()


def test_mistakes_are_one_line(command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = write(tmp_path / "w.safetensors", "resnet")
    for words, says in (
        ((), "--name RUN, --weights FILE"),
        (("--name", "nobody", "--format", "torchscript"), "no such run"),
        (("--weights", "none.safetensors", "--format", "torchscript"), "no such file"),
        (("--weights", weights, "--format", "torchscript", "--out", "x.onnx"), "ends in .pt"),
        (("--weights", weights, "--format", "torchscript", "--out", "run/last.pt"), "a run's own checkpoint"),
        (("--weights", weights, "--size", "4", "4"), "--size 4 4"),
        (("--weights", weights, "--format", "safetensors", "--time"), "--time: --format safetensors"),
    ):
        done = command("scripts.export", *words, status=2)
        assert done.stderr.count("\n") == 1 and says in done.stderr, done.stderr
    monkeypatch.setattr(scripts.export.importlib.util, "find_spec", lambda name: None)
    done = command("scripts.export", "--weights", weights, status=2)
    assert done.stderr.count("\n") == 1 and "python -m pip install onnx onnxscript onnxruntime" in done.stderr


def test_time_prints_every_way(command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)  # as on a machine without a compiler
    weights = write(tmp_path / "w.safetensors", "resnet")
    done = command("scripts.export", "--weights", weights, "--format", "torchscript", "--time", "--repeats", 1,
                   "--size", 32, 48)  # fmt: skip
    assert "48x32" in done.stdout and "eager" in done.stdout and "torchscript file" in done.stdout
    assert "torch.compile is not timed" in done.stdout
