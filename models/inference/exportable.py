"""Trained networks in the form in which they leave PyTorch, with plain inputs and outputs of any height and width; as
ONNX, TorchScript or compiled ahead of time; and compared with PyTorch."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.blocks import as_luminance, mirrored
from models.generators import OneDirection, brightened, exposure
from util.images import standard_exposure

Runner = Callable[..., torch.Tensor]


class Unpadded(OneDirection):
    """A generator on sides that are multiples already: [N, 3, H, W] -> [N, 1, H, W].

    The generators' own forward branches on the size, which an exported graph would freeze."""

    def forward(self, visible: torch.Tensor, *whole: torch.Tensor) -> torch.Tensor:
        generator: Any = self.to_infrared
        return as_luminance(generator.unpadded(self.shown(visible)))


class AnySize(nn.Module):
    """A network that wants sides in multiples, on [N, 3, H, W] of any size: [N, 1, H, W]. before: what is done to the
    whole image first."""

    def __init__(self, before: nn.Module, inside: nn.Module, multiple: int) -> None:
        super().__init__()
        self.before, self.inside, self.multiple = before, inside, multiple

    def forward(self, visible: torch.Tensor) -> torch.Tensor:
        visible = self.before(visible)
        height, width = visible.shape[2], visible.shape[3]
        rows, columns = (
            # So written, the exporter can prove that halves and quarters of it are whole.
            mirrored(side, (side + self.multiple - 1) // self.multiple * self.multiple, visible.device)
            for side in (height, width)
        )
        made = self.inside(visible.index_select(2, rows).index_select(3, columns))
        # Slices up to the size would ask the exporter to prove that the padded side is no smaller.
        rows, columns = (torch.arange(side, device=visible.device) for side in (height, width))
        return made.index_select(2, rows).index_select(3, columns)


class Brighten(nn.Module):
    """Dark images [N, 3, H, W] in the exposure that an efficientnet_unet sees them in."""

    def forward(self, visible: torch.Tensor) -> torch.Tensor:
        return brightened(visible, exposure(visible))


class OfColour(nn.Module):
    """A fusion network on a visible image in colour: [N, 3, H, W] and [N, 1, H, W] -> [N, 1, H, W]. standard: whether
    it sees infrared in the standard exposure."""

    def __init__(self, network: nn.Module, standard: bool) -> None:
        super().__init__()
        self.network, self.standard = network, standard

    def forward(self, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
        infrared = standard_exposure(infrared) if self.standard else infrared
        return self.network(as_luminance(visible), infrared)


@dataclass(frozen=True)
class Exportable:
    """module: what is exported. reference: what it must equal. inputs: name -> channels. sizes: (N, H, W) that the
    file is checked at. multiple: that sides are padded to inside."""

    module: nn.Module
    reference: nn.Module
    inputs: dict[str, int]
    output: str
    sizes: tuple[tuple[int, int, int], ...]
    multiple: int

    @property
    def least(self) -> int:
        """The least side of what to_aoti writes: the exporter wants innermost images of more than one pixel."""
        return max(16, self.multiple + 1)

    def samples(self, count: int, height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
        """One tensor [count, C, height, width] in [-1, 1] for each input; no two are the same object, which an
        exporter would take for one input."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            torch.rand(count, channels, height, width, generator=generator) * 2 - 1 for channels in self.inputs.values()
        )


def exportable(network: Any, kind: str, infrared_range: str = "asis") -> Exportable:
    """Say what is exported of a network, as load_network loads it, for "generation" or "fusion". infrared_range: of the
    images that it learnt from. The module is a copy: it may be moved."""
    twin = copy.deepcopy(network)
    if kind == "fusion":
        sizes = ((1, 96, 128), (1, 61, 83), (2, 40, 57), (1, 130, 77))
        inputs, standard = {"visible": 3, "infrared": 1}, infrared_range == "standard"
        return Exportable(
            OfColour(twin, standard).eval(), OfColour(network, standard).eval(), inputs, "fused", sizes, 1
        )
    multiple = network.to_infrared.multiple
    before = Brighten() if network.to_infrared.brightens else nn.Identity()
    unit = max(multiple, 32)
    sizes = ((1, 2 * unit, 3 * unit), (1, 2 * unit - 5, 2 * unit + 3), (2, unit + 1, 2 * unit), (1, 2 * unit, 20))
    module = AnySize(before, Unpadded(twin.to_infrared), multiple).eval()
    return Exportable(module, network, {"visible": 3}, "infrared", sizes, multiple)


def exported(what: Exportable, device: torch.device) -> torch.export.ExportedProgram:
    """Trace what is exported, on the device, for any number of images of any size from what.least on."""
    samples = tuple(sample.to(device) for sample in what.samples(2, 2 * what.sizes[0][1], 2 * what.sizes[0][2]))
    height, width = (torch.export.Dim(side, min=what.least) for side in "hw")
    axes = {0: torch.export.Dim("n", min=1), 2: height, 3: width}
    return torch.export.export(what.module.to(device), samples, dynamic_shapes=(axes,) * len(samples))


def to_onnx(what: Exportable, facts: dict[str, str], path: Path) -> Runner:
    """Write the file; returns what runs it, in ONNX Runtime."""
    import onnxruntime  # which only this format needs

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
    """Write the file; returns what runs it. Sizes are computed in script, which a trace would freeze."""
    if isinstance(what.module, AnySize):
        unit = what.multiple * max(1, 64 // what.multiple)
        image = (torch.rand(1, 3, unit, 2 * unit),)
        before, inside = (
            torch.jit.trace(part, image, check_trace=False) for part in (what.module.before, what.module.inside)
        )
        module = torch.jit.script(AnySize(before, inside, what.multiple).eval())
    else:
        module = torch.jit.trace(what.module, what.samples(1, 64, 96), check_trace=False)
    content = io.BytesIO()  # of a path, torch would say neither which nor why it cannot be written
    torch.jit.save(module, content, _extra_files={"metadata.json": json.dumps(facts)})
    path.write_bytes(content.getbuffer())
    return torch.jit.load(str(path))


def to_aoti(what: Exportable, facts: dict[str, str], path: Path, device: torch.device) -> Runner:
    """Write the file, compiled for the device; returns what runs it. Its inputs must be contiguous, which it does not
    check."""
    config = {"aot_inductor.metadata": facts}
    torch._inductor.aoti_compile_and_package(exported(what, device), package_path=str(path), inductor_configs=config)
    return torch._inductor.aoti_load_package(str(path))


def differences(what: Exportable, run: Runner, device: torch.device, least: int = 1) -> Iterator[tuple[str, float]]:
    """Compare what `run` makes on the device with PyTorch: ("2 x 40x57", largest difference) at each size of sides from
    `least` on."""
    for count, height, width in (size for size in what.sizes if min(size[1:]) >= least):
        inputs = what.samples(count, height, width, seed=1)
        expected = what.reference(*inputs)
        made = run(*(image.to(device) for image in inputs)).cpu()
        same = made.shape == expected.shape
        yield f"{count} x {height}x{width}", float((made - expected).abs().max()) if same else float("inf")
