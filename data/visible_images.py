"""Visible images on their way to a generator, with their real infrared partners where there are any."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch.utils.data import Dataset

from data.batches import Loader
from data.files import Met, name_key, too_long
from data.images import ImageError, Source, ThermalRange, read_infrared, read_reduced, view_size
from data.remarks import seen_alike
from data.samples import worker_count
from data.transforms import Preprocess, as_tensor, resize
from util.training.counting import Counting

BATCH_PIXELS = 16 << 20  # in a batch: 48 MB of 8-bit colour
LARGE = 16 << 20  # pixels of an input that is read alone: decoding it takes some 150 MB


def batch_limits(batch_size: int | None, device: torch.device) -> tuple[int, int]:
    """(images, pixels) in a batch at most. Small batches keep activations in a CPU's cache; large ones fill a GPU."""
    if batch_size is not None:
        return batch_size, BATCH_PIXELS
    return 64, 1 << (22 if device.type == "cuda" else 17)


def images_in(limits: tuple[int, int], height: int, width: int) -> int:
    """Images of a size in a batch of limits (images, pixels); at least 1."""
    return max(1, min(limits[0], limits[1] // (height * width)))


def read_seen(
    source: Source, working_size: Callable[[int, int], tuple[int, int]]
) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int]]:
    """(uint8 [3, h, w] at the size at which a network sees it, the picture that was resized to it, (H, W) of the
    whole input). The picture is smaller than the input where no more of a JPEG was needed. ImageError if unreadable."""
    sizes = []

    def size_of(height: int, width: int) -> tuple[int, int]:
        sizes.append((height, width))
        return working_size(height, width)

    array, size = read_reduced(source, size_of)
    picture = as_tensor(array)
    return resize(picture, size), picture, sizes[0]


@dataclass(frozen=True)
class Job:
    """One image to generate from; real: its infrared partner."""

    visible: Source
    real: Source | None = None


@dataclass(frozen=True)
class Found:
    """What to work on (each job's visible stem names its result), what was passed over that could not be used, one line
    about it, and remarks."""

    jobs: list[Job]
    skipped: list[ImageError]
    summary: str
    notes: tuple[str, ...] = ()

    @classmethod
    def among(cls, jobs: Sequence[Job], met: Met, summary: str, notes: Sequence[str] = ()) -> Found:
        """Those jobs whose results can have their names; what else a search met goes to skipped and notes."""
        long = {job for job in jobs if too_long(job.visible.stem, ".png")}
        skipped = [ImageError(path, reason) for path, reason in met.unread]
        skipped += [ImageError(job.visible.path, "its result would have too long a name: shorten it") for job in long]
        return cls([job for job in jobs if job not in long], skipped, summary, (*notes, *met.notes()))

    def seen_alike(self, bits: int | None) -> Found:
        """With visible images of more than 8 bits shown alike, and remarks on images that no data set's search has
        looked at."""
        real = [job.real for job in self.jobs if job.real is not None]
        alike, notes = seen_alike([job.visible for job in self.jobs], real, bits)
        jobs = [replace(job, visible=alike.get(job.visible, job.visible)) for job in self.jobs]
        return replace(self, jobs=jobs, notes=(*self.notes, *notes))


def unlike_stems(splits: dict[str, list[Job]]) -> list[Job]:
    """The jobs of all splits; a stem that occurs twice gets its split before it."""
    counts = Counter(name_key(job.visible.stem) for jobs in splits.values() for job in jobs)

    taken = {stem for stem, count in counts.items() if count == 1}

    def named(split: str, job: Job) -> Job:
        stem = unlike = job.visible.stem
        if counts[name_key(stem)] > 1:
            unlike, number = f"{split}_{stem}", 1
            while name_key(unlike) in taken:
                number += 1
                unlike = f"{split}_{stem}_{number}"
            taken.add(name_key(unlike))
        return replace(job, visible=replace(job.visible, stem=unlike))

    return [named(split, job) for split, jobs in splits.items() for job in jobs]


