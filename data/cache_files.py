"""Decoded images in two files that many processes read and add to: pixels, one image after the other, and index, one
record an image.

Both only ever grow; a record is written after its pixels, under a lock, so that a reader sees whole images only. What
was cut short, by a power failure or by whoever needed the space, counts as absent."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator, Set
from hashlib import blake2b
from math import prod
from pathlib import Path

import numpy as np
import torch

FORMAT = 2  # of both files, and of how images are decoded: raised when either changes
KINDS = (torch.uint8, torch.float32)
_FIELDS = struct.Struct("<16sQIB3x3I")  # key, offset, checksum of the pixels, kind, channels, height, width
_RECORD = _FIELDS.size + 4  # and a checksum of these fields


def key_of(*facts: object) -> bytes:
    """16 bytes that differ where any of the facts does; facts by their repr."""
    return blake2b(repr((FORMAT, *facts)).encode(), digest_size=16).digest()


@contextlib.contextmanager
def locked(file: int) -> Iterator[None]:
    """Hold the lock of an open file: one process at a time does."""
    import fcntl  # nothing but a cache needs it, and Windows has none

    # Locks of lockf belong to a process; those of flock would be shared by forked workers.
    fcntl.lockf(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN)


class CacheFiles:
    """Images [C, H, W], uint8 or float32, by key. Shared by processes that are forked or get it pickled."""

    def __init__(self, index: Path, pixels: Path, limit: int) -> None:
        """limit: bytes of pixels at most. Makes the files where there are none."""
        self.paths, self.limit, self.place = (index, pixels), limit, index.parent
        self.full = False  # whether an image did not fit
        self.index, self.pixels = (os.open(path, os.O_RDWR | os.O_CREAT, 0o600) for path in self.paths)
        self.records: dict[bytes, tuple[int, int, torch.dtype, tuple[int, ...]]] = {}
        self.checked: set[bytes] = set()
        self.indexed = self.used = 0  # bytes of both files that are known here

    def unlink(self) -> None:
        """Take the files' names away: their space is free again when the last process has ended."""
        for path in self.paths:
            path.unlink(missing_ok=True)
        self.paths = tuple(Path(f"/proc/{os.getpid()}/fd/{number}") for number in (self.index, self.pixels))

    def __reduce__(self) -> tuple[type, tuple[Path, Path, int]]:
        return CacheFiles, (*self.paths, self.limit)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it could not be opened
            os.close(self.index)
            os.close(self.pixels)

    def keys(self) -> Set[bytes]:
        """Those of the images held."""
        self._catch_up()
        return self.records.keys()

    def __contains__(self, key: bytes) -> bool:
        return key in self.records or key in self.keys()

    def __len__(self) -> int:
        """Images held."""
        return len(self.keys())

    def _catch_up(self) -> None:
        """Learn of what other processes have added."""
        while len(chunk := os.pread(self.index, 4096 * _RECORD, self.indexed)) >= _RECORD:
            for start in range(0, len(chunk) - _RECORD + 1, _RECORD):
                fields, checksum = chunk[start : start + _FIELDS.size], chunk[start + _FIELDS.size : start + _RECORD]
                self.indexed += _RECORD
                if zlib.crc32(fields) == int.from_bytes(checksum, "little"):
                    key, offset, pixels, kind, *shape = _FIELDS.unpack(fields)
                    self.records[key] = offset, pixels, KINDS[kind], tuple(shape)
                    self.used = max(self.used, offset + prod(shape) * KINDS[kind].itemsize)

    def get(self, key: bytes) -> torch.Tensor | None:
        """The image of a key, if it is there."""
        if key not in self.records:
            self._catch_up()
        if key not in self.records:
            return None
        offset, checksum, kind, shape = self.records[key]
        image = torch.empty(shape, dtype=kind)
        flat = image.numpy().reshape(-1).view(np.uint8)
        done = os.preadv(self.pixels, [flat], offset)
        if done < flat.nbytes or (key not in self.checked and zlib.crc32(flat) != checksum):
            del self.records[key]
            return None
        self.checked.add(key)
        return image

    def put(self, key: bytes, image: torch.Tensor) -> None:
        """Keep an image, unless it is there or does not fit."""
        flat = image.contiguous().numpy().reshape(-1).view(np.uint8)
        with locked(self.index):
            self._catch_up()
            if key in self.records:
                return
            if self.used + flat.nbytes > self.limit:
                self.full = True
                return
            fields = _FIELDS.pack(key, self.used, zlib.crc32(flat), KINDS.index(image.dtype), *image.shape)
            try:
                _write(self.pixels, flat, self.used)
                _write(self.index, fields + zlib.crc32(fields).to_bytes(4, "little"), self.indexed)
            except OSError:  # the disk, or the shared memory, is full
                self.full = True


def _write(file: int, content: bytes | np.ndarray, offset: int) -> None:
    rest = memoryview(content)
    while rest:
        done = os.pwrite(file, rest, offset)
        rest, offset = rest[done:], offset + done
