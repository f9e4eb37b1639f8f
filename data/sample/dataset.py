"""Write the whole sample data set: plan its videos, render them in parallel, put the folders in place at once."""

from __future__ import annotations

import glob
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.sample import flir
from data.sample.place import SCENES, draw_place
from data.sample.scene import view
from util.files import naming, part_of

VERSION = 1  # raise it when the same seed gives other pictures
RECORD = "sample.json"
FRAMES_PER_SECOND = 30


@dataclass(frozen=True)
class Recording:
    """One video of both cameras. frames: (index in the video, write the visible, write the thermal image)."""

    split: str
    seed: int
    rgb: flir.Video
    thermal: flir.Video
    frames: tuple[tuple[int, bool, bool], ...]


def plan(train: int, val: int, test: int, seed: int) -> list[Recording]:
    """The videos that hold so many scenes; a few frames of train lack one camera, as in FLIR's own."""
    recordings = []
    for split, count, shortest, longest in (("train", train, 2, 4), ("val", val, 2, 4), ("test", test, 5, 5)):
        rng = np.random.default_rng([seed, len(split), count])
        without_rgb = without_thermal = 0
        if split == "train" and count >= 10:
            without_rgb, without_thermal = max(1, round(0.03 * count)), max(1, round(0.02 * count))
        order = rng.permutation(count)
        no_rgb = set(order[:without_rgb].tolist())
        no_thermal = set(order[without_rgb : without_rgb + without_thermal].tolist())
        done = 0
        while done < count:
            length = min(int(rng.integers(shortest, longest + 1)), count - done)
            place_seed, stamp = int(rng.integers(2**31)), 1636000000 + int(rng.integers(10**7))
            ids = flir.new_id(rng), flir.new_id(rng)
            rgb = flir.Video(ids[0], f"{stamp}_visible.zip", "synthetic street")
            note = "synthetic street " + json.dumps({"RGB": ids[0]})
            index, frames = int(rng.integers(0, 1500)), []
            for k in range(done, done + length):
                frames.append((index, k not in no_rgb, k not in no_thermal))
                index += int(rng.integers(20, 61))
            thermal = flir.Video(ids[1], f"{stamp}_thermal.zip", note)
            recordings.append(Recording(split, place_seed, rgb, thermal, tuple(frames)))
            done += length
    return recordings


def record(root: Path, recording: Recording) -> list[tuple[flir.Frame | None, flir.Frame | None]]:
    """Render one video into the folders of root; the frames written, (visible, thermal), None where left out."""
    place = draw_place(recording.seed)
    rng = np.random.default_rng([recording.seed, 2])
    rgb_folder, thermal_folder = (root / name for name in flir.FOLDERS[recording.split])
    climate = place.climate
    extra = {"hours": climate.hours, "scene": SCENES[place.style], "weather": climate.weather}
    written = []
    first = recording.frames[0][0]
    for index, keep_rgb, keep_thermal in recording.frames:
        pair = view(place, (index - first) / FRAMES_PER_SECOND)
        ids = flir.new_id(rng), flir.new_id(rng)
        rgb = flir.write_visible(rgb_folder, recording.rgb, index, ids[0], pair, extra) if keep_rgb else None
        thermal = (
            flir.write_thermal(thermal_folder, recording.thermal, index, ids[1], pair, extra) if keep_thermal else None
        )
        written.append((rgb, thermal))
    return written


def _runs(number: str) -> bool:
    """Whether a process of that number may run, which then still writes what is called by it."""
    try:
        return os.name != "posix" or os.kill(int(number), 0) is None
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True


def _record_all(root: Path, recordings: list[Recording], workers: int) -> Iterator[list]:
    if workers <= 1:
        yield from (record(root, r) for r in recordings)
        return
    # spawn: the caller may hold a CUDA context or threads, which a forked child must not inherit
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            yield from pool.map(record, [root] * len(recordings), recordings)
    except BrokenProcessPool:
        raise ValueError(f"--workers {workers}: one was killed, perhaps for its memory; give fewer") from None


def _write(root: Path, recordings: list[Recording], seed: int, workers: int) -> None:
    for folders in flir.FOLDERS.values():
        for name, extra in zip(folders, ((), ("analyticsData", "masks")), strict=True):
            for sub in ("data", *extra):
                (root / name / sub).mkdir(parents=True)
    frames: dict[str, list] = {split: [] for split in flir.FOLDERS}
    total = sum(len(r.frames) for r in recordings)
    with tqdm(total=total, desc="sample data", unit="pair") as bar:
        for recording, written in zip(recordings, _record_all(root, recordings, workers), strict=True):
            frames[recording.split] += written
            bar.update(len(written))
    for k, (split, folders) in enumerate(flir.FOLDERS.items()):
        for camera, name in enumerate(folders):
            kept = [pair[camera] for pair in frames[split] if pair[camera] is not None]
            flir.write_folder(root / name, kept, np.random.default_rng([seed, 4, k, camera]))
    flir.write_map(root, [rgb for rgb, _ in frames["test"]], [thermal for _, thermal in frames["test"]])


def _holds(out: Path, wanted: dict[str, int]) -> bool:
    """Whether the folder is a finished data set of those parameters."""
    found = out / RECORD
    return found.is_file() and json.loads(found.read_text()) == wanted


def _put_in_place(part: Path, out: Path, wanted: dict[str, int]) -> None:
    try:
        part.replace(out)
    except OSError:
        if not _holds(out, wanted):  # else another process has just made the same
            raise


def make(out: Path, train: int = 200, val: int = 20, test: int = 40, seed: int = 0, workers: int | None = None) -> None:
    """Write train + val + test scenes to out in the layout of FLIR ADAS v2; the same seed writes the same bytes.

    workers: processes, all cores if None. Leaves out alone if it already holds just this data set. Raises
    ValueError on a folder that holds anything else.
    """
    out = Path(out)
    wanted = {"generator": VERSION, "train": train, "val": val, "test": test, "seed": seed}
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: give --out a folder")
    if out.is_dir() and any(out.iterdir()):
        found = out / RECORD
        if _holds(out, wanted):
            return
        what = (
            f"another sample data set ({found.read_text().strip()})" if found.is_file() else "files of something else"
        )
        raise ValueError(f"{out} holds {what}: give another --out, or remove that folder")
    part = part_of(out)
    for other in out.parent.glob(f"{glob.escape(part.name.rsplit('.', 2)[0])}.*.part"):
        if not _runs(other.name.split(".")[-2]):
            shutil.rmtree(other, ignore_errors=True)
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        recordings = plan(train, val, test, seed)
        with naming(out):
            _write(part, recordings, seed, workers or os.cpu_count() or 1)
            (part / RECORD).write_text(json.dumps(wanted))
        _put_in_place(part, out, wanted)
    finally:
        shutil.rmtree(part, ignore_errors=True)
