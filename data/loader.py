"""From lists of images to batches. What a training batch holds depends on seed, epoch and position alone, so a
resumed run, another number of workers or of ranks sees the same images, crops and flips."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from data.images import ImageError, Source, ThermalRange, read_infrared, read_visible, view_size
from data.layouts import Pair, Split
from data.pair_masks import read_mask, source_of
from data.transforms import Preprocess, as_tensor, resize
from options.train import TrainOptions
from util.stop_signal import ignore_in_worker

ATTEMPTS = 32  # other images tried in the place of unreadable ones before giving up
KEPT_BYTES = 2**28  # of decoded pairs that a worker keeps because many patches are cut from them


class TrainingImages(Dataset):
    """Item (epoch, position) -> {"visible": [3, H, W], "infrared": [1, H, W], ("mask": [1, H, W],) "skipped"}.

    Images are uint8, or float32 in [-1, 1]; masks float32 in [0, 1]. An unreadable image is replaced by the next
    one of the list and named in "skipped"; with --strict it is an error."""

    def __init__(self, split: Split, options: TrainOptions, with_mask: bool = False) -> None:
        limit = options.input.max_dataset_size
        self.paired = options.input.sampling == "paired"
        self.pairs = split.pairs[:limit]
        self.visible = split.visible[:limit]
        self.infrared = split.infrared[:limit]
        self.thermal = ThermalRange.from_options(options.data)
        self.masks = options.data.mask_source if with_mask else None
        self.preprocess = Preprocess.from_options(options.input)
        self.serial = options.input.serial_batches
        self.strict = options.data.strict
        self.seed = options.run.seed
        self.kept: dict[Pair, dict[str, torch.Tensor]] = {}
        self.kept_bytes = 0
        self.broken: dict[Pair, ImageError] = {}
        self.too_small = 0  # pairs with no room for a patch
        self._check()
        stride = options.input.patch_stride
        self.patches = self._patches(stride, options.input.crop_size) if stride else [(p, None) for p in self.pairs]

    def _check(self) -> None:
        if self.paired and not self.pairs:
            raise ValueError("this data set has no aligned training pairs, and --sampling paired needs them")
        if self.masks and not self.paired:
            raise ValueError("masks belong to aligned pairs: add --sampling paired")
        if self.masks and (bare := next((p for p in self.pairs if source_of(p, self.masks) is None), None)):
            raise ValueError(
                f"--mask_source {self.masks}: there is none for {bare.infrared.path.name}; give auto or thermal"
            )
        for name, images in (("visible", self.visible), ("infrared", self.infrared)):
            if not images:
                raise ValueError(f"the data set has no {name} training images; see docs/data.md")

    def _patches(self, stride: int, side: int) -> list[tuple[Pair, tuple[int, int]]]:
        """(pair, upper left corner) of every patch of the infrared images, row after row."""
        with ThreadPoolExecutor() as pool:
            sizes = list(pool.map(lambda pair: view_size(pair.infrared), self.pairs))
        self.too_small = sum(min(size) < side for size in sizes)
        places = [
            (pair, (top, left))
            for pair, (height, width) in zip(self.pairs, sizes, strict=True)
            for top in range(0, height - side + 1, stride)
            for left in range(0, width - side + 1, stride)
        ]
        if not places:
            raise ValueError(f"--crop_size {side} is larger than every training image: lower it")
        return places

    def __len__(self) -> int:
        """Images of one epoch: all pairs or patches, or the longer of the two lists."""
        return len(self.patches) if self.paired else max(len(self.visible), len(self.infrared))

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        try:
            return self._sample(*key)
        except ImageError as error:  # fatal, but a worker's exception would reach the parent as another one
            return {"error": error}

    def _sample(self, epoch: int, position: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(_mix(self.seed, epoch, position, 3))
        skipped: list[tuple[str, str]] = []
        if self.paired:
            place = self._place(epoch, position, len(self.patches), 0)
            sample, corner = self._read(self.patches, place, self._patch, skipped)
            images = self.preprocess(list(sample.values()), generator, corner)
            return finished(dict(zip(sample, images, strict=True))) | {"skipped": skipped}
        item: dict[str, Any] = {"skipped": skipped}
        for kind, (name, sources, read) in enumerate(
            (("visible", self.visible, read_visible), ("infrared", self.infrared, self._infrared)), 1
        ):
            image = self._read(sources, self._place(epoch, position, len(sources), kind), read, skipped)
            (item[name],) = self.preprocess([as_tensor(image)], generator)
        return item

    def _infrared(self, source: Source) -> np.ndarray:
        return read_infrared(source, self.thermal)

    def _patch(
        self, patch: tuple[Pair, tuple[int, int] | None]
    ) -> tuple[dict[str, torch.Tensor], tuple[int, int] | None]:
        """The whole pair that a patch lies in, kept in memory if many patches share it; the patch's corner."""
        pair, corner = patch
        if pair in self.kept:
            return self.kept[pair], corner
        if pair in self.broken:
            raise self.broken[pair]
        try:
            sample = read_pair(pair, self.thermal, self.masks)
        except ImageError as error:
            self.broken[pair] = error
            raise
        size = sum(image.nbytes for image in sample.values())
        if corner is not None and self.kept_bytes + size <= KEPT_BYTES:
            self.kept[pair], self.kept_bytes = sample, self.kept_bytes + size
        return sample, corner

    def _place(self, epoch: int, position: int, count: int, kind: int) -> int:
        """Which image of a list of `count` comes at this position; a shorter list is gone through again."""
        again, position = divmod(position, count)
        if self.serial:
            return position
        return int(_order(_mix(self.seed, epoch, again, kind), count)[position])

    def _read(self, items: Sequence[Any], place: int, read: Any, skipped: list[tuple[str, str]]) -> Any:
        for attempt in range(len(items)):
            try:
                return read(items[(place + attempt) % len(items)])
            except ImageError as error:
                entry = (str(error.path), error.reason)
                if self.strict or len(skipped) >= ATTEMPTS:
                    raise
                if entry not in skipped:  # neighbouring patches lie in one image
                    skipped.append(entry)
        raise ImageError(Path(skipped[-1][0]), f"{skipped[-1][1]}; no image of the list can be read")


