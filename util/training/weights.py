"""Weights on disk: safetensors files that carry what they are for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from util.files import write_whole

METADATA, CHECKSUM = "__metadata__", "checksum"  # names in a file's header


def _header(content: bytes | memoryview) -> tuple[dict[str, Any], int]:
    """(what the file says of itself, where its numbers begin)."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(bytes(content[8 : 8 + length])), 8 + length


def _checksum(metadata: Mapping[str, str], header: Mapping[str, Any], numbers: memoryview) -> str:
    """Of all that a file holds, but this itself; the format has none of its own."""
    about = {name: value for name, value in metadata.items() if name != CHECKSUM}
    found = hashlib.sha256(json.dumps([about, dict(header) | {METADATA: None}], sort_keys=True).encode())
    found.update(numbers)
    return found.hexdigest()


def save_weights(path: Path, state_dict: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and what they are for, the same bytes for the same; a reader never sees half a file."""
    # One copy each, in the default layout: safetensors refuses shared or strided memory.
    tensors = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format).contiguous()
        for name, tensor in state_dict.items()
    }
    content = memoryview(save(tensors))
    header, begin = _header(content)
    numbers = content[begin:]
    about = dict(metadata) | {CHECKSUM: _checksum(metadata, header, numbers)}
    # safetensors would write these in an order of chance.
    text = json.dumps({METADATA: dict(sorted(about.items())), **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # numbers lie at multiples of 8 bytes
    write_whole(path, b"".join([len(text).to_bytes(8, "little"), text, numbers]))


def load_weights(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Metadata and tensors (on the CPU) of a file; ValueError where it is not an intact safetensors file."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    with path.open("rb"):  # an OSError names the file
        pass
    try:
        with safe_open(path, framework="pt") as file:
            metadata, tensors = dict(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: is not an intact safetensors file ({error})") from None
    if wanted := metadata.pop(CHECKSUM, None):
        content = memoryview(path.read_bytes())
        header, begin = _header(content)
        if _checksum(metadata, header, content[begin:]) != wanted:
            raise ValueError(f"{path}: is damaged: its numbers are not those that were written; make or copy it anew")
    return dict(sorted(metadata.items())), tensors
