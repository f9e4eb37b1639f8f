"""Videos fused frame by frame: read, fused and written at the same time, one batch in memory at each of the three."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import torch

from data.inputs import evenly
from data.output.fused import Results, coloured
from data.output.writing import Wait
from data.video import FramePairs, VideoWriter
from util.training.progress import Counting

SHOWN = 12  # frames in the gallery, at most

Fuse = Callable[[torch.Tensor, "torch.Tensor | None"], tuple[torch.Tensor, torch.Tensor, Wait]]
"""Visible uint8 [N, 3, H, W] and infrared uint8 [N, 1, H, W], or None where it is to be made -> infrared, the fused
luminance [N, 1, H, W] in [-1, 1], and what waits until both have arrived on the CPU."""


class _FrameWriter:
    """A context that writes the fused video, the infrared one where it is made here, and frames for the gallery."""

    def __init__(self, results: Results, pairs: FramePairs) -> None:
        self.results, self.stem, self.done = results, pairs.visible.path.stem, 0
        self.shown = set(evenly(range(max(1, pairs.visible.count)), min(SHOWN, results.options.gallery)))
        timing = pairs.visible.rate, pairs.visible.tick
        self.fused = VideoWriter(fused_video(results.folder, pairs.visible.path), *timing)
        heat = results.folder / "infrared" / f"{self.stem}.mp4"
        self.heat = VideoWriter(heat, *timing) if pairs.infrared is None else None
        self.stack = ExitStack()

    def __enter__(self) -> _FrameWriter:
        for video in (self.fused, self.heat):
            if video is not None:
                self.stack.enter_context(video)
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.__exit__(*error)

    def write(self, times: list[float], wait: Wait, *batch: torch.Tensor) -> None:
        """The next frames; times in seconds; batch: visible, infrared, fused, there after wait."""
        wait()
        for number, (time, colour, heat, image) in enumerate(zip(times, *batch, strict=True), self.done):
            array = coloured(colour, image, self.results.options.gray)
            self.fused.write(time, array)
            if self.heat is not None:
                self.heat.write(time, heat[0].numpy())
            if number in self.shown:
                self.results.show_frame(f"{self.stem}_{number:06d}", colour, heat, array)
        self.done += len(times)


def fused_video(folder: Path, visible: Path) -> Path:
    """Where the fused video of a visible one goes."""
    return folder / "fused" / f"{visible.stem}.mp4"


def fuse_video(pairs: FramePairs, fuse: Fuse, results: Results) -> int:
    """Every frame, into the results' folder, with a bar or a line now and then; returns the number of frames."""
    count = min(pairs.visible.count, pairs.limit or pairs.visible.count)
    bar = Counting(count, "fusing", "frame")
    with _FrameWriter(results, pairs) as video, ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer, bar:
        batches, written = iter(pairs), None
        reading = reader.submit(next, batches, None)
        while (batch := reading.result()) is not None:
            reading = reader.submit(next, batches, None)
            times, visible, infrared = batch
            infrared, fused, wait = fuse(visible, infrared)
            if written:
                written.result()
            written = writer.submit(video.write, times, wait, visible, infrared, fused)
            bar.update(len(times))
        if written:
            written.result()
    return video.done
