"""Pairs to fuse, by stem, by data set or by video, on their way to a network; infrared may still have to be made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.files import Met, name_key
from data.first_use import ensure_sample
from data.images import ImageError, Source, ThermalRange, list_images, read_infrared, read_visible
from data.layouts import Pair, find
from data.layouts.pairing import bare_stem, join
from data.samples import evenly
from data.transforms import Preprocess, as_tensor, resize
from data.video import Frame, InStep, Video
from data.views import note_views
from data.visible_images import BATCH_PIXELS, Found, Job, VisibleImages, images_in, read_seen, unlike_stems
from options.data import DataOptions
from options.fuse import FuseDataOptions, SourceOptions
from util.text import first_few, plural


def _names(sources: Sequence[Source]) -> str:
    return first_few(source.path.name for source in sources)


def _alone(sources: Sequence[Source], paired: Set[Source], partners: Sequence[Source], other: str) -> list[ImageError]:
    """Those of one side in no pair. other: what the partners are called."""
    stems = {name_key(partner.path.stem): partner for partner in partners}
    bare = {name_key(bare_stem(partner.path.stem)): partner for partner in partners if partner not in paired}
    errors = []
    for source in sources:
        if source in paired:
            continue
        same, near = stems.get(name_key(source.path.stem)), bare.get(name_key(bare_stem(source.path.stem)))
        reason = f"no {other} image has its stem"
        if same is not None:
            reason = f"{same.path.name} has its stem, but so has another image: give each pair names of its own"
        elif near is not None:
            reason += f"; {near.path.name} would be its partner if no other names were equal and no others so like it"
            reason += ": give both one name"
        errors.append(ImageError(source.path, reason))
    return errors


def _job(pair: Pair) -> Job:
    return Job(replace(pair.visible, stem=pair.stem), pair.infrared)


def find_pairs(visible: Path, infrared: Path) -> Found:
    """Two files make one pair; images of two folders pair as those of data sets do, by stem, or without what says
    visible or infrared where no stems are equal, and those without a partner are skipped. ValueError where nothing
    pairs."""
    met = Met()
    sides = list_images(visible, met), list_images(infrared, met)
    if visible.is_dir() != infrared.is_dir():
        raise ValueError(f"--visible {visible} and --infrared {infrared}: give two folders or two files")
    if not visible.is_dir():
        return Found([Job(sides[0][0], sides[1][0])], [], f"{visible} and {infrared}")
    if visible.samefile(infrared):
        raise ValueError(
            f"--visible and --infrared are one folder, {visible}: move the images apart, or give --dataroot"
        )
    pairs = join(*sides, roots=(visible, infrared))
    if not pairs:
        raise ValueError(
            f"no image in {visible} ({_names(sides[0])}) has the stem of one in {infrared} ({_names(sides[1])}): "
            "give both images of a pair the same name"
        )
    paired = {source for pair in pairs for source in (pair.visible, pair.infrared)}
    skipped = _alone(sides[0], paired, sides[1], "infrared") + _alone(sides[1], paired, sides[0], "visible")
    first, about = pairs[0], f"{plural(len(pairs), 'pair')} of {visible} and {infrared}"
    if name_key(first.visible.path.stem) != name_key(first.infrared.path.stem):
        about += f", paired without endings: {first.visible.path.name} and {first.infrared.path.name}, ..."
    found = Found.among([_job(pair) for pair in pairs], met, about)
    return replace(found, skipped=found.skipped + skipped)


def find_visible(visible: Path) -> Found:
    """Visible images alone, a folder or a file."""
    met = Met()
    jobs = [Job(source) for source in list_images(visible, met)]
    return Found.among(jobs, met, f"{plural(len(jobs), 'visible image')} in {visible}")


def find_data_set(options: DataOptions, split: str, with_infrared: bool) -> Found:
    """A data set's pairs, or all its visible images; split: one of its splits, or all. ValueError for none."""
    listing = find(options)
    wanted = listing.chosen(split)
    if with_infrared:
        splits = {name: [_job(pair) for pair in listing.splits[name].pairs] for name in wanted}
    else:
        splits = {name: [Job(source) for source in listing.splits[name].visible] for name in wanted}
    jobs = unlike_stems(splits)
    if not jobs:
        kind = "pairs" if with_infrared else "visible images"
        raise ValueError(f"{listing.summary()}: no {kind} in --split {split}: give another")
    found = Found.among(jobs, Met(), listing.summary(), listing.notes)
    return replace(found, skipped=found.skipped + listing.passed_over(wanted))


def find_inputs(sources: SourceOptions, data: FuseDataOptions) -> Found:
    """What fuse.py fuses, of its folders, files or data set. ImageError for what is passed over, if strict."""
    if sources.visible is not None:
        found = find_pairs(sources.visible, sources.infrared) if sources.infrared else find_visible(sources.visible)
        found = found.seen_alike(data.visible_bits)
    else:
        options = data.for_root()
        ensure_sample(options.dataroot)
        found = find_data_set(options, sources.split, with_infrared=sources.generator is None)
    if found.skipped and data.strict:
        raise found.skipped[0]
    return found if sources.num_test is None else replace(found, jobs=evenly(found.jobs, sources.num_test))


