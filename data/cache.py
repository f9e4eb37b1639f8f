"""Decoded images kept for later epochs and runs: a folder with one file an image, shared by workers, ranks and runs.

Files are added and removed under the folder's lock, whose file says how many bytes there are. An image was last used at
its file's time; those not used for longest make room for others. What was cut short counts as absent."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import struct
import sys
import tempfile
import time
import weakref
import zlib
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import torch

from options.train import TrainOptions
from util.training import ranks
from util.training.run_folder import RunFolder

with contextlib.suppress(ImportError):
    import fcntl  # Windows has none, and no cache

PREFETCH = 4  # batches that each worker makes ahead
LEAST_SPARE = 2**25  # bytes of shared memory left to whatever else needs it
FORMAT = 3  # of the files, and of how images are decoded: raised when either changes
KINDS = (torch.uint8, torch.float32)
HEAD = struct.Struct("<IB3x3I")  # checksum of what follows; kind, channels, height, width of the pixels behind
OWN = re.compile(r"[0-9a-f]{32}\.(image|part)")  # names of its files: a folder that is given may hold others
LOCK = "images.lock"
USE_S = 60.0  # seconds after which the use of an image is noted anew
AT_ONCE = 32  # part of the space that is freed at once: to look through the folder takes time


def key_of(*facts: object) -> bytes:
    """Return 16 bytes that differ where any of the facts does; facts by their repr."""
    return blake2b(repr((FORMAT, *facts)).encode(), digest_size=16).digest()


class Cache:
    """Images [C, H, W], uint8 or float32, by key. Shared by processes that are forked or get it pickled, and by runs
    that use the same folder."""

    def __init__(self, folder: Path, limit: int, since: float | None = None) -> None:
        """limit: bytes in the folder at most. since: the run's beginning, by default now; what has been used since then
        is not removed to make room."""
        self.place, self.limit = folder, limit
        self.since = time.time() - 1 if since is None else since  # files' times may lag behind the clock
        self.full = False  # whether an image did not fit
        self.checked: set[bytes] = set()  # keys of images that were found whole
        self.lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)

    def __reduce__(self) -> tuple[type, tuple[Path, int, float]]:
        return Cache, (self.place, self.limit, self.since)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it could not be opened
            os.close(self.lock)

    def __len__(self) -> int:
        """Count the images held."""
        return len(self._files())

    def get(self, key: bytes) -> torch.Tensor | None:
        """Return the image of a key, if it is there."""
        path = self._file(key)
        try:
            with path.open("rb") as file:
                about = os.fstat(file.fileno())
                content = bytearray(about.st_size)
                file.readinto(content)
                if about.st_mtime < max(self.since, time.time() - USE_S):
                    os.utime(file.fileno())
        except OSError:
            return None
        if key not in self.checked:
            if len(content) <= HEAD.size or zlib.crc32(memoryview(content)[4:]) != HEAD.unpack_from(content)[0]:
                path.unlink(missing_ok=True)
                return None
            self.checked.add(key)
        _, kind, *shape = HEAD.unpack_from(content)
        return torch.frombuffer(content, dtype=KINDS[kind], offset=HEAD.size).reshape(shape)

    def put(self, key: bytes, image: torch.Tensor) -> None:
        """Keep an image, unless it is there or does not fit."""
        pixels, path = image.contiguous().numpy().tobytes(), self._file(key)
        head = HEAD.pack(0, KINDS.index(image.dtype), *image.shape)[4:]
        content = zlib.crc32(pixels, zlib.crc32(head)).to_bytes(4, "little") + head + pixels
        part = path.with_suffix(".part")
        try:
            with self._locked():
                taken = int.from_bytes(os.pread(self.lock, 8, 0), "little")
                if taken + len(content) > self.limit and not self.full:
                    taken = self._make_room(len(content))
                if taken + len(content) > self.limit:
                    self.full = True  # and stays so: what is older than the run has gone
                elif not path.exists():
                    self._note(taken + len(content))
                    part.write_bytes(content)
                    part.replace(path)
        except OSError:  # the disk, or the shared memory, is full, or somebody has removed the folder
            self.full = True
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def claim(self, keys: Iterable[bytes]) -> int:
        """Return how many of the images that a run will use are there, within the limit; from now on they are not
        removed to make room for its others. What is more than the limit, since that has become less, is removed."""
        wanted = {self._file(key) for key in keys}
        held = size = 0
        for path, about in self._files():
            if path in wanted and size + about.st_size <= self.limit:
                with contextlib.suppress(FileNotFoundError):
                    os.utime(path)
                    held, size = held + 1, size + about.st_size
        with self._locked():
            self._make_room(0)
        return held

    def taken(self) -> int:
        """Return the bytes of all images in the folder."""
        return sum(about.st_size for _, about in self._files())

    def _file(self, key: bytes) -> Path:
        return self.place / f"{key.hex()}.image"

    def _files(self, kind: str = "image") -> list[tuple[Path, os.stat_result]]:
        """Return the file of each image, or "part" of one, and what the system says of it; none where somebody has
        removed the folder."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.place) as entries:
            for entry in entries:
                own = OWN.fullmatch(entry.name)
                if own is not None and own[1] == kind:
                    with contextlib.suppress(FileNotFoundError):  # another process has removed it
                        found.append((Path(entry.path), entry.stat()))
        return found

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock: one process at a time does."""
        # Locks of lockf belong to a process; those of flock would be shared by forked workers.
        fcntl.lockf(self.lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self.lock, fcntl.LOCK_UN)

    def _note(self, taken: int) -> None:
        os.pwrite(self.lock, taken.to_bytes(8, "little"), 0)

    def _make_room(self, more: int) -> int:
        """Remove images until there is room for so many bytes more, the one not used for longest first; none that was
        used since this run began. Return the bytes that are left, counted anew. Needs the lock."""
        for part, _ in self._files("part"):  # of a process that was killed as it held the lock
            part.unlink(missing_ok=True)
        files = sorted(self._files(), key=lambda file: file[1].st_mtime)
        taken = sum(about.st_size for _, about in files)
        goal = self.limit - more if taken + more <= self.limit else self.limit - more - self.limit // AT_ONCE
        for path, about in files:
            if taken <= goal or about.st_mtime >= self.since:
                break
            path.unlink(missing_ok=True)
            taken -= about.st_size
        self._note(taken)
        return taken


def _in_flight(options: TrainOptions) -> int:
    """Return the bytes of batches on their way from workers to the training, which go through shared memory as well."""
    wanted = options.input
    item = 4 * 4 * max(wanted.load_size, wanted.crop_size) ** 2  # three channels and one, float32
    ahead = PREFETCH * wanted.num_threads * wanted.batch_size * item
    return max(LEAST_SPARE, ahead * int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def _room(folder: Path) -> int:
    """Return the bytes of free space, a tenth left to others."""
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize * 9 // 10


def _remove_left(top: Path) -> None:
    """Remove the caches of runs that were killed: those whose lock file no process holds any more."""
    for folder in top.glob("images-*"):
        with contextlib.suppress(OSError):  # it is held, somebody else's, or has just gone
            lock = os.open(folder / LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _end(folder: Path, process: int) -> None:
    if os.getpid() == process:  # and no worker that was forked from it
        shutil.rmtree(folder, ignore_errors=True)


def _shared_memory(limit: int, spare: int) -> Cache:
    """Return a cache in shared memory for this process, its workers and the other ranks on this machine, which ends
    with the first of them.

    spare: bytes of shared memory to leave; ValueError where no more are there."""
    top = Path("/dev/shm")
    if not os.access(top, os.W_OK):
        top = Path(tempfile.gettempdir())
    if ranks.is_first_here():  # before any rank makes the folder of this job, which nobody has locked yet
        _remove_left(top)
    ranks.barrier()
    limit = min(limit, _room(top) - spare)
    if limit <= 0:
        raise ValueError(
            f"--cache memory: {top} has {_room(top) / 1e6:.0f} MB left, which the batches on their way need; "
            "give it more (docker run --shm-size 8g), or use --cache disk or --cache off"
        )
    facts: list[object] = [os.getpid(), time.time_ns()]
    if ranks.world() > 1:  # what all ranks of this job know, and no other job
        facts = [os.environ.get(name) for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")]
    folder = top / f"images-{key_of(*facts).hex()}"
    if ranks.is_first_here():  # under another name until it is locked: _remove_left of another job would take it
        new = Path(tempfile.mkdtemp(prefix="new-images-", dir=top))
        lock = os.open(new / LOCK, os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_SH)
        with contextlib.suppress(OSError):  # it is there, held by a worker of this job from before a restart
            new.rename(folder)
    ranks.barrier()
    cache = Cache(folder, limit)
    fcntl.flock(cache.lock, fcntl.LOCK_SH)  # held by this process and its workers
    if ranks.is_first_here():
        os.close(lock)
        shutil.rmtree(new, ignore_errors=True)  # where it still has that name
        weakref.finalize(cache, _end, folder, os.getpid())
    ranks.barrier()
    return cache


def open_cache(options: TrainOptions) -> Cache | None:
    """Return the cache that the input options ask for; every rank must ask at once."""
    wanted = options.input
    if wanted.cache == "off":
        return None
    if not sys.platform.startswith("linux"):
        raise ValueError(f"--cache {wanted.cache} works on Linux only: leave it out")
    limit = int(wanted.cache_gb * 1e9)
    if wanted.cache == "memory":
        return _shared_memory(limit, _in_flight(options))
    folder = wanted.cache_dir or RunFolder(options.run.checkpoints_dir / options.run.name).cache
    folder.mkdir(parents=True, exist_ok=True)
    cache = Cache(folder, limit)
    cache.limit = min(limit, cache.taken() + _room(folder))
    return cache
