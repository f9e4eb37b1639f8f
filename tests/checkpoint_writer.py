"""Writes TensorFlow V2 checkpoints for the tests, from the format's description: a LevelDB table and raw data."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

CODES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9}


def varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def block(pairs: list[tuple[bytes, bytes]], every: int = 3) -> bytes:
    """Keys share beginnings, and every third starts afresh."""
    content, restarts, before = b"", [], b""
    for i, (key, value) in enumerate(pairs):
        shared = 0
        if i % every:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        else:
            restarts.append(len(content))
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    return content + b"".join(struct.pack("<I", at) for at in (*restarts, len(restarts)))


def write_checkpoint(prefix: Path, arrays: Mapping[str, np.ndarray], per_block: int = 4, compression: int = 0) -> None:
    """PREFIX.index and PREFIX.data-00000-of-00001, with some entries to a block."""
    data = b""
    pairs = [(b"", number(1, 1) + message(3, number(1, 1)))]
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        raw = array.tobytes()
        shape = b"".join(message(2, number(1, side)) for side in array.shape)
        entry = number(1, CODES[array.dtype.name]) + message(2, shape)
        entry += (number(4, len(data)) if data else b"") + number(5, len(raw))
        pairs.append((name.encode(), entry))
        data += raw
    table, handles = b"", []

    def append(content: bytes) -> bytes:
        nonlocal table
        handle = varint(len(table)) + varint(len(content))
        table += content + bytes([compression]) + b"\0\0\0\0"  # a checksum, which is not read
        return handle

    for i in range(0, len(pairs), per_block):
        group = pairs[i : i + per_block]
        handles.append((group[-1][0] + b"\x00", append(block(group))))
    footer = append(block([])) + append(block(handles, every=1))
    table += footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    Path(f"{prefix}.index").write_bytes(table)
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)


def convolution(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(0, 0.3, shape).astype(np.float32)


def made_fusion_gan(ngf: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays under the names of FusionGAN's released checkpoint."""
    rng = np.random.default_rng(seed)
    widths = [2, ngf, ngf // 2, ngf // 4, ngf // 8, 1]
    arrays = {"discriminator/layer_1/b_1": np.zeros(3, np.float32)}
    for i, size in enumerate((5, 5, 3, 3, 1), 1):
        layer, inside, outside = f"fusion_model/layer{i}", widths[i - 1], widths[i]
        arrays[f"{layer}/w{i}"] = convolution(rng, size, size, inside, outside)
        arrays[f"{layer}/b{i}"] = convolution(rng, outside)
        u = rng.normal(size=(1, outside))
        arrays[f"{layer}/weights_SN/u"] = (u / np.linalg.norm(u)).astype(np.float32)
        if i < 5:
            for name in ("beta", "moving_mean"):
                arrays[f"{layer}/BatchNorm/{name}"] = convolution(rng, outside)
            for name in ("gamma", "moving_variance"):
                arrays[f"{layer}/BatchNorm/{name}"] = rng.uniform(0.5, 2, outside).astype(np.float32)
    return arrays