def note_other_views(jobs: Sequence[Job], num_threads: int) -> list[str]:
    """A line where visible images show more than their infrared partners, or less."""
    pairs = [(job.visible, job.real) for job in jobs if job.real is not None]
    remedy = "--dataroot ROOT, in place of --visible and --infrared, cuts those of FLIR ADAS to the thermal view"
    line = note_views(
        pairs, "visible images", "their infrared partners", remedy, num_threads, why="they are fused pixel by pixel"
    )
    return [line] if line else []


def grey_tensor(array: np.ndarray) -> torch.Tensor:
    """uint8 or uint16 [H, W] -> uint8 [1, H, W], rounded."""
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return as_tensor(array)


class FusionInputs(VisibleImages):
    """Item: {"visible": uint8 [3, H, W], "infrared": uint8 [1, H, W], "resized": its size before, where it differed,
    "job"}; {"job", "error"} for a file that cannot be read. Where infrared is to be made: no "infrared", but "seen",
    uint8 [3, h, w] as the generator sees the visible image, if that is at another size. A batch has one H, W."""

    def __init__(
        self,
        jobs: Sequence[Job],
        thermal: ThermalRange,
        generator_sees: Preprocess | None = None,
        batch_pixels: int = BATCH_PIXELS,
    ) -> None:
        """generator_sees: whose working size a generator sees images at; None for their own. batch_pixels: that a
        batch has at most, unless one image has more."""
        super().__init__(jobs, thermal, None, batch_pixels)
        self.seen_size = generator_sees.working_size if generator_sees else self.working_size

    def __getitem__(self, index: int) -> dict[str, Any]:
        job = self.jobs[index]
        try:
            return {"job": job} | (self._unpaired(job) if job.real is None else self._paired(job))
        except ImageError as error:
            return {"job": job, "error": error}

    def _paired(self, job: Job) -> dict[str, Any]:
        item = {"visible": as_tensor(read_visible(job.visible))}
        infrared = grey_tensor(read_infrared(job.real, self.thermal))
        size = tuple(item["visible"].shape[-2:])
        if tuple(infrared.shape[-2:]) != size:
            item["resized"] = tuple(infrared.shape[-2:])
        return item | {"infrared": resize(infrared, size)}

    def _unpaired(self, job: Job) -> dict[str, Any]:
        seen, picture, size = read_seen(job.visible, self.seen_size)
        if tuple(seen.shape[-2:]) == size:
            return {"visible": seen}
        whole = tuple(picture.shape[-2:]) == size
        return {"visible": picture if whole else as_tensor(read_visible(job.visible)), "seen": seen}


class FramePairs:
    """Iterates over batches (times in seconds, visible uint8 [N, 3, H, W], infrared uint8 [N, 1, H, W] or None) of
    two videos in step, or of one; all at the size of the first visible frame. errors: why it ended, if broken."""

    def __init__(
        self,
        visible: Path,
        infrared: Path | None,
        limits: tuple[int, int],
        limit: int | None,
        thermal: ThermalRange,
        pinned: bool = False,
    ) -> None:
        """limits: of a batch, (images, pixels). limit: frames at most. pinned: whether they lie in memory that a GPU
        can fetch by itself. ImageError for what is no video, ValueError where PyAV is missing."""
        self.thermal = thermal
        self.visible, self.infrared = Video(visible), Video(infrared) if infrared else None
        self.steps = InStep(self.visible, self.infrared) if infrared else None
        self.limits, self.limit, self.pinned = limits, limit, pinned
        self.errors: list[ImageError] = []

    def _frames(self) -> Iterator[tuple[float, torch.Tensor, torch.Tensor | None]]:
        size = None
        for frame, partner in self.steps or ((frame, None) for frame in self.visible.frames()):
            rgb = as_tensor(frame.rgb())
            size = size or tuple(rgb.shape[-2:])
            yield frame.time, resize(rgb, size), None if partner is None else resize(self._grey(partner), size)

    def _grey(self, frame: Frame) -> torch.Tensor:
        try:
            return grey_tensor(frame.grey(self.thermal))
        except ValueError as error:
            raise ImageError(self.infrared.path, str(error)) from None

    def _stack(self, frames: Sequence[torch.Tensor]) -> torch.Tensor:
        batch = torch.stack(list(frames))
        return batch.pin_memory() if self.pinned else batch

    def __iter__(self) -> Iterator[tuple[list[float], torch.Tensor, torch.Tensor | None]]:
        frames = islice(self._frames(), self.limit)
        count = images_in(self.limits, *self.visible.size)
        while True:
            batch = []
            try:
                batch.extend(islice(frames, count))  # extend keeps what came before an error
            except ImageError as error:
                self.errors.append(error)
            if batch:
                times, visible, infrared = zip(*batch, strict=True)
                yield list(times), self._stack(visible), None if infrared[0] is None else self._stack(infrared)
            if len(batch) < count:
                return