def read_pair(pair: Pair, thermal: ThermalRange, masks: str | None = None) -> dict[str, torch.Tensor]:
    """{"visible": [3, H, W], ("mask": [1, H, W] in [0, 1],) "infrared": [1, H, W]}, all of the infrared's size.

    masks: where masks come from, None for no mask."""
    array = read_infrared(pair.infrared, thermal)
    infrared = as_tensor(array)
    size = tuple(infrared.shape[-2:])
    sample = {"visible": resize(as_tensor(read_visible(pair.visible)), size)}
    if masks is not None:
        sample["mask"] = resize(torch.from_numpy(read_mask(pair, array, masks))[None], size)
    return finished(sample | {"infrared": infrared})


def finished(sample: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The sample with its mask in [0, 1]: bicubic resizing overshoots."""
    if "mask" in sample:
        sample["mask"] = sample["mask"].clamp(0, 1)
    return sample


def _mix(*numbers: int) -> int:
    """One seed from several numbers: unlike them in all bits, and the same on every machine."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@lru_cache(maxsize=16)
def _order(seed: int, count: int) -> np.ndarray:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy()


class Steps:
    """Batches of (epoch, position) keys for one rank, from a given step on, through epoch after epoch.

    A step is `accumulate` batches; all ranks' batches of a step lie side by side in the epoch's order."""

    def __init__(
        self, per_epoch: int, batch: int, rank: int, world: int, epoch: int, step: int, accumulate: int = 1
    ) -> None:
        self.batch, self.rank, self.world, self.accumulate = batch, rank, world, accumulate
        self.epoch, self.step = epoch, step
        self.per_epoch = per_epoch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, step = self.epoch, self.step
        while True:
            for at in range(step, self.per_epoch):
                first = (at * self.world + self.rank) * self.accumulate * self.batch
                for start in range(first, first + self.accumulate * self.batch, self.batch):
                    yield [(epoch, start + i) for i in range(self.batch)]
            epoch, step = epoch + 1, 0


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stack images; join the lists of what was skipped. {"error"} where an image is missing for good."""
    failed = next((sample["error"] for sample in samples if "error" in sample), None)
    if failed is not None:
        return {"error": failed}
    batch: dict[str, Any] = {"skipped": [entry for sample in samples for entry in sample["skipped"]]}
    for name in samples[0]:
        if name != "skipped":
            batch[name] = _stack([sample[name] for sample in samples])
    return batch


def _stack(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """A batch that mixes 8-bit and 16-bit images is brought to floats."""
    if len({image.dtype for image in images}) > 1:
        images = [i.float() / 127.5 - 1 if i.dtype == torch.uint8 else i for i in images]
    return torch.stack(list(images))


def worker_count(wanted: int) -> int:
    """At most as many worker processes as this process has processors."""
    return min(wanted, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def steps_of_epoch(dataset: TrainingImages, batch: int, world: int) -> int:
    """Steps of one epoch on each of `world` ranks; at least 1."""
    return max(1, len(dataset) // (batch * world))


def make_loader(
    dataset: TrainingImages,
    options: TrainOptions,
    rank: int = 0,
    world: int = 1,
    epoch: int = 0,
    step: int = 0,
) -> DataLoader:
    """An endless loader of this rank's batches that begins at a step of an epoch, both from 0."""
    batch, workers = options.input.batch_size, worker_count(options.input.num_threads)
    steps = steps_of_epoch(dataset, batch * options.loop.accumulate, world)
    return DataLoader(
        dataset,
        batch_sampler=Steps(steps, batch, rank, world, epoch, step, options.loop.accumulate),
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available() and options.run.device != "cpu",
        prefetch_factor=4 if workers else None,
        worker_init_fn=ignore_in_worker,
        # Batches are drawn from their keys alone, so the loader must leave torch's own generator untouched.
        generator=torch.Generator(),
    )


def evenly(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spread over them."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def read_validation(split: Split | None, options: TrainOptions, with_mask: bool = False) -> list[dict[str, Any]]:
    """At most val_size aligned pairs, evenly spread, as networks see them: {"visible", "infrared", ("mask",)
    "stem"}, images as in TrainingImages but whole. Pairs that cannot be read are left out, or fatal if strict."""
    thermal, preprocess = ThermalRange.from_options(options.data), Preprocess.from_options(options.input)
    masks = options.data.mask_source if with_mask else None

    def read(pair: Pair) -> dict[str, Any] | None:
        try:
            sample = read_pair(pair, thermal, masks)
        except ImageError:
            if options.data.strict:
                raise
            return None
        size = preprocess.working_size(*sample["infrared"].shape[-2:])
        return finished({name: resize(image, size) for name, image in sample.items()}) | {"stem": pair.stem}

    pairs = evenly(split.pairs, options.loop.val_size) if split else []
    with ThreadPoolExecutor(worker_count(max(1, options.input.num_threads))) as pool:
        return [sample for sample in pool.map(read, pairs) if sample is not None]


def mean_infrared(sources: Sequence[Source], options: TrainOptions, count: int = 200) -> float:
    """Mean grey level, in [-1, 1], of at most `count` of the images, evenly spread."""
    thermal = ThermalRange.from_options(options.data)

    def mean(source: Source) -> float | None:
        try:
            grey = read_infrared(source, thermal)
        except ImageError:
            return None
        return float(grey.mean()) / (255 if grey.dtype == np.uint8 else 65535) * 2 - 1

    with ThreadPoolExecutor(max(1, options.input.num_threads)) as pool:
        means = [m for m in pool.map(mean, evenly(sources, count)) if m is not None]
    return sum(means) / len(means) if means else 0.0
