"""Visible images on their way to a generator, with their real infrared partners where there are any."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from data.images import ImageError, Source, ThermalRange, read_infrared, read_visible, view_size
from data.loader import worker_count
from data.transforms import Preprocess, as_tensor, resize
from util.stop_signal import ignore_in_worker


@dataclass(frozen=True)
class Job:
    """One image to generate from; real: its infrared partner."""

    visible: Source
    real: Source | None = None


def unlike_stems(splits: dict[str, list[Job]]) -> list[Job]:
    """The jobs of all splits; a stem that occurs twice gets its split before it."""
    counts = Counter(job.visible.stem.casefold() for jobs in splits.values() for job in jobs)

    taken = {stem for stem, count in counts.items() if count == 1}

    def named(split: str, job: Job) -> Job:
        stem = unlike = job.visible.stem
        if counts[stem.casefold()] > 1:
            unlike, number = f"{split}_{stem}", 1
            while unlike.casefold() in taken:
                number += 1
                unlike = f"{split}_{stem}_{number}"
            taken.add(unlike.casefold())
        return replace(job, visible=replace(job.visible, stem=unlike))

    return [named(split, job) for split, jobs in splits.items() for job in jobs]


class VisibleImages(Dataset):
    """Item: {"visible": [3, h, w] as networks see it, "size": (H, W) of the input, "job"}, and for pairs "real"
    [1, H', W'] and "visible_at_real" [3, H', W']; {"job", "error"} for a file that cannot be read."""

    def __init__(self, jobs: Sequence[Job], thermal: ThermalRange, preprocess: Preprocess | None) -> None:
        """preprocess: whose working size to use; None for every image's own size."""
        self.jobs, self.thermal, self.preprocess = jobs, thermal, preprocess

    def __len__(self) -> int:
        return len(self.jobs)

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Size at which the network sees an input of a size."""
        return self.preprocess.working_size(height, width) if self.preprocess else (height, width)

    def __getitem__(self, index: int) -> dict[str, Any]:
        job = self.jobs[index]
        try:
            visible = as_tensor(read_visible(job.visible))
            size = tuple(visible.shape[-2:])
            item = {"job": job, "size": size, "visible": resize(visible, self.working_size(*size))}
            if job.real is not None:
                item["real"] = as_tensor(read_infrared(job.real, self.thermal))
                item["visible_at_real"] = resize(visible, tuple(item["real"].shape[-2:]))
        except ImageError as error:
            return {"job": job, "error": error}
        return item

    def batches(self, batch_size: int) -> tuple[list[list[int]], list[ImageError]]:
        """(Indices of images that the network sees at one size, batch by batch; errors of unreadable headers)."""

        def size(job: Job) -> tuple[int, int] | ImageError:
            try:
                return self.working_size(*view_size(job.visible))
            except ImageError as error:
                return error

        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        errors: list[ImageError] = []
        with ThreadPoolExecutor() as pool:
            for index, answer in enumerate(pool.map(size, self.jobs)):
                if isinstance(answer, ImageError):
                    errors.append(answer)
                else:
                    groups[answer].append(index)
        cut = (g[i : i + batch_size] for g in groups.values() for i in range(0, len(g), batch_size))
        return list(cut), errors


def collate(items: Sequence[dict[str, Any]]) -> tuple[torch.Tensor | None, list[dict[str, Any]], list[ImageError]]:
    """(visible [N, 3, h, w] of one size, the items they belong to, errors of files that could not be read)."""
    good = [item for item in items if "error" not in item]
    errors = [item["error"] for item in items if "error" in item]
    if not good:
        return None, [], errors
    return torch.stack([item.pop("visible") for item in good]), good, errors


def read_batches(
    dataset: VisibleImages, batch_size: int, threads: int, strict: bool, errors: list[ImageError], doing: str
) -> Iterator[tuple[torch.Tensor, list[dict[str, Any]]]]:
    """(visible [N, 3, h, w], the items they belong to), batch by batch, read in worker processes under a bar.

    What cannot be read is added to `errors`, or raised if strict. doing: the bar's label."""
    batches, unreadable = dataset.batches(batch_size)
    errors += unreadable
    if errors and strict:
        raise errors[0]
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=worker_count(threads),
        collate_fn=collate,
        worker_init_fn=ignore_in_worker,
    )
    with tqdm(total=len(dataset), unit="img", disable=not sys.stderr.isatty(), desc=doing) as bar:
        for visible, items, failed in loader:
            errors += failed
            if errors and strict:
                raise errors[0]
            bar.update(len(items) + len(failed))
            if visible is not None:
                yield visible, items
