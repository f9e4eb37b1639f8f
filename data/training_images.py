"""From lists of images to batches. What a training batch holds depends on seed, epoch and position alone, so a
resumed run, another number of workers or of ranks sees the same images, crops and flips."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from data.cache import PREFETCH, open_cache
from data.images import ImageError, Source, ThermalRange, view_size
from data.layouts import Pair, Split
from data.loader import Loader
from data.masks import Masks
from data.samples import Reader, finished
from data.threads import worker_count
from data.transforms import Preprocess, jitter_colour
from options.train import TrainOptions
from util.text import plural
from util.training.signals import ignore_in_worker

ATTEMPTS = 32  # other images tried in the place of unreadable ones before giving up
KEPT_BYTES = 2**28  # of decoded pairs that a worker keeps because many patches are cut from them


class TrainingImages(Dataset):
    """Item (epoch, position) -> {"visible": [3, H, W], "infrared": [1, H, W], ("mask": [1, H, W],) "skipped"}, and
    with mixed sampling "paired" [1, 1, 1]: 1 for a pair, 0 for two images that do not belong together.

    Images are uint8, or float32 in [-1, 1]; masks float32 in [0, 1]. An unreadable image is replaced by the next
    one of the list and named in "skipped"; with --strict it is an error."""

    def __init__(self, split: Split, options: TrainOptions, with_mask: bool = False) -> None:
        self.paired = options.input.sampling == "paired"
        self.paired_share = options.input.paired_share if options.input.sampling == "mixed" else float(self.paired)
        parts, limit = split.parts or (split,), options.input.max_dataset_size
        groups = [[getattr(part, name)[:limit] for part in parts] for name in ("pairs", "visible", "infrared")]
        self.pairs, self.visible, self.infrared = (tuple(chain.from_iterable(group)) for group in groups)
        self.weights = options.data.dataroot_weights
        self.masks = Masks.from_options(options.data) if with_mask else None
        self.preprocess = Preprocess.from_options(
            options.input, training=True, larger=getattr(options.method, "draw_scale", 1.0)
        )
        self.serial = options.input.serial_batches
        jitter, judged = options.input.scale_jitter, getattr(options.method, "smallest_crop", 0)
        # Crops are checked with the options; other images have any size, which jitter makes smaller.
        self.least_side = 0 if self.preprocess.crops else judged * (1 + jitter) / (1 - jitter)
        self.color_jitter = options.input.color_jitter
        self.strict = options.data.strict
        self.seed = options.run.seed
        self.kept: dict[Pair, dict[str, torch.Tensor]] = {}
        self.kept_bytes = 0
        self.broken: dict[Pair, ImageError] = {}
        self.too_small = 0  # pairs with no room for a patch
        self._check()
        stride = options.input.patch_stride
        patches = [self._patches(pairs, stride, options.input.crop_size) for pairs in groups[0]]
        self.patches = list(chain.from_iterable(patches))
        if self.pairs and not self.patches:
            raise ValueError(f"--crop_size {options.input.crop_size} is larger than every training image: lower it")
        # Images of each data set: of patches, of visible and of infrared images.
        self.counts = [tuple(map(len, group)) for group in (patches, *groups[1:])]
        self.reader = Reader(
            ThermalRange.from_options(options.data),
            None if stride else self.preprocess,
            self.masks,
            open_cache(options),
        )
        chosen = [self.pairs if self.paired_share else (), (), ()]
        if not self.paired:
            chosen[1:] = self.visible, self.infrared
        self.held = self.reader.claim(*chosen)  # images that the cache has from earlier runs

    def _check(self) -> None:
        if self.paired_share and not self.pairs:
            raise ValueError("this data set has no aligned training pairs, and --sampling paired or mixed needs them")
        if self.masks and not self.paired:
            raise ValueError("masks belong to aligned pairs: add --sampling paired")
        if self.masks:
            self.masks.check(self.pairs)
        for name, images in (("visible", self.visible), ("infrared", self.infrared)):
            if not images:
                raise ValueError(f"the data set has no {name} training images; see docs/data.md")

    def _patches(
        self, pairs: Sequence[Pair], stride: int | None, side: int
    ) -> list[tuple[Pair, tuple[int, int] | None]]:
        """(pair, upper left corner) of every patch of the infrared images, row after row; of every pair, with no
        corner, where there is no stride."""
        if stride is None:
            return [(pair, None) for pair in pairs]
        with ThreadPoolExecutor() as pool:
            sizes = list(pool.map(lambda pair: view_size(pair.infrared), pairs))
        self.too_small += sum(min(size) < side for size in sizes)
        return [
            (pair, (top, left))
            for pair, (height, width) in zip(pairs, sizes, strict=True)
            for top in range(0, height - side + 1, stride)
            for left in range(0, width - side + 1, stride)
        ]

    def remarks(self) -> list[str]:
        """What a user should know before training: pairs without patches; what the cache holds and needs."""
        remarks = []
        if self.too_small:
            remarks.append(f"{plural(self.too_small, 'training pair')} smaller than --crop_size, without a patch")
        if (cache := self.reader.cache) is not None:
            needed = self._decoded_bytes()
            line = f"cache in {cache.place}: the images take {needed / 1e6:,.1f} MB of {cache.limit / 1e6:,.1f}"
            line += f", {self.held} of them are there already" if self.held else ""
            remarks.append(line + ("; raise --cache_gb or free space there" if needed > cache.limit else ""))
        return remarks

    def _decoded_bytes(self) -> int:
        """Memory of all images, if they are all as large as the first."""
        paired, reader, total = self.paired, self.reader, 0
        unpaired = ((self.visible, reader.visible), (self.infrared, reader.infrared))
        for items, read in ((self.pairs, reader.pair),) if paired else unpaired:
            with contextlib.suppress(ImageError):
                total += len(items) * sum(image.nbytes for image in read(items[0]).values())
        return total

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
        # Of mixed images the same share of every stretch of positions is paired.
        as_pair = int((position + 1) * self.paired_share) > int(position * self.paired_share)
        if as_pair:
            place = self._place(epoch, int(position * self.paired_share), 0)
            sample, corner = self._read(self.patches, place, self._patch, skipped)
            images = self.preprocess(list(sample.values()), generator, corner)
            return self._finished(dict(zip(sample, images, strict=True)), as_pair, generator) | {"skipped": skipped}
        item: dict[str, Any] = {}
        for kind, (name, sources, read) in enumerate(
            (("visible", self.visible, self.reader.visible), ("infrared", self.infrared, self.reader.infrared)), 1
        ):
            sample = self._read(sources, self._place(epoch, position, kind), read, skipped)
            (item[name],) = self.preprocess([sample[name]], generator)
        return self._finished(item, as_pair, generator) | {"skipped": skipped}

    def _finished(self, item: dict[str, Any], as_pair: bool, generator: torch.Generator) -> dict[str, Any]:
        """The images as networks get them; where sampling is mixed, with whether they are a pair."""
        item = finished(item)
        if self.color_jitter:
            item["visible"] = jitter_colour(item["visible"], self.color_jitter, generator)
        return item if self.paired_share in (0, 1) else item | {"paired": torch.full((1, 1, 1), float(as_pair))}

    def _patch(
        self, patch: tuple[Pair, tuple[int, int] | None]
    ) -> tuple[dict[str, torch.Tensor], tuple[int, int] | None]:
        """The whole pair that a patch lies in, kept in memory if many patches share it and no cache holds it; the
        patch's corner."""
        pair, corner = patch
        if pair in self.kept:
            return self.kept[pair], corner
        if pair in self.broken:
            raise self.broken[pair]
        try:
            sample = self.reader.pair(pair)
        except ImageError as error:
            self.broken[pair] = error
            raise
        size = sum(image.nbytes for image in sample.values())
        cached = self.reader.cache is not None and not self.reader.cache.full
        if corner is not None and not cached and self.kept_bytes + size <= KEPT_BYTES:
            self.kept[pair], self.kept_bytes = sample, self.kept_bytes + size
        return sample, corner

    def _place(self, epoch: int, position: int, kind: int) -> int:
        """Which image of a list comes at this position; a shorter list is gone through again. kind: 0 for patches, 1
        for visible, 2 for infrared images."""
        counts = self.counts[kind]
        again, position = divmod(position, sum(counts))
        if self.serial:
            return position
        return int(_order(_mix(self.seed, epoch, again, kind), counts, self.weights)[position])

    def _read(self, items: Sequence[Any], place: int, read: Any, skipped: list[tuple[str, str]]) -> Any:
        for attempt in range(len(items)):
            try:
                item = items[(place + attempt) % len(items)]
                return self._large_enough(item, read(item))
            except ImageError as error:
                entry = (str(error.path), error.reason)
                if self.strict or len(skipped) >= ATTEMPTS:
                    raise
                if entry not in skipped:  # neighbouring patches lie in one image
                    skipped.append(entry)
        raise ImageError(Path(skipped[-1][0]), f"{skipped[-1][1]}; no image of the list can be read")

    def _large_enough(self, item: Any, found: Any) -> Any:
        """What was read of a source, or of a pair and a corner; ImageError where networks cannot be trained on it."""
        height, width = list((found[0] if isinstance(found, tuple) else found).values())[-1].shape[-2:]
        if min(height, width) < self.least_side:
            path = item.path if isinstance(item, Source) else item[0].infrared.path
            reason = f"{width}x{height} pixels, and the discriminator judges images of at least {self.least_side:.0f}"
            raise ImageError(path, reason + ": give a --preprocess that resizes")
        return found


