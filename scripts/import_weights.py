"""Turns released weights of others into a safetensors file of ours.

python -m scripts.import_weights --from_tf PREFIX --model stdfusion_net|fusion_gan --out FILE
python -m scripts.import_weights --from_pix2pix latest_net_G_A.pth --direction to_infrared --out FILE"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from models.convert import pix2pix
from models.convert.tensorflow import fusion_gan_from_tf, stdfusion_net_from_tf
from models.convert.tf_checkpoint import read
from models.fusion_gan import FusionGAN
from models.stdfusion_net import STDFusionNet
from options.cycle_gan import CycleGANOptions
from util.command_line import parse, run_command, to_dict
from util.files import check_file
from util.training.state import save_weights

Tensors = dict[str, torch.Tensor]
RELEASED_RANGE = "minmax"
"""The released fusion scripts stretch every image they save to the whole range of grey levels."""


@dataclass(frozen=True)
class ImportOptions:
    """Import weights of the released FusionGAN or STDFusionNet (TensorFlow), or a generator of
    pytorch-CycleGAN-and-pix2pix."""

    out: Path
    """File to write, .safetensors."""
    from_tf: Path | None = None
    """TensorFlow checkpoint: its path without .index or .data-00000-of-00001."""
    from_pix2pix: Path | None = None
    """Generator of pytorch-CycleGAN-and-pix2pix, e.g. latest_net_G_A.pth."""
    model: Literal["stdfusion_net", "fusion_gan", "cycle_gan"] = "cycle_gan"
    """Method that the weights belong to."""
    as_released: bool = False
    """fusion_gan: the network of the released test script, without spectral normalisation and with each
    image's own statistics, instead of the network that was trained."""
    direction: Literal["to_infrared", "to_visible"] = "to_infrared"
    """cycle_gan: what the generator makes."""
    netG: Literal["auto", "resnet_9blocks", "resnet_6blocks", "unet_256", "unet_128"] = "auto"
    """cycle_gan: generator; auto finds it out from the tensors."""
    norm_statistics: Literal["image", "trained"] | None = None
    """cycle_gan with batch norms: the statistics by which they normalise, kept in the file as its default. image (by
    default): each image's own, as the test.py of pytorch-CycleGAN-and-pix2pix does by default, whose dropout is left
    out. trained: those kept in training, as it does with --eval."""
    to_one_channel: bool = False
    """cycle_gan: make the infrared side one channel. to_infrared averages the last layer over its outputs,
    which is near the mean of the three channels but not it, as tanh follows; to_visible adds up the first
    layer, which is exact for grey images."""

    def __post_init__(self) -> None:
        if (self.from_tf is None) == (self.from_pix2pix is None):
            raise ValueError("--from_tf PREFIX, --from_pix2pix FILE: give one of them")
        if self.from_tf and self.model == "cycle_gan":
            raise ValueError("--from_tf needs --model stdfusion_net or --model fusion_gan")
        if self.from_pix2pix and self.model != "cycle_gan":
            raise ValueError(f"--from_pix2pix holds a generator of cycle_gan: leave out --model {self.model}")
        if self.from_tf and self.norm_statistics:
            raise ValueError(
                f"--norm_statistics {self.norm_statistics} is of --from_pix2pix; --as_released is of FusionGAN"
            )
        if self.out.suffix != ".safetensors":
            raise ValueError(f"--out {self.out}: give a name that ends in .safetensors")


def from_tf(options: ImportOptions) -> tuple[Any, Tensors, dict[str, str]]:
    """Options of the method, state dict of its network, further metadata."""
    arrays = read(Path(str(options.from_tf).removesuffix(".index")))
    method_options, state = _converted(options, arrays)
    method = {"stdfusion_net": STDFusionNet, "fusion_gan": FusionGAN}[options.model]
    _check_fit(method.network(method_options), state, options.from_tf)
    return method_options, state, {"range": RELEASED_RANGE}


