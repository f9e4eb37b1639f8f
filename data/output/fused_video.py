"""Videos fused frame by frame: read, fused and written at the same time, one batch in memory at each of the three."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from data.counts import ThermalRange
from data.files import VIDEO_SUFFIXES
from data.inputs import evenly
from data.output.writing import Wait, coloured, copy_small
from data.video import FramePairs, VideoWriter, is_video
from options.fuse import SourceOptions
from util.training.progress import Counting

SHOWN = 12  # frames in the gallery, at most

Fuse = Callable[[torch.Tensor, "torch.Tensor | None"], tuple[torch.Tensor, torch.Tensor, Wait]]
"""Visible uint8 [N, 3, H, W] and infrared uint8 [N, 1, H, W], or None where it is to be made -> infrared, the fused
luminance [N, 1, H, W] in [-1, 1], and what waits until both have arrived on the CPU."""


class _FrameWriter:
    """A context that writes the fused video, the infrared one where it is made here, and frames for the gallery. rows:
    name of a frame that is shown -> column -> file."""

    def __init__(self, pairs: FramePairs, folder: Path, gray: bool, gallery: int) -> None:
        self.folder, self.gray, self.stem, self.done = folder, gray, pairs.visible.path.stem, 0
        self.shown = set(evenly(range(max(1, pairs.count)), min(SHOWN, gallery)))
        self.rows: dict[str, dict[str, Path]] = {}
        timing = pairs.visible.rate, pairs.visible.tick
        self.path = folder / "fused" / f"{self.stem}.mp4"
        self.fused = VideoWriter(self.path, *timing)
        heat = folder / "infrared" / f"{self.stem}.mp4"
        self.heat = VideoWriter(heat, *timing) if pairs.infrared is None else None
        self.stack = ExitStack()

    def __enter__(self) -> _FrameWriter:
        for video in (self.fused, self.heat):
            if video is not None:
                self.stack.enter_context(video)
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.__exit__(*error)

    def write(self, times: list[float], wait: Wait, *batch: torch.Tensor) -> None:
        """The next frames; times in seconds; batch: visible, infrared, fused, there after wait."""
        wait()
        for number, (time, colour, heat, image) in enumerate(zip(times, *batch, strict=True), self.done):
            array = coloured(colour, image, self.gray)
            self.fused.write(time, array)
            if self.heat is not None:
                self.heat.write(time, heat[0].numpy())
            if number in self.shown:
                name, columns = f"{self.stem}_{number:06d}", {"visible": colour, "infrared": heat, "fused": array}
                self.rows[name] = {label: self.folder / "previews" / label / f"{name}.jpg" for label in columns}
                for label, picture in columns.items():
                    copy_small(self.rows[name][label], picture)
        self.done += len(times)


def open_videos(sources: SourceOptions, thermal: ThermalRange, limits: tuple[int, int], pinned: bool) -> FramePairs:
    """The frames to fuse. limits, pinned: as of FramePairs. ImageError for what is no video."""
    paths = [path for path in (sources.visible, sources.infrared) if path is not None]
    if (other := next((path for path in paths if not is_video(path)), None)) is not None:
        endings = ", ".join(VIDEO_SUFFIXES)
        raise ValueError(f"{other} is no video beside one: give two videos or none, with names that end in {endings}")
    return FramePairs(sources.visible, sources.infrared, limits, sources.num_test, thermal, pinned)


def note_videos(pairs: FramePairs) -> list[str]:
    """Say in a line that the videos' rates differ; no line where they do not."""
    if pairs.infrared and pairs.infrared.rate != pairs.visible.rate:
        rate = f"{float(pairs.infrared.rate):g} frames/s"
        return [f"{pairs.infrared.path} has {rate}: the nearest in time are fused"]
    return []


def fuse_video(
    pairs: FramePairs, fuse: Fuse, folder: Path, gray: bool, gallery: int
) -> tuple[int, Path, dict[str, dict[str, Path]]]:
    """Fuse every frame, into a folder of results, with a bar or a line now and then; returns the number of frames, the
    video, and, of the frames that are shown, name -> column -> file. gallery: how many these are at most."""
    bar, files = Counting(pairs.count, "fusing", "frame"), _FrameWriter(pairs, folder, gray, gallery)
    with files, ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer, bar:
        batches, written = iter(pairs), None
        reading = reader.submit(next, batches, None)
        while (batch := reading.result()) is not None:
            reading = reader.submit(next, batches, None)
            times, visible, infrared = batch
            infrared, fused, wait = fuse(visible, infrared)
            if written:
                written.result()
            written = writer.submit(files.write, times, wait, visible, infrared, fused)
            bar.update(len(times))
        if written:
            written.result()
    return files.done, files.path, files.rows