def _mix(*numbers: int) -> int:
    """One seed from several numbers: unlike them in all bits, and the same on every machine."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@lru_cache(maxsize=16)
def _order(seed: int, counts: tuple[int, ...], weights: tuple[float, ...]) -> np.ndarray:
    """Places in a list of several data sets' images, as many as there are images, shuffled: every place once, or, with
    weights, from each data set its share, the places of which come equally often (but for one)."""
    generator, total = torch.Generator().manual_seed(seed), sum(counts)
    if not weights or len(counts) == 1:
        return torch.randperm(total, generator=generator).numpy()
    present = [weight if count else 0.0 for weight, count in zip(weights, counts, strict=True)]
    edges = np.rint(np.cumsum([0.0, *present]) / sum(present) * total).astype(int)
    chosen, start = [], 0
    for count, share in zip(counts, np.diff(edges), strict=True):
        rounds = -(-int(share) // max(count, 1))
        order = [torch.randperm(count, generator=generator) for _ in range(rounds)]
        chosen.append(start + torch.cat([*order, torch.empty(0, dtype=torch.int64)])[:share])
        start += count
    return torch.cat(chosen)[torch.randperm(total, generator=generator)].numpy()


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
) -> Loader:
    """An endless loader of this rank's batches that begins at a step of an epoch, both from 0."""
    batch, workers = options.input.batch_size, worker_count(options.input.num_threads)
    steps = steps_of_epoch(dataset, batch * options.loop.accumulate, world)
    return Loader(
        dataset,
        Steps(steps, batch, rank, world, epoch, step, options.loop.accumulate),
        collate,
        workers,
        torch.cuda.is_available() and options.run.device != "cpu",
        ignore_in_worker,
        PREFETCH,
    )
