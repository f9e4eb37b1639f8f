"""Pairs to fuse, by stem, by data set or by video, on their way to a network; infrared may still have to be made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.images import ImageError, Source, ThermalRange, list_images, read_infrared, read_visible, view_size
from data.inference import Job, VisibleImages, unlike_stems
from data.layouts import Listing, Pair, find
from data.layouts.pairing import join
from data.transforms import as_tensor, resize
from data.video import InStep, Video
from options.data import DataOptions

BATCH_PIXELS = 16 << 20  # 64 MB of a visible and an infrared image


@dataclass(frozen=True)
class Found:
    """What to fuse (each job's visible stem names its result; real is None where infrared is to be made), what
    was passed over, and one line about it."""

    jobs: list[Job]
    skipped: list[ImageError]
    summary: str


def _names(sources: Sequence[Source]) -> str:
    return ", ".join(source.path.name for source in sources[:3]) + (", ..." if len(sources) > 3 else "")


def pair_up(visible: Sequence[Source], infrared: Sequence[Source]) -> list[Pair]:
    """Pairs of equal stems; what is left over then pairs by its stems without _RGB, _ir and the like."""
    pairs = list(join(visible, infrared))
    taken = {source for pair in pairs for source in (pair.visible, pair.infrared)}
    rest = [[source for source in side if source not in taken] for side in (visible, infrared)]
    if pairs and all(rest):
        stems = {pair.stem.casefold() for pair in pairs}
        more = join(*rest)
        pairs += [replace(p, stem=p.visible.stem) if p.stem.casefold() in stems else p for p in more]
    place = {source: number for number, source in enumerate(visible)}
    return sorted(pairs, key=lambda pair: place[pair.visible])


def _job(pair: Pair) -> Job:
    return Job(replace(pair.visible, stem=pair.stem), pair.infrared)


def find_pairs(visible: Path, infrared: Path) -> Found:
    """Two files make one pair; images of two folders pair by stem, and those without a partner are skipped.
    ValueError where nothing pairs."""
    sides = list_images(visible), list_images(infrared)
    if visible.is_dir() != infrared.is_dir():
        raise ValueError(f"--visible {visible} and --infrared {infrared}: give two folders or two files")
    if not visible.is_dir():
        return Found([Job(sides[0][0], sides[1][0])], [], f"{visible} and {infrared}")
    if visible.samefile(infrared):
        raise ValueError(
            f"--visible and --infrared are one folder, {visible}: move the images apart, or give --dataroot"
        )
    pairs = pair_up(*sides)
    if not pairs:
        raise ValueError(
            f"no image in {visible} ({_names(sides[0])}) has the stem of one in {infrared} ({_names(sides[1])}): "
            "give both images of a pair the same name"
        )
    paired = {source for pair in pairs for source in (pair.visible, pair.infrared)}
    skipped = [
        ImageError(source.path, f"no {other} image has its stem")
        for side, other in zip(sides, ("infrared", "visible"), strict=True)
        for source in side
        if source not in paired
    ]
    return Found([_job(pair) for pair in pairs], skipped, f"{len(pairs)} pairs of {visible} and {infrared}")


def find_visible(visible: Path) -> Found:
    """Visible images alone, a folder or a file."""
    jobs = [Job(source) for source in list_images(visible)]
    return Found(jobs, [], f"{len(jobs)} visible images in {visible}")


def _passed_over(listing: Listing, wanted: Sequence[str]) -> list[ImageError]:
    """Unusable files beside the images of the wanted splits."""
    folders = {path.parent for name in wanted for path in listing.splits[name].files()}
    return [ImageError(item.path, item.reason) for item in listing.skipped if item.path.parent in folders]


def find_data_set(options: DataOptions, split: str, with_infrared: bool) -> Found:
    """A data set's pairs, or all its visible images; split: one of its splits, or all. ValueError for none."""
    listing = find(options)
    wanted = [name for name in listing.splits if split in (name, "all")]
    if not wanted:
        raise ValueError(f"{listing.root}: has no {split} split but {', '.join(listing.splits)}: give --split")
    if with_infrared:
        splits = {name: [_job(pair) for pair in listing.splits[name].pairs] for name in wanted}
    else:
        splits = {name: [Job(source) for source in listing.splits[name].visible] for name in wanted}
    jobs = unlike_stems(splits)
    if not jobs:
        kind = "pairs" if with_infrared else "visible images"
        raise ValueError(f"{listing.summary()}: no {kind} in --split {split}: give another")
    return Found(jobs, _passed_over(listing, wanted), listing.summary())


def grey_tensor(array: np.ndarray) -> torch.Tensor:
    """uint8 or uint16 [H, W] -> uint8 [1, H, W], rounded."""
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return as_tensor(array)


class FusionInputs(VisibleImages):
    """Item: {"visible": uint8 [3, H, W], "infrared": uint8 [1, H, W] unless it is to be made, "resized": its size
    before, where it differed, "job"}; {"job", "error"} for a file that cannot be read."""

    def __init__(self, jobs: Sequence[Job], thermal: ThermalRange) -> None:
        super().__init__(jobs, thermal, None)

    def __getitem__(self, index: int) -> dict[str, Any]:
        job = self.jobs[index]
        try:
            item = {"job": job, "visible": as_tensor(read_visible(job.visible))}
            if job.real is not None:
                infrared = grey_tensor(read_infrared(job.real, self.thermal))
                size = tuple(item["visible"].shape[-2:])
                if tuple(infrared.shape[-2:]) != size:
                    item["resized"] = tuple(infrared.shape[-2:])
                item["infrared"] = resize(infrared, size)
        except ImageError as error:
            return {"job": job, "error": error}
        return item

    def batches(self, batch_size: int) -> tuple[list[list[int]], list[ImageError]]:
        """As in VisibleImages; fewer images in a batch where they are large."""
        batches, errors = super().batches(batch_size)
        few = [images_in(batch_size, *view_size(self.jobs[batch[0]].visible)) for batch in batches]
        return [
            batch[at : at + count]
            for batch, count in zip(batches, few, strict=True)
            for at in range(0, len(batch), count)
        ], errors


def images_in(batch_size: int, height: int, width: int) -> int:
    """Images of a batch, by number and by pixels; at least 1."""
    return max(1, min(batch_size, BATCH_PIXELS // (height * width)))


class FramePairs:
    """Iterates over batches (times in seconds, visible uint8 [N, 3, H, W], infrared uint8 [N, 1, H, W] or None) of
    two videos in step, or of one; all at the size of the first visible frame. errors: why it ended, if broken."""

    def __init__(self, visible: Path, infrared: Path | None, batch_size: int, limit: int | None) -> None:
        """limit: frames at most. ImageError for what is no video, ValueError where PyAV is missing."""
        self.visible, self.infrared = Video(visible), Video(infrared) if infrared else None
        self.steps = InStep(self.visible, self.infrared) if infrared else None
        self.batch_size, self.limit = batch_size, limit
        self.errors: list[ImageError] = []

    def _frames(self) -> Iterator[tuple[float, torch.Tensor, torch.Tensor | None]]:
        size = None
        for frame, partner in self.steps or ((frame, None) for frame in self.visible.frames()):
            rgb = as_tensor(frame.rgb())
            size = size or tuple(rgb.shape[-2:])
            grey = None if partner is None else resize(as_tensor(partner.grey()), size)
            yield frame.time, resize(rgb, size), grey

    def __iter__(self) -> Iterator[tuple[list[float], torch.Tensor, torch.Tensor | None]]:
        frames = islice(self._frames(), self.limit)
        count = images_in(self.batch_size, *self.visible.size)
        while True:
            batch = []
            try:
                batch.extend(islice(frames, count))  # extend keeps what came before an error
            except ImageError as error:
                self.errors.append(error)
            if batch:
                times, visible, infrared = zip(*batch, strict=True)
                yield list(times), torch.stack(visible), None if infrared[0] is None else torch.stack(infrared)
            if len(batch) < count:
                return
