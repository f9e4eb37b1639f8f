"""Several data sets as one, with no picture in training that another of them holds out."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from data.layouts.listing import Listing, Split
from util.files import digest
from util.text import plural


def join(listings: Sequence[Listing]) -> Listing:
    """One listing of all; parts of splits in the order of the data sets. A picture of a training split, visible or
    infrared, that is, byte for byte, in another data set's val or test split is left out of training, with its pair."""
    held_out = {path for listing in listings for name in ("val", "test") for path in _pictures(listing, name)}
    train = {path for listing in listings for path in _pictures(listing, "train")}
    twins = _twins(sorted(held_out), sorted(train))
    listings = [_without(listing, twins) for listing in listings]
    roots = [listing.root.name for listing in listings]
    labels = [root if roots.count(root) == 1 else f"{root}_{k}" for k, root in enumerate(roots, 1)]
    names = [name for name in ("train", "val", "test") if any(name in listing.splits for listing in listings)]
    splits = {}
    for name in names:
        parts = tuple(_named(listing, name, label) for listing, label in zip(listings, labels, strict=True))
        pairs, visible, infrared = (
            tuple(chain.from_iterable(getattr(part, kind) for part in parts))
            for kind in ("pairs", "visible", "infrared")
        )
        splits[name] = Split(pairs, visible, infrared, parts)
    return Listing(
        layout="+".join(listing.layout for listing in listings),
        root=Path(os.path.commonpath([listing.root.resolve() for listing in listings])),
        splits=splits,
        skipped=tuple(chain.from_iterable(listing.skipped for listing in listings)),
        notes=tuple(f"{listing.root.name}: {note}" for listing in listings for note in listing.notes),
        parts=tuple(listings),
    )


def _pictures(listing: Listing, name: str) -> list[Path]:
    split = listing.splits.get(name, Split())
    return [source.path for source in (*split.visible, *split.infrared)]


def _twins(held_out: Sequence[Path], train: Sequence[Path]) -> set[Path]:
    """Those of the training files whose bytes are those of a held-out file; only files of one size are read."""
    sizes: dict[int, list[Path]] = defaultdict(list)
    for path in held_out:
        sizes[path.stat().st_size].append(path)
    near = [(path, sizes[size]) for path in train if (size := path.stat().st_size) in sizes]
    digests = {path: digest(path) for path in {p for _, others in near for p in others}}
    return {path for path, others in near if digest(path) in {digests[other] for other in others}}


def _without(listing: Listing, twins: set[Path]) -> Listing:
    train = listing.splits.get("train")
    out = {source for source in (*train.visible, *train.infrared) if source.path in twins} if train else set()
    if not out:
        return listing
    with_twin = [pair for pair in train.pairs if out & {pair.visible, pair.infrared}]
    out |= {source for pair in with_twin for source in (pair.visible, pair.infrared)}
    kept = Split(
        tuple(pair for pair in train.pairs if pair.visible not in out),
        tuple(source for source in train.visible if source not in out),
        tuple(source for source in train.infrared if source not in out),
    )
    note = f"{plural(len(out), 'training picture')} left out: another data set holds the same out, or its partner"
    return replace(listing, splits=listing.splits | {"train": kept}, notes=(*listing.notes, note))


def _named(listing: Listing, name: str, label: str) -> Split:
    """A split of one data set of several; its pairs' stems say which."""
    split = listing.splits.get(name, Split())
    return replace(split, pairs=tuple(replace(pair, stem=f"{label}_{pair.stem}") for pair in split.pairs))
