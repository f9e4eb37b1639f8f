"""Decoded images kept for later epochs, in shared memory or on disk, for all workers and ranks of a machine.

Two files: pixels, one image after the other, and index, one record an image. Both only ever grow; a record is
written after its pixels, under a lock, so that a reader sees whole images only. What was cut short by a power
failure fails its checksum and counts as absent."""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from math import prod
from pathlib import Path

import numpy as np
import torch

from options.train import TrainOptions
from util import distributed

FORMAT = 1  # of both files, and of how images are decoded: raised when either changes
PREFETCH = 4  # batches that each worker makes ahead
LEAST_SPARE = 2**25  # bytes of shared memory left to whatever else needs it
KINDS = (torch.uint8, torch.float32)
_FIELDS = struct.Struct("<16sQIB3x3I")  # key, offset, checksum of the pixels, kind, channels, height, width
_RECORD = _FIELDS.size + 4  # and a checksum of these fields


def key_of(*facts: object) -> bytes:
    """16 bytes that differ where any of the facts does; facts by their repr."""
    return blake2b(repr((FORMAT, *facts)).encode(), digest_size=16).digest()


class Cache:
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
        return Cache, (*self.paths, self.limit)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it could not be opened
            os.close(self.index)
            os.close(self.pixels)

    def __len__(self) -> int:
        """Images held."""
        self._catch_up()
        return len(self.records)

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
        if key not in self.checked:
            if done < flat.nbytes or zlib.crc32(flat) != checksum:
                del self.records[key]
                return None
            self.checked.add(key)
        return image

    def put(self, key: bytes, image: torch.Tensor) -> None:
        """Keep an image, unless it is there or does not fit."""
        flat = image.contiguous().numpy().reshape(-1).view(np.uint8)
        with self._locked():
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

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        import fcntl  # nothing but a cache needs it, and Windows has none

        # Locks of lockf belong to a process; those of flock would be shared by forked workers.
        fcntl.lockf(self.index, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self.index, fcntl.LOCK_UN)


def _write(file: int, content: bytes | np.ndarray, offset: int) -> None:
    rest = memoryview(content)
    while rest:
        done = os.pwrite(file, rest, offset)
        rest, offset = rest[done:], offset + done


def _in_flight(options: TrainOptions) -> int:
    """Bytes of batches on their way from workers to the training, which go through shared memory as well."""
    wanted = options.input
    item = 4 * 4 * max(wanted.load_size, wanted.crop_size) ** 2  # three channels and one, float32
    ahead = PREFETCH * wanted.num_threads * wanted.batch_size * item
    return max(LEAST_SPARE, ahead * int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def _shared_memory(limit: int, spare: int) -> Cache:
    """A cache without a name, for this process, its workers and the other ranks on this machine.

    spare: bytes of shared memory to leave; ValueError where no more are there."""
    folder = Path("/dev/shm")
    if not os.access(folder, os.W_OK):
        folder = Path(tempfile.gettempdir())
    limit = min(limit, _room(folder) - spare)
    if limit <= 0:
        raise ValueError(
            f"--cache memory: {folder} has {_room(folder) / 1e6:.0f} MB left, which the batches on their way need; "
            "give it more (docker run --shm-size 8g), or use --cache disk or --cache off"
        )
    if distributed.world() == 1:
        name = key_of(os.getpid(), time.time_ns()).hex()
    else:  # what all ranks of this job know, and no other job
        name = key_of(*map(os.environ.get, ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT"))).hex()
    cache = Cache(folder / f"images-{name}.index", folder / f"images-{name}.pixels", limit)
    distributed.barrier()
    cache.unlink()
    return cache


def _room(folder: Path) -> int:
    """Bytes of free space, a tenth left to others."""
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize * 9 // 10


def open_cache(options: TrainOptions) -> Cache | None:
    """The cache that the input options ask for; every rank must ask at once."""
    wanted = options.input
    if wanted.cache == "off":
        return None
    if not sys.platform.startswith("linux"):
        raise ValueError(f"--cache {wanted.cache} works on Linux only: leave it out")
    limit = int(wanted.cache_gb * 1e9)
    if wanted.cache == "memory":
        return _shared_memory(limit, _in_flight(options))
    folder = wanted.cache_dir or options.run.checkpoints_dir / options.run.name / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    pixels = folder / f"pixels_{FORMAT}"
    taken = pixels.stat().st_size if pixels.exists() else 0
    return Cache(folder / f"index_{FORMAT}", pixels, min(limit, taken + _room(folder)))