class VisibleImages(Dataset):
    """Item: {"visible": [3, h, w] as networks see it, "size": (H, W) of the input, "job"}, and for pairs "real"
    [1, H', W'] and "visible_at_real" [3, H', W']; {"job", "error"} for a file that cannot be read."""

    def __init__(
        self,
        jobs: Sequence[Job],
        thermal: ThermalRange,
        preprocess: Preprocess | None,
        batch_pixels: int = BATCH_PIXELS,
    ) -> None:
        """preprocess: whose working size to use; None for every image's own size. batch_pixels: that a batch has
        at most, as the network sees them, unless one image has more."""
        self.jobs, self.thermal, self.preprocess, self.batch_pixels = jobs, thermal, preprocess, batch_pixels

    def __len__(self) -> int:
        return len(self.jobs)

    @cached_property
    def sizes(self) -> list[tuple[int, int] | ImageError]:
        """(height, width) of every input, from its header; the error of one that has none."""

        def size(job: Job) -> tuple[int, int] | ImageError:
            try:
                return view_size(job.visible)
            except ImageError as error:
                return error

        with ThreadPoolExecutor() as pool:
            return list(pool.map(size, self.jobs))

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Size at which the network sees an input of a size."""
        return self.preprocess.working_size(height, width) if self.preprocess else (height, width)

    def __getitem__(self, index: int) -> dict[str, Any]:
        job = self.jobs[index]
        try:
            real = None if job.real is None else as_tensor(read_infrared(job.real, self.thermal))
            visible, picture, size = read_seen(job.visible, self.working_size)
            item = {"job": job, "size": size, "visible": visible}
            if real is not None:
                at_real = tuple(real.shape[-2:])
                if tuple(picture.shape[-2:]) != size:  # what is generated must not depend on the real image's size
                    picture = as_tensor(read_reduced(job.visible, lambda height, width: at_real)[0])
                item |= {"real": real, "visible_at_real": resize(picture, at_real)}
        except ImageError as error:
            return {"job": job, "error": error}
        return item

    def working_sizes(self) -> set[tuple[int, int]]:
        """All sizes at which the network sees the inputs."""
        return {self.working_size(*size) for size in self.sizes if not isinstance(size, ImageError)}

    def is_large(self, index: int) -> bool:
        """Whether an input is so large that it is read alone."""
        size = self.sizes[index]
        return not isinstance(size, ImageError) and size[0] * size[1] > LARGE

    def batches(self, batch_size: int) -> tuple[list[list[int]], list[ImageError]]:
        """(Indices of images that the network sees at one size, batch by batch, large ones by themselves and last;
        errors of unreadable headers)."""
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        large: list[list[int]] = []
        errors: list[ImageError] = []
        for index, size in enumerate(self.sizes):
            if isinstance(size, ImageError):
                errors.append(size)
            elif self.is_large(index):
                large.append([index])
            else:
                groups[self.working_size(*size)].append(index)
        batches = []
        for (height, width), group in groups.items():
            count = images_in((batch_size, self.batch_pixels), height, width)
            batches += [group[i : i + count] for i in range(0, len(group), count)]
        return batches + large, errors


def collate(items: Sequence[dict[str, Any]]) -> tuple[torch.Tensor | None, list[dict[str, Any]], list[ImageError]]:
    """(visible [N, 3, h, w] of one size, the items they belong to, errors of files that could not be read)."""
    good = [item for item in items if "error" not in item]
    errors = [item["error"] for item in items if "error" in item]
    if not good:
        return None, [], errors
    return torch.stack([item.pop("visible") for item in good]), good, errors


def read_batches(
    dataset: VisibleImages,
    batch_size: int,
    threads: int,
    strict: bool,
    errors: list[ImageError],
    doing: str,
    pinned: bool = False,
) -> Iterator[tuple[torch.Tensor, list[dict[str, Any]]]]:
    """(visible [N, 3, h, w], the items they belong to), batch by batch, read in worker processes, with a bar or a line
    now and then.

    Large inputs come last, read one at a time. What cannot be read is added to `errors`, or raised if strict.
    doing: its label. pinned: whether tensors lie in memory that a GPU can fetch by itself."""
    batches, unreadable = dataset.batches(batch_size)
    errors += unreadable
    if errors and strict:
        raise errors[0]
    large = [batch for batch in batches if dataset.is_large(batch[0])]
    small = batches[: len(batches) - len(large)]
    # Workers read ahead, which is what makes them fast, and what large images have no room for.
    loaders = [(small, min(worker_count(threads), len(small))), (large, 0)]
    with Counting(sum(map(len, batches)), doing) as bar:
        for part, workers in loaders:
            reading = iter(Loader(dataset, part, collate, workers, pinned))
            with closing(reading):
                for visible, items, failed in reading:
                    errors += failed
                    if errors and strict:
                        raise errors[0]
                    done = len(items) + len(failed)
                    if visible is not None:
                        yield visible, items
                    bar.update(done)
