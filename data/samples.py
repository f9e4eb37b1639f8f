"""Whole images and pairs at the size that networks see, read from their files or from the cache."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from data.cache import Cache, key_of
from data.images import ImageError, Source, ThermalRange, read_infrared, read_reduced
from data.inputs import evenly
from data.layouts import Pair, Split
from data.masks import Masks
from data.threads import in_threads, worker_count
from data.transforms import Preprocess, to_size
from options.train import TrainOptions
from util.files import stamp
from util.images import resize

Sample = dict[str, torch.Tensor]


class Reader:
    """Files -> {"visible": [3, H, W], ("mask": [1, H, W],) "infrared": [1, H, W]} or a part of it. Images are
    uint8, or float32 in [-1, 1]; masks float32 in [0, 1]. ImageError for a file that cannot be read."""

    def __init__(
        self,
        thermal: ThermalRange,
        preprocess: Preprocess | None,
        masks: Masks | None = None,
        cache: Cache | None = None,
    ) -> None:
        """preprocess: whose working size to use; None for every image's own size, that of the infrared in a pair.
        masks: where masks come from, None for no mask. cache: where what has been read once is kept."""
        self.thermal, self.preprocess, self.masks, self.cache = thermal, preprocess, masks, cache

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which an image is read."""
        return self.preprocess.working_size(height, width) if self.preprocess else (height, width)

    def visible(self, source: Source) -> Sample:
        """{"visible"}."""

        def read() -> Sample:
            return {"visible": to_size(*read_reduced(source, self.working_size))}

        return self._kept(lambda: self.visible_keys(source), read)

    def infrared(self, source: Source) -> Sample:
        """{"infrared"}."""

        def read() -> Sample:
            array = read_infrared(source, self.thermal)
            return {"infrared": to_size(array, self.working_size(*array.shape))}

        return self._kept(lambda: self.infrared_keys(source), read)

    def pair(self, pair: Pair) -> Sample:
        """The whole sample, at the working size of its infrared image; the infrared comes last."""

        def read() -> Sample:
            array = read_infrared(pair.infrared, self.thermal)
            size = self.working_size(*array.shape)
            sample = {"visible": to_size(*read_reduced(pair.visible, lambda height, width: size))}
            if self.masks is not None:
                sample["mask"] = resize(torch.from_numpy(self.masks.read(pair, array))[None], size)
            return finished(sample | {"infrared": to_size(array, size)})

        return self._kept(lambda: self.pair_keys(pair), read)

    def visible_keys(self, source: Source) -> dict[str, bytes]:
        """Name of a tensor of `visible` -> its key in a cache; OSError where there is no such file."""
        return {"visible": key_of("visible", self._facts(source))}

    def infrared_keys(self, source: Source) -> dict[str, bytes]:
        """As visible_keys."""
        return {"infrared": key_of("infrared", self._facts(source))}

    def pair_keys(self, pair: Pair) -> dict[str, bytes]:
        """As visible_keys."""
        names = ["visible", "infrared"] if self.masks is None else ["visible", "mask", "infrared"]
        facts = *self._facts(pair.visible, pair.infrared), self.masks and self.masks.facts(pair)
        return {name: key_of(name, facts) for name in names}

    def claim(self, pairs: Sequence[Pair], visible: Sequence[Source], infrared: Sequence[Source]) -> int:
        """Return how many images of these the cache has from earlier runs; from now on it keeps them for this one."""
        if self.cache is None:
            return 0
        listed = ((pairs, self.pair_keys), (visible, self.visible_keys), (infrared, self.infrared_keys))
        wanted = [(item, keys_of) for items, keys_of in listed for item in items] if len(self.cache) else []

        def keys(item: tuple[Any, Callable[[Any], dict[str, bytes]]]) -> list[bytes]:
            with contextlib.suppress(OSError):  # no such file
                return list(item[1](item[0]).values())
            return []

        with ThreadPoolExecutor() as pool:
            return self.cache.claim(key for found in pool.map(keys, wanted) for key in found)

    def _facts(self, *sources: Source) -> tuple[object, ...]:
        """All that decoded images depend on."""
        return *((stamp(s.path), s.camera, s.half, s.white) for s in sources), self.thermal, self._sizing

    @property
    def _sizing(self) -> tuple[object, ...] | None:
        chosen = self.preprocess
        return chosen and (chosen.mode, chosen.load_size, chosen.crop_size, chosen.scale_jitter)

    def _kept(self, keys_of: Callable[[], dict[str, bytes]], read: Callable[[], Sample]) -> Sample:
        """What the cache holds under the keys, or what is read and then kept there."""
        if self.cache is None:
            return read()
        try:
            keys = keys_of()
        except OSError:  # no such file: reading says so
            return read()
        found = {name: self.cache.get(key) for name, key in keys.items()}
        if all(image is not None for image in found.values()):
            return found
        sample = read()
        for name, key in keys.items():
            self.cache.put(key, sample[name])
        return sample


def finished(sample: Sample) -> Sample:
    """The sample with its mask in [0, 1]: bicubic resizing overshoots."""
    if "mask" in sample:
        sample["mask"] = sample["mask"].clamp(0, 1)
    return sample


def read_validation(split: Split | None, options: TrainOptions, with_mask: bool = False) -> list[dict[str, Any]]:
    """At most val_size aligned pairs, evenly spread, as networks see them: {"visible", "infrared", ("mask",)
    "stem"}, images as of Reader.pair. Pairs that cannot be read are left out, or fatal if strict."""
    thermal, preprocess = ThermalRange.from_options(options.data), Preprocess.from_options(options.input)
    reader = Reader(thermal, preprocess, Masks.from_options(options.data) if with_mask else None)

    pairs = evenly(split.pairs, options.loop.val_size) if split else []
    samples: list[dict[str, Any]] = []
    for pair, found in in_threads(reader.pair, pairs, _threads(options)):
        if not isinstance(found, ImageError):
            samples.append(found | {"stem": pair.stem})
        elif options.data.strict:
            raise found
    return samples


def _threads(options: TrainOptions) -> int:
    """In which pictures are read before training; at least one."""
    return worker_count(max(1, options.input.num_threads))


def mean_infrared(sources: Sequence[Source], options: TrainOptions, count: int = 200) -> float:
    """Mean grey level, in [-1, 1], of at most `count` of the images, evenly spread; the ImageError of the first where
    none of them can be read."""
    thermal = ThermalRange.from_options(options.data)

    def mean(source: Source) -> float:
        grey = read_infrared(source, thermal)
        return float(grey.mean()) / (255 if grey.dtype == np.uint8 else 65535) * 2 - 1

    found = [one for _, one in in_threads(mean, evenly(sources, count), _threads(options))]
    means = [value for value in found if isinstance(value, float)]
    if found and not means:
        raise found[0]
    return sum(means) / len(means) if means else 0.0