def _converted(options: ImportOptions, arrays: Mapping[str, np.ndarray]) -> tuple[Any, Tensors]:
    convert: Callable[[Mapping[str, np.ndarray]], tuple[Any, Tensors]] = {
        "stdfusion_net": stdfusion_net_from_tf,
        "fusion_gan": lambda found: fusion_gan_from_tf(found, options.as_released),
    }[options.model]
    try:
        return convert(arrays)
    except ValueError as error:
        raise ValueError(f"{options.from_tf}: {error}; is --model {options.model} right?") from None


def _check_fit(network: nn.Module, state: Tensors, source: Path) -> None:
    for name, ours in network.state_dict().items():
        if ours.shape != state[name].shape:
            raise ValueError(f"{source}: its {name} is {tuple(state[name].shape)}, not {tuple(ours.shape)}")


def from_pix2pix(options: ImportOptions) -> tuple[CycleGANOptions, Tensors, dict[str, str]]:
    """Options of the method, state dict of one generator, further metadata."""
    path = options.from_pix2pix
    tensors = _read_pth(path)
    try:
        tensors = pix2pix.plain(tensors)
        kind = pix2pix.kind_of(tensors)
        if options.netG not in ("auto", kind.netG):
            raise ValueError(f"holds a {kind.netG}, not --netG {options.netG}")
        if options.norm_statistics and kind.norm != "batch":
            raise ValueError(f"has no batch norms: leave out --norm_statistics {options.norm_statistics}")
        state = pix2pix.generator_state(tensors, kind)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    inside, outside = kind.in_channels, kind.out_channels
    if options.to_one_channel and options.direction == "to_infrared":
        state, outside = pix2pix.with_one_output(state, kind), 1
    elif options.to_one_channel:
        state, inside = pix2pix.with_one_input(state), 1
    found: dict[str, Any] = {"netG": kind.netG, "ngf": kind.ngf, "norm": kind.norm, "dropout": kind.dropout}
    method_options = CycleGANOptions(**found, upsample="transpose")
    channels = {"in_channels": str(inside), "out_channels": str(outside)}
    state = {f"{options.direction}.{name}": tensor for name, tensor in state.items()}
    statistics = {"norm_statistics": options.norm_statistics or "image"} if kind.norm == "batch" else {}
    return method_options, state, {"direction": options.direction, "range": "fixed", **channels, **statistics}


def _read_pth(path: Path) -> Tensors:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        if zipfile.is_zipfile(path) and (damaged := zipfile.ZipFile(path).testzip()):
            raise ValueError(f"{path}: is damaged ({damaged}); fetch it again")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path}: is no file of plain tensors saved by PyTorch. A whole network is not opened, since it could run "
            "code: where it was written, torch.save(network.state_dict(), FILE) writes what can be read"
        ) from None
    except Exception as error:  # a damaged file fails in many ways inside torch
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: is damaged, or no file of plain tensors saved by PyTorch") from None
    held = {str(key): value for key, value in found.items() if _are_tensors(value)} if isinstance(found, dict) else {}
    if len(held) > 1:
        raise ValueError(f"{path}: holds several networks ({', '.join(held)}): save the generator's state dict alone")
    if not _are_tensors(found) and not held:
        raise ValueError(f"{path}: is no file of plain tensors: it holds no state dict")
    return found if _are_tensors(found) else next(iter(held.values()))


def _are_tensors(value: Any) -> bool:
    """Whether it is a state dict."""
    return (
        isinstance(value, dict)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in value.items())
    )


def main(options: ImportOptions) -> None:
    """Convert, write, and say what was written."""
    check_file("--out", options.out, '"source":')  # of its metadata, which those of a run lack
    convert = from_tf if options.from_tf else from_pix2pix
    method_options, state, extra = convert(options)
    source = options.from_tf or options.from_pix2pix
    metadata = {
        "model": options.model,
        "options": json.dumps(to_dict(method_options)),
        "source": source.name,
        **extra,
    }
    save_weights(options.out, state, metadata)
    count = sum(tensor.numel() for tensor in state.values())
    about = ", ".join(f"{name} {value}" for name, value in metadata.items() if name != "options")
    print(f"wrote {options.out}: {count:,} numbers ({about})")


if __name__ == "__main__":
    run_command(lambda: main(parse(ImportOptions)))
