"""Generators saved by pytorch-CycleGAN-and-pix2pix as tensors of ours: found out from the tensors, mapped by order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from models.generators import make_generator

Tensors = Mapping[str, torch.Tensor]
RUNNING = ("running_mean", "running_var", "num_batches_tracked")
UNET_LEVELS = {7: "unet_128", 8: "unet_256"}
RESNET_BLOCKS = {6: "resnet_6blocks", 9: "resnet_9blocks"}


@dataclass(frozen=True)
class GeneratorKind:
    """What a file's tensors say about their network."""

    netG: str
    in_channels: int
    out_channels: int
    ngf: int
    norm: str
    dropout: bool


def plain(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Without the prefix of DataParallel, and without what old instance norm layers kept and never used. ValueError
    where they are no generator's weights."""
    for name, tensor in tensors.items():
        if not name.endswith(RUNNING[2:]) and not (tensor.layout == torch.strided and tensor.is_floating_point()):
            raise ValueError(f"its {name} is of {tensor.dtype}: not a plain tensor of floating-point numbers")
        if name.endswith(".filt"):
            raise ValueError(
                f"has anti-aliased layers ({name}), those of contrastive-unpaired-translation, which are not read: "
                "train there with --no_antialias --no_antialias_up"
            )
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    batch_norm = any(name.endswith(".weight") and tensor.ndim == 1 for name, tensor in tensors.items())
    unused = RUNNING[2:] if batch_norm else RUNNING
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(unused)}


def kind_of(tensors: Tensors) -> GeneratorKind:
    """Kind of the network whose `plain` tensors these are; ValueError where it is none of its generators."""
    layers = [tensor for name, tensor in tensors.items() if name.endswith(".weight") and tensor.ndim == 4]
    if len(layers) < 8:
        raise ValueError(
            f"holds {len(layers)} convolutions: not a ResNet or U-Net generator of pytorch-CycleGAN-and-pix2pix"
        )
    first, last = layers[0], layers[-1]
    norm = (
        "batch" if any(tensor.ndim == 1 for name, tensor in tensors.items() if name.endswith(".weight")) else "instance"
    )
    if norm == "instance" and sum(name.endswith(".bias") for name in tensors) == 1:
        norm = "none"  # whose convolutions lack biases there, but for the last
    ngf, in_channels, side = first.shape[:3]
    if side == 4:
        levels = len(layers) // 2
        if levels not in UNET_LEVELS or len(layers) % 2:
            raise ValueError(f"is a U-Net of {len(layers)} layers: only unet_128 and unet_256 are known")
        return _known(GeneratorKind(UNET_LEVELS[levels], in_channels, last.shape[1], ngf, norm, False))
    blocks = sum(tensor.shape[0] == tensor.shape[1] == 4 * ngf for tensor in layers) // 2
    if side != 7 or blocks not in RESNET_BLOCKS or len(layers) != 6 + 2 * blocks:
        raise ValueError(f"is a network of {len(layers)} layers: not a ResNet generator of 6 or 9 blocks")
    # The second convolution of a block has number 5, or 6 where dropout stands before it.
    dropout = any(re.search(r"conv_block\.6\.weight$", name) and tensor.ndim == 4 for name, tensor in tensors.items())
    return _known(GeneratorKind(RESNET_BLOCKS[blocks], in_channels, last.shape[0], ngf, norm, dropout))


def _known(kind: GeneratorKind) -> GeneratorKind:
    if not {kind.in_channels, kind.out_channels} <= {1, 3}:
        raise ValueError(
            f"takes {kind.in_channels} channels and makes {kind.out_channels}: 1 (grey) and 3 (colour) are known"
        )
    return kind


def generator_state(tensors: Tensors, kind: GeneratorKind) -> dict[str, torch.Tensor]:
    """State dict of our generator of that kind; ValueError where an order or shape does not fit."""
    ours = make_generator(
        kind.netG, kind.in_channels, kind.out_channels, kind.ngf, kind.norm, kind.dropout, "transpose"
    ).state_dict()
    spare = {name: tensor for name, tensor in ours.items() if name.endswith(RUNNING[2:])}
    if kind.norm == "none":  # ours have biases
        spare |= {name: torch.zeros_like(tensor) for name, tensor in list(ours.items())[:-1] if name.endswith(".bias")}
    wanted = [name for name in ours if name not in spare]
    if len(wanted) != len(tensors):
        raise ValueError(f"has {len(tensors)} tensors where {kind.netG} has {len(wanted)}")
    state = {}
    for name, (theirs, tensor) in zip(wanted, tensors.items(), strict=True):
        if tensor.shape != ours[name].shape:
            raise ValueError(f"its {theirs} is {tuple(tensor.shape)} where {kind.netG} has {tuple(ours[name].shape)}")
        if not tensor.isfinite().all():
            raise ValueError(f"its {theirs} holds infinite numbers or NaN")
        state[name] = tensor.float()
    return {name: state[name] if name in state else spare[name] for name in ours}


def with_one_output(tensors: Tensors, kind: GeneratorKind) -> dict[str, torch.Tensor]:
    """The last layer averaged over its output channels. Not the mean of the outputs: tanh follows."""
    weight, bias = [name for name in tensors if not name.endswith(RUNNING[2:])][-2:]
    axis = 1 if kind.netG in UNET_LEVELS.values() else 0
    averaged = {
        weight: tensors[weight].mean(axis, keepdim=True),
        bias: tensors[bias].mean(0, keepdim=True),
    }
    return {**tensors, **averaged}


def with_one_input(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The first layer summed over its input channels: exactly what it does with equal channels."""
    first = next(iter(tensors))
    return {**tensors, first: tensors[first].sum(1, keepdim=True)}
