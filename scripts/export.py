"""Writes a trained network as ONNX, TorchScript or compiled ahead of time, and checks the file against PyTorch.

python -m scripts.export --name RUN --format onnx|torchscript|aoti [--out FILE] [--time]"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import shutil
import signal
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from models import METHODS
from models.inference.exportable import AnySize, Exportable, exportable
from models.inference.trained import choose_weights, load_network
from options.export import ExportOptions
from options.recorded import read_train
from options.train import TrainOptions
from util.command_line import parse, run_command
from util.device import choose
from util.files import beside, check_file, code_version
from util.text import plural
from util.training.run_folder import RunFolder
from util.training.weights import CHECKSUM, load_weights, save_weights

TOLERANCE = 1e-3  # largest difference from PyTorch, of outputs in [-1, 1]
WARM_UP = 2
Runner = Callable[..., torch.Tensor]


def need(*packages: str) -> None:
    """ValueError with the command that installs what is missing."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(
            f"--format onnx needs {' and '.join(missing)}: python -m pip install onnx onnxscript onnxruntime"
        )


def find_weights(options: ExportOptions) -> tuple[Path, TrainOptions | None]:
    """The weights file, and the options of its run, if it is a run's."""
    if options.weights is not None:
        return options.weights, None
    run = RunFolder(options.checkpoints_dir / options.name)
    if not run.options.is_file():
        raise ValueError(f"{run.options}: no such run; train one with python train.py --name {options.name}")
    trained = read_train(run.options, {name: method.Options for name, method in METHODS.items()})
    return choose_weights(run, options.epoch), trained


def write_halves(source: Path, path: Path) -> None:
    """The weights of a file in half precision, with all that it says of itself. ValueError where one is too large."""
    metadata, tensors = load_weights(source)
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    if not all(torch.isfinite(tensor).all() for tensor in halves.values()):
        raise ValueError(f"{source}: holds numbers beyond half precision's 65,504; use the file as it is")
    save_weights(path, halves, metadata)


def open_network(options: ExportOptions) -> tuple[Exportable, dict[str, str]]:
    """What to export, and what its file will say of it."""
    path, trained = find_weights(options)
    model = trained.run.model if trained else load_weights(path)[0].get("model", "")
    if model not in METHODS:
        raise ValueError(
            f"{path}: names no method of this project; give weights that it or scripts.import_weights wrote"
        )
    kind = METHODS[model].score_kind
    network, _, about = load_network(path, kind, trained, options.norm_statistics)
    what = exportable(network, kind)
    facts = {
        key: str(about[key]) for key in ("model", "run", "epoch", "source", "range", "norm_statistics") if key in about
    }
    facts |= {
        "run": about.get("run", options.name or ""),
        "weights": str(path),
        "inputs": ", ".join(f"{name} [N, {channels}, H, W]" for name, channels in what.inputs.items()),
        "channel_order": "RGB",
        "input_range": "[-1, 1]: 8-bit levels / 127.5 - 1",
        "output": f"{what.output} [N, 1, H, W] in [-1, 1]: (x + 1) * 127.5 are 8-bit levels",
        "code": code_version(),
    }
    if trained is not None and kind == "generation":
        seen = trained.input
        facts["trained_at"] = f"{seen.preprocess}, load_size {seen.load_size}, crop_size {seen.crop_size}"
    return what, facts


def dynamic(what: Exportable) -> tuple[dict[int, object], ...]:
    """Which axes of the inputs may change: all but the channels, together."""
    axes = {0: "n", 2: "h", 3: "w"}
    return tuple({axis: torch.export.Dim(name, min=1 if axis == 0 else 16) for axis, name in axes.items()}
                 for _ in what.inputs)  # fmt: skip


def to_onnx(what: Exportable, facts: dict[str, str], path: Path) -> Runner:
    """Writes the file; returns what runs it, in ONNX Runtime."""
    need("onnx", "onnxscript", "onnxruntime")
    import onnxruntime

    axes = {0: "n", 2: "h", 3: "w"}
    program = torch.onnx.export(
        what.module,
        what.samples(2, 64, 96),
        input_names=list(what.inputs),
        output_names=[what.output],
        dynamo=True,
        dynamic_shapes=tuple(dict(axes) for _ in what.inputs),
        verbose=False,
    )
    program.model.metadata_props.update(facts)
    program.save(str(path))  # one file; torch.onnx.export would put the weights beside it
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(*inputs: torch.Tensor) -> torch.Tensor:
        feeds = {name: image.cpu().numpy() for name, image in zip(what.inputs, inputs, strict=True)}
        return torch.from_numpy(session.run(None, feeds)[0])

    return run


