"""The cache of decoded images that a run asks for: in shared memory or on disk, for all workers and ranks of a
machine."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from data.cache_files import CacheFiles, key_of
from data.counts import ThermalRange
from data.disk_cache import DiskCache
from options.train import TrainOptions
from util.training import ranks

PREFETCH = 4  # batches that each worker makes ahead
LEAST_SPARE = 2**25  # bytes of shared memory left to whatever else needs it
Cache = CacheFiles | DiskCache


def _in_flight(options: TrainOptions) -> int:
    """Bytes of batches on their way from workers to the training, which go through shared memory as well."""
    wanted = options.input
    item = 4 * 4 * max(wanted.load_size, wanted.crop_size) ** 2  # three channels and one, float32
    ahead = PREFETCH * wanted.num_threads * wanted.batch_size * item
    return max(LEAST_SPARE, ahead * int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def _shared_memory(limit: int, spare: int) -> CacheFiles:
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
    if ranks.world() == 1:
        name = key_of(os.getpid(), time.time_ns()).hex()
    else:  # what all ranks of this job know, and no other job
        name = key_of(*map(os.environ.get, ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT"))).hex()
    cache = CacheFiles(folder / f"images-{name}.index", folder / f"images-{name}.pixels", limit)
    ranks.barrier()
    cache.unlink()
    return cache


def _room(folder: Path) -> int:
    """Bytes of free space, a tenth left to others."""
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize * 9 // 10


def _kind(options: TrainOptions) -> str:
    """What two runs must share for one to have any use of the other's images."""
    data, wanted = options.data, options.input
    sizing = (
        None if wanted.patch_stride else (wanted.preprocess, wanted.load_size, wanted.crop_size, wanted.scale_jitter)
    )
    roots = [str(root.dataroot.resolve()) for root in data.roots]
    facts = *roots, ThermalRange.from_options(data), wanted.sampling, sizing
    return key_of(*facts).hex()[:16]


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
    cache = DiskCache(folder, _kind(options), limit)
    cache.limit = min(limit, cache.taken() + _room(folder))
    return cache
