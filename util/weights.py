"""Weights on disk: safetensors files that carry what they are for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from util.run_folder import write_whole


def save_weights(path: Path, state_dict: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and what they are for; a reader never sees half a file."""
    # One copy each, in the default layout: safetensors refuses shared or strided memory.
    tensors = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format).contiguous()
        for name, tensor in state_dict.items()
    }
    write_whole(path, save(tensors, metadata=dict(metadata)))


def load_weights(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Metadata and tensors (on the CPU) of a file; ValueError where it is not an intact safetensors file."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: is not an intact safetensors file ({error})") from None
