"""From the names and layouts of the released TensorFlow checkpoints to the tensors of our fusion networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from options.fusion_gan import FusionGANOptions
from options.stdfusion_net import STDFusionNetOptions

Arrays = Mapping[str, np.ndarray]


class Taken:
    """Hands out arrays by name; ValueError for an absent one."""

    def __init__(self, arrays: Arrays, model: str) -> None:
        self.arrays, self.model = arrays, model

    def __call__(self, name: str) -> torch.Tensor:
        if name not in self.arrays:
            raise ValueError(f"the checkpoint has no {name}: it is not one of {self.model}")
        array = self.arrays[name]
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"the checkpoint's {name} holds what is no number, or no floating-point ones")
        return torch.from_numpy(np.array(array, np.float32))

    def conv(self, name: str) -> torch.Tensor:
        """TensorFlow's [height, width, in, out] -> [out, in, height, width]."""
        weight = self(name)
        if weight.ndim != 4:
            raise ValueError(f"the checkpoint's {name} has shape {tuple(weight.shape)}, not that of a convolution")
        return weight.permute(3, 2, 0, 1).contiguous()


def stdfusion_net_from_tf(arrays: Arrays) -> tuple[STDFusionNetOptions, dict[str, torch.Tensor]]:
    """Options and state dict of `STDFusionNet.network` from the arrays of a released checkpoint."""
    take = Taken(arrays, "STDFusionNet")
    root = "STDFusion_model"
    state: dict[str, torch.Tensor] = {}

    def block(there: str, here: str, changes_channels: bool) -> None:
        for name in ("conv1", "conv2", "conv3"):
            state[f"{here}.{name}.weight"] = take.conv(f"{there}/{name}/w")
            state[f"{here}.{name}.bias"] = take(f"{there}/{name}/b")
        if changes_channels:
            state[f"{here}.identity.weight"] = take.conv(f"{there}/identity_conv/w")

    for there, here in (("vi", "visible_encoder"), ("ir", "infrared_encoder")):
        encoder = f"{root}/{there}_extraction_network"
        state[f"{here}.0.weight"] = take.conv(f"{encoder}/conv1/w")
        state[f"{here}.0.bias"] = take(f"{encoder}/conv1/b")
        for i in (1, 2, 3):  # after the convolution and its activation
            block(f"{encoder}/block{i}", f"{here}.{i + 1}", changes_channels=i > 1)
    for i in (1, 2, 3, 4):
        block(f"{root}/reconstruction_network/block{i}", f"decoder.{i - 1}", changes_channels=True)
    return STDFusionNetOptions(ngf=len(state["visible_encoder.0.bias"])), state


def fusion_gan_from_tf(arrays: Arrays, as_released: bool = False) -> tuple[FusionGANOptions, dict[str, torch.Tensor]]:
    """Options and state dict of `FusionGAN.network` from the arrays of a released checkpoint.

    as_released: the network of the released test script, which ignores all but weights and biases."""
    take = Taken(arrays, "FusionGAN")
    state: dict[str, torch.Tensor] = {}
    for i in range(1, 6):
        layer, conv = f"fusion_model/layer{i}", f"body.{3 * (i - 1)}"
        weight = state[f"{conv}.weight"] = take.conv(f"{layer}/w{i}")
        state[f"{conv}.bias"] = take(f"{layer}/b{i}")
        u = f"{layer}/weights_SN/u"
        # Without the stored vector, the exact one.
        state[f"{conv}.u"] = take(u).flatten() if u in arrays else torch.linalg.svd(weight.flatten(1))[0][:, 0]
        if i < 5:
            state |= _batch_norm(take, f"{layer}/BatchNorm", f"body.{3 * i - 2}", len(weight), as_released)
    extra: dict[str, Any] = {"spectral_norm": False, "bn_statistics": "image"} if as_released else {}
    return FusionGANOptions(ngf=len(state["body.0.bias"]), **extra), state


def _batch_norm(take: Taken, there: str, here: str, channels: int, default: bool) -> dict[str, torch.Tensor]:
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    start = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    state = {
        f"{here}.{ours}": torch.full((channels,), start[ours]) if default else take(f"{there}/{theirs}")
        for ours, theirs in names.items()
    }
    return state | {f"{here}.num_batches_tracked": torch.tensor(0)}
