"""Visible images on their way to a generator, with their real infrared partners where there are any."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import cached_property
from typing import Any

import torch
from torch.utils.data import Dataset

from data.images import ImageError, Source, ThermalRange, read_infrared, read_reduced, read_visible, view_size
from data.inputs import Job
from data.loader import Loader
from data.threads import of_headers, worker_count
from data.transforms import Preprocess, as_tensor, grey_tensor
from util.images import resize
from util.training import ranks
from util.training.progress import Counting

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


class VisibleImages(Dataset):
    """Item: {"visible": [3, h, w] as networks see it, "size": (H, W) of the input, "job"}, and for pairs
    "ground_truth" [1, H', W']; {"job", "error"} for a file that cannot be read."""

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
        return of_headers(lambda job: view_size(job.visible), self.jobs)

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Size at which the network sees an input of a size."""
        return self.preprocess.working_size(height, width) if self.preprocess else (height, width)

    def __getitem__(self, index: int) -> dict[str, Any]:
        job = self.jobs[index]
        try:
            real = None if job.ground_truth is None else as_tensor(read_infrared(job.ground_truth, self.thermal))
            visible, _, size = read_seen(job.visible, self.working_size)
        except ImageError as error:
            return {"job": job, "error": error}
        item = {"job": job, "size": size, "visible": visible}
        return item if real is None else item | {"ground_truth": real}

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
            return {"job": job} | (self._unpaired(job) if job.ground_truth is None else self._paired(job))
        except ImageError as error:
            return {"job": job, "error": error}

    def _paired(self, job: Job) -> dict[str, Any]:
        item: dict[str, Any] = {"visible": as_tensor(read_visible(job.visible))}
        infrared = grey_tensor(read_infrared(job.ground_truth, self.thermal))
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
) -> Generator[tuple[torch.Tensor, list[dict[str, Any]]], None, None]:
    """(visible [N, 3, h, w], the items they belong to), batch by batch, of this rank's share of the batches that one
    process would make, read in worker processes, with a bar or a line now and then.

    Large inputs come last, read one at a time. What cannot be read is added to `errors`, or raised if strict.
    doing: its label. pinned: whether tensors lie in memory that a GPU can fetch by itself."""
    batches, unreadable = dataset.batches(batch_size)
    if unreadable and strict:
        raise unreadable[0]
    errors += ranks.share(unreadable)
    batches = list(ranks.share(batches))
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