def to_torchscript(what: Exportable, facts: dict[str, str], path: Path) -> Runner:
    """Writes the file; returns what runs it. Sizes are computed in script, which a trace would freeze."""
    if isinstance(what.module, AnySize):
        unit = what.multiple * max(1, 64 // what.multiple)
        inside = torch.jit.trace(what.module.inside, (torch.rand(1, 3, unit, 2 * unit),), check_trace=False)
        module = torch.jit.script(AnySize(inside, what.multiple).eval())
    else:
        module = torch.jit.trace(what.module, what.samples(1, 64, 96), check_trace=False)
    content = io.BytesIO()  # of a path, torch would say neither which nor why it cannot be written
    torch.jit.save(module, content, _extra_files={"metadata.json": json.dumps(facts)})
    path.write_bytes(content.getbuffer())
    return torch.jit.load(str(path))


def to_aoti(what: Exportable, facts: dict[str, str], path: Path, device: torch.device) -> Runner:
    """Writes the file; returns what runs it."""
    samples = tuple(sample.to(device) for sample in what.samples(2, 2 * what.sizes[0][1], 2 * what.sizes[0][2]))
    program = torch.export.export(what.module.to(device), samples, dynamic_shapes=dynamic(what))
    config = {"aot_inductor.metadata": facts}
    torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=config)
    return torch._inductor.aoti_load_package(str(path))


def check(what: Exportable, run: Runner, device: torch.device) -> float:
    """Prints the largest difference from PyTorch at each size, and returns the largest of all."""
    worst = 0.0
    for count, height, width in what.sizes:
        inputs = what.samples(count, height, width, seed=1)
        expected = what.reference(*inputs)
        made = run(*(image.to(device) for image in inputs)).cpu()
        difference = float((made - expected).abs().max()) if made.shape == expected.shape else float("inf")
        print(f"checked   {count} x {height}x{width} (height x width): largest difference {difference:.1e}")
        worst = max(worst, difference)
    return worst


def latency(run: Runner, inputs: tuple[torch.Tensor, ...], device: torch.device, repeats: int) -> float:
    """Median milliseconds of a call, the device's work included."""
    seconds = []
    for _ in range(WARM_UP + repeats):
        begun = time.perf_counter()
        run(*inputs)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(seconds[WARM_UP:])


def time_all(what: Exportable, run: Runner, options: ExportOptions, device: torch.device) -> None:
    """Prints the latency of a single image: PyTorch eager, compiled, and the written file."""
    file_device = torch.device("cpu") if options.format == "onnx" else device
    inputs = tuple(image.to(device) for image in what.samples(1, *options.size))
    reference = what.reference.to(device)
    rows: list[tuple[str, float]] = [("eager", latency(reference, inputs, device, options.repeats))]
    if device.type == "cuda" or shutil.which(os.environ.get("CXX", "g++")):
        compiled = torch.compile(reference, dynamic=False)
        rows.append(("torch.compile", latency(compiled, inputs, device, options.repeats)))
    else:
        print("note      torch.compile is not timed: it needs a C++ compiler (on Debian: apt install g++)")
    inputs = tuple(image.to(file_device) for image in inputs)
    where = f"{options.format} file, {file_device}"
    rows.append((where, latency(run, inputs, file_device, options.repeats)))
    threads = plural(torch.get_num_threads(), "thread")
    print(f"\none image {options.size[1]}x{options.size[0]}, fp32, {device}, {threads}, ms")
    for name, milliseconds in rows:
        print(f"{name:20}{milliseconds:9.1f}")


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A file to write that becomes `path` in the end, whole or not at all, also where SIGTERM ends the command."""
    before = signal.signal(signal.SIGTERM, _end)  # its default would leave the part
    try:
        with beside(path, path.suffix) as part:
            yield part
    finally:
        signal.signal(signal.SIGTERM, before)


def write_checked(what: Exportable, facts: dict[str, str], options: ExportOptions, device: torch.device) -> Runner:
    """Writes the file, of which PyTorch's outputs came too; returns what runs it. ValueError where it differs."""
    path = options.file()
    with written(path) as part, torch.inference_mode(options.format != "aoti"), torch.no_grad():
        if options.format == "onnx":
            with contextlib.redirect_stdout(sys.stderr):
                run, place = to_onnx(what, facts, part), torch.device("cpu")
        elif options.format == "torchscript":
            run, place = to_torchscript(what, facts, part).to(device), device
        else:
            run, place = to_aoti(what, facts, part, device), device
        worst = check(what, run, place)
        if not worst <= TOLERANCE:
            raise ValueError(f"{path}: differs by {worst:.1e} from PyTorch, more than {TOLERANCE:g}; not written")
    return run


def main() -> int:
    """The command."""
    options = parse(ExportOptions)
    path = options.file()
    check_file("--out", path, CHECKSUM if options.format == "safetensors" else "channel_order")  # of its metadata
    if options.format == "safetensors":
        weights, _ = find_weights(options)
        if path.exists() and path.samefile(weights):
            raise ValueError(f"--out {path}: holds the weights themselves; give another name")
        write_halves(weights, path)
        print(f"weights   {weights}\nwritten   {path} ({path.stat().st_size / 1e6:.1f} MB)")
        return 0
    device = choose(options.device, "fp32").device
    # Its 10 bits of mantissa alone differ by more than a file may; it would be fp32 in name only.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if options.format == "onnx":
        need("onnx", "onnxscript", "onnxruntime")
    what, facts = open_network(options)
    print(f"weights   {facts['weights']}", flush=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporters, about their own future
        run = write_checked(what, facts, options, device)
        if options.time:
            with torch.inference_mode(options.format != "aoti"), torch.no_grad():
                time_all(what, run, options, device)
    print(f"written   {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    run_command(main)
