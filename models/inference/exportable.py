"""Trained networks in the form in which they leave PyTorch: plain inputs and outputs of any height and width."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from models.blocks import as_luminance
from models.generators import UNetGenerator, channels_in
from models.inference.translator import locality
from util.colour import luminance


def mirrored(length: int, multiple: int) -> torch.Tensor:
    """Indices that continue 0 .. length - 1 to a multiple by mirroring the end, as padding by "reflect" does."""
    places = torch.arange(length + (multiple - length % multiple) % multiple)
    return (length - 1 - (places - (length - 1)).abs()).clamp(min=0)


class Unpadded(nn.Module):
    """A generator on sides that are multiples already: [N, 3, H, W] -> [N, 1, H, W].

    The generators' own forward branches on the size, which an exported graph would freeze."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        unet = isinstance(generator, UNetGenerator)
        parts = [generator.first, generator.inner, generator.last] if unet else [generator.body]
        self.parts, self.grey = nn.Sequential(*parts), channels_in(generator) == 1

    def forward(self, visible: torch.Tensor) -> torch.Tensor:
        made = self.parts(luminance(visible) if self.grey else visible)
        return luminance(made) if made.shape[1] == 3 else made


class AnySize(nn.Module):
    """A network that wants sides in multiples, on [N, 3, H, W] of any size: [N, 1, H, W]."""

    def __init__(self, inside: nn.Module, multiple: int) -> None:
        super().__init__()
        self.inside, self.multiple = inside, multiple

    def forward(self, visible: torch.Tensor) -> torch.Tensor:
        height, width = visible.shape[2], visible.shape[3]
        rows = mirrored(height, self.multiple).to(visible.device)
        columns = mirrored(width, self.multiple).to(visible.device)
        made = self.inside(visible.index_select(2, rows).index_select(3, columns))
        # Slices up to the size would ask the exporter to prove that the padded side is no smaller.
        rows, columns = (torch.arange(side, device=visible.device) for side in (height, width))
        return made.index_select(2, rows).index_select(3, columns)


class OfColour(nn.Module):
    """A fusion network on a visible image in colour: [N, 3, H, W] and [N, 1, H, W] -> [N, 1, H, W]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
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

    def samples(self, count: int, height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
        """One tensor [count, C, height, width] in [-1, 1] for each input; no two are the same object, which an
        exporter would take for one input."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            torch.rand(count, channels, height, width, generator=generator) * 2 - 1 for channels in self.inputs.values()
        )


def exportable(network: nn.Module, kind: str) -> Exportable:
    """network: as load_network loads it, for "generation" or "fusion". The module is a copy: it may be moved."""
    twin = copy.deepcopy(network)
    if kind == "fusion":
        sizes = ((1, 96, 128), (1, 61, 83), (2, 40, 57), (1, 130, 77))
        inputs = {"visible": 3, "infrared": 1}
        return Exportable(OfColour(twin).eval(), OfColour(network).eval(), inputs, "fused", sizes, 1)
    multiple = locality(network.to_infrared)[1]
    # Mirroring goes no further than the image: sides of at least half the multiple.
    unit = max(multiple, 32)
    sizes = ((1, 2 * unit, 3 * unit), (1, 2 * unit - 5, 2 * unit + 3), (2, unit + 1, 2 * unit), (1, 2 * unit, unit - 1))
    return Exportable(
        AnySize(Unpadded(twin.to_infrared), multiple).eval(), network, {"visible": 3}, "infrared", sizes, multiple
    )
