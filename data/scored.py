"""Files to score: several methods' images joined to theirs by stem, and how each is read as it was saved."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from tqdm import tqdm

from data.counts import COUNT_MODES
from data.images import Source, list_images, probe, read_visible
from data.samples import worker_count
from data.transforms import as_tensor

GREY_MODES = ("L", "1", "LA", *COUNT_MODES)
T, R = TypeVar("T"), TypeVar("R")


def read_saved(source: Source | Path) -> torch.Tensor:
    """uint8 [1, H, W] of a picture saved with one channel, else [3, H, W]. ImageError if unreadable."""
    image = as_tensor(read_visible(source))
    path = source.path if isinstance(source, Source) else source
    return image[:1] if probe(path)[0] in GREY_MODES else image


def results_of(folder: Path, inner: str) -> list[Source]:
    """Images of a folder; of a results folder those in its folder `inner`. ValueError where there are none."""
    return list_images(folder / inner if (folder / inner).is_dir() else folder)


def some(names: Iterable[str], limit: int = 3) -> str:
    """The first few of them."""
    names = list(names)
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def by_stem(stems: Sequence[str], name: str, sources: Sequence[Source]) -> dict[str, Source]:
    """Wanted stem -> the image of a method that has it, case aside, or has it with _NAME behind."""
    ending = f"_{name}".casefold()
    found = {source.stem.casefold().removesuffix(ending): source for source in sources}
    found |= {source.stem.casefold(): source for source in sources}
    return {stem: found[stem.casefold()] for stem in stems if stem.casefold() in found}


def join_methods(
    stems: Sequence[str], methods: Mapping[str, Sequence[Source]], option: str, partner: str
) -> tuple[dict[str, dict[str, Source]], list[str]]:
    """(stem -> method -> image, of the stems that all methods have, a line about each method that lacks some or
    has images that nothing pairs with). partner: what stems are of. ValueError where nothing is left."""
    joined = {name: by_stem(stems, name, sources) for name, sources in methods.items()}
    lines = []
    used = {source.path for found in joined.values() for source in found.values()}  # one folder may hold several
    for name, found in joined.items():
        if not found:
            raise ValueError(
                f"--{option} {name}: no image ({some(s.path.name for s in methods[name])}) has the stem of a "
                f"{partner} ({some(stems)}): give both the same name"
            )
        lacks = [stem for stem in stems if stem not in found]
        if lacks:
            lines.append(f"{name}: no image for {len(lacks)} of {len(stems)} {partner}s ({some(lacks)})")
        extra = [source.path.name for source in methods[name] if source.path not in used]
        if extra:
            lines.append(f"{name}: no {partner} for {len(extra)} of its images ({some(extra)})")
    common = [stem for stem in stems if all(stem in found for found in joined.values())]
    if not common:
        raise ValueError(f"--{option}: no {partner} has an image of every method, so they cannot be compared")
    if len(common) < max(map(len, joined.values())):
        lines.append(f"the methods are compared on the {len(common)} {partner}s that all of them have")
    return {stem: {name: found[stem] for name, found in joined.items()} for stem in common}, lines


def in_threads(
    function: Callable[[T], R], items: Sequence[T], num_threads: int | None, what: str
) -> Iterator[tuple[T, R]]:
    """(item, function(item)) of all items in order, in so many threads of one processor each, with a bar; a few
    results wait at most."""
    count = worker_count(16) if num_threads is None else num_threads
    bar = tqdm(total=len(items), unit="image", desc=what, disable=not sys.stderr.isatty(), leave=False)
    with bar:
        if count == 0:
            for item in items:
                yield item, function(item)
                bar.update()
            return
        processors = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                left = iter(items)
                waiting = [(item, pool.submit(function, item)) for item in islice(left, 2 * count)]
                while waiting:
                    item, future = waiting.pop(0)
                    yield item, future.result()
                    bar.update()
                    waiting += [(item, pool.submit(function, item)) for item in islice(left, 1)]
        finally:
            torch.set_num_threads(processors)
