"""Reads TensorFlow's V2 checkpoints (PREFIX.index and PREFIX.data-00000-of-0000N) without TensorFlow.

The index is a LevelDB table: sorted keys, each with a BundleEntryProto that says where its tensor lies."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TABLE_MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
HEADER_KEY = b""
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 17: "<u2", 19: "<f2"}


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies and what it is."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


def read(prefix: Path) -> dict[str, np.ndarray]:
    """Return all numeric tensors of a checkpoint by name. Checksums are not compared.

    ValueError naming the file where it is absent, cut short, or written in a way not known here."""
    index = Path(f"{prefix}.index")
    if not index.is_file():
        raise ValueError(f"{index}: no such file; give the checkpoint's path without .index or .data-...")
    shards, entries = _read_index(index)
    data = {shard: _shard_bytes(prefix, shard, shards) for shard in {e.shard for e in entries.values()}}
    tensors = {}
    for name, entry in entries.items():
        path = _shard_path(prefix, entry.shard, shards)
        raw = data[entry.shard][entry.offset : entry.offset + entry.size]
        if entry.dtype not in DTYPES:
            raise ValueError(f"{index}: tensor {name} is of TensorFlow type {entry.dtype}, not a plain number")
        dtype = np.dtype(DTYPES[entry.dtype])
        if len(raw) != entry.size or entry.size != dtype.itemsize * int(np.prod(entry.shape, dtype=np.int64)):
            raise ValueError(f"{path}: tensor {name} {entry.shape} is cut short or of the wrong size")
        tensors[name] = np.frombuffer(raw, dtype).reshape(entry.shape).copy()
    return tensors


def _shard_path(prefix: Path, shard: int, shards: int) -> Path:
    return Path(f"{prefix}.data-{shard:05d}-of-{shards:05d}")


def _shard_bytes(prefix: Path, shard: int, shards: int) -> bytes:
    path = _shard_path(prefix, shard, shards)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; it must lie beside the .index file")
    return path.read_bytes()


def _read_index(path: Path) -> tuple[int, dict[str, Entry]]:
    """Number of data files, and the entries by tensor name."""
    table = path.read_bytes()
    try:
        pairs = dict(_table_pairs(table, path))
        shards, big_endian = _read_header(pairs.pop(HEADER_KEY))
        entries = {key.decode(): _read_entry(value) for key, value in pairs.items()}
    except (IndexError, KeyError, TypeError, UnicodeDecodeError, struct.error):
        raise ValueError(f"{path}: is not an intact TensorFlow checkpoint index") from None
    if big_endian:
        raise ValueError(f"{path}: was written on a big-endian machine, which is not supported")
    return shards, entries


def _table_pairs(table: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    footer = table[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or struct.unpack("<Q", footer[-8:])[0] != TABLE_MAGIC:
        raise ValueError(f"{path}: is not a TensorFlow V2 checkpoint index (cut short, or another format)")
    position = 0
    handle = []
    for _ in range(4):  # offset and size of the meta-index, which is not needed, then of the index block
        number, position = _varint(footer, position)
        handle.append(number)
    for _, value in _block_pairs(_block(table, handle[2], handle[3], path)):
        offset, at = _varint(value, 0)
        size, _ = _varint(value, at)
        yield from _block_pairs(_block(table, offset, size, path))


def _block(table: bytes, offset: int, size: int, path: Path) -> bytes:
    """Return one block, behind which lies a byte that names its compression, then a checksum."""
    kind = table[offset + size]
    if kind != 0:
        raise ValueError(f"{path}: is compressed (type {kind}); only uncompressed indexes can be read")
    return table[offset : offset + size]


def _block_pairs(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values; a key leaves out what it shares with the key before it."""
    restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 * (restarts + 1)
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + own]
        yield key, block[position + own : position + own + length]
        position += own + length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number in base 128, least significant first, and where the next thing begins."""
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a protocol buffer message."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, position = _varint(message, position)
        else:
            if kind == 2:
                size, position = _varint(message, position)
            else:
                size = {1: 8, 5: 4}[kind]
            value = message[position : position + size]
            if len(value) < size:
                raise IndexError
            position += size
        yield tag >> 3, value


def _read_header(message: bytes) -> tuple[int, bool]:
    fields = dict(_fields(message))
    return int(fields.get(1, 1)), bool(fields.get(2, 0))


def _read_entry(message: bytes) -> Entry:
    shape: tuple[int, ...] = ()
    numbers = {"dtype": 0, "shard": 0, "offset": 0, "size": 0}
    names = {1: "dtype", 3: "shard", 4: "offset", 5: "size"}
    for field, value in _fields(message):
        if field == 2:
            shape = tuple(int(dict(_fields(dim)).get(1, 0)) for f, dim in _fields(value) if f == 2)
        elif field in names:
            numbers[names[field]] = int(value)
    return Entry(shape=shape, **numbers)
