"""Joining visible and infrared images by stem, and holding out blocks for validation and test."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.files import natural_key
from data.images import Source
from data.layouts.listing import Pair, Split

CHAPTERS, HELD_TOGETHER = 6, 3
"""At most so many parts of a list are cut by themselves, each holding out at least so many neighbours."""

_SIDE = re.compile(r"[_-](visible|vis|vi|rgb|color|co|infrared|inf|ir|thermal|lwir|previewdata)$", re.IGNORECASE)


def bare_stem(stem: str) -> str:
    """The stem without the ending that says visible or infrared, such as _RGB or _ir."""
    return _SIDE.sub("", stem)


def join(visible: Sequence[Source], infrared: Sequence[Source], masks: Sequence[Source] = ()) -> tuple[Pair, ...]:
    """Pairs of equal stems, case aside, in the order of visible; if none are equal, of equal bare stems."""
    mask_of = {bare_stem(mask.stem).casefold(): mask.path for mask in masks}
    mask_of |= {mask.stem.casefold(): mask.path for mask in masks}
    partners = {source.stem.casefold(): source for source in infrared}
    stems = [source.stem for source in visible]
    if not any(stem.casefold() in partners for stem in stems):
        partners = {bare_stem(source.stem).casefold(): source for source in infrared}
        stems = [bare_stem(stem) for stem in stems]
    pairs = []
    for stem, source in zip(stems, visible, strict=True):
        partner = partners.pop(stem.casefold(), None)
        if partner is not None:
            mask: Path | None = mask_of.get(stem.casefold(), mask_of.get(partner.stem.casefold()))
            pairs.append(Pair(stem, source, partner, mask))
    return tuple(pairs)


def paired_split(visible: Sequence[Source], infrared: Sequence[Source], masks: Sequence[Source] = ()) -> Split:
    """All images, joined by stem."""
    return Split(join(visible, infrared, masks), tuple(visible), tuple(infrared))


def cut(groups: Sequence[str], val_fraction: float, test_fraction: float, smallest: int = 3) -> tuple[int, int]:
    """(i, j): items [0, i) train, [i, j) validate, [j, n) test. groups: each item's video, or "".

    At least one item each for fractions above 0, given `smallest` items; below that all train. Cuts fall
    between two videos where there are enough of them."""
    count = len(groups)
    if count < smallest:
        return count, count
    test = max(1, round(count * test_fraction)) if test_fraction > 0 else 0
    val = max(1, round(count * val_fraction)) if val_fraction > 0 else 0
    while val + test >= count:
        val, test = (val - 1, test) if val > test else (val, test - 1)
    test_start = count - test
    val_start = test_start - val
    edges = [place for place in range(1, count) if groups[place] != groups[place - 1]]
    if test and len(edges) > (val > 0):
        test_start = min(edges[1:] if val else edges, key=lambda edge: abs(edge - (count - test)))
    earlier = [edge for edge in edges if edge < test_start]
    if val and earlier:
        val_start = min(earlier, key=lambda edge: abs(edge - (test_start - val)))
    return (val_start if val else test_start), test_start


def assign(groups: Sequence[str], val_fraction: float, test_fraction: float) -> list[int]:
    """0 (train), 1 (val) or 2 (test) for each item of a sorted list; groups: each item's video, or "".

    Without videos the list is gone through in up to six chapters, each cut by itself: neighbouring frames stay
    together, and what is held out comes from all parts of the list (day and night often lie in parts of it)."""
    count = len(groups)
    held = min((round(count * share) for share in (val_fraction, test_fraction) if share > 0), default=0)
    chapters = 1 if any(groups) else max(1, min(CHAPTERS, held // HELD_TOGETHER))
    labels: list[int] = []
    for number in range(chapters):
        chapter = groups[number * count // chapters : (number + 1) * count // chapters]
        val_start, test_start = cut(chapter, val_fraction, test_fraction)
        labels += [(place >= val_start) + (place >= test_start) for place in range(len(chapter))]
    return labels


def hold_out(split: Split, val_fraction: float, test_fraction: float) -> dict[str, Split]:
    """train, val and test of the naturally sorted images; those left empty are left out.

    An image without partner goes where the pair before it goes."""
    pairs = sorted(split.pairs, key=lambda pair: natural_key(pair.stem))
    labels = assign([pair.visible.group for pair in pairs], val_fraction, test_fraction)
    keys = [natural_key(pair.stem) for pair in pairs]
    of_paired = {
        source: label for pair, label in zip(pairs, labels, strict=True) for source in (pair.visible, pair.infrared)
    }

    def side_labels(side: Sequence[Source]) -> list[int]:
        if not pairs:
            return assign([source.group for source in side], val_fraction, test_fraction)
        places = (max(0, bisect_right(keys, natural_key(source.stem)) - 1) for source in side)
        return [of_paired.get(source, labels[place]) for source, place in zip(side, places, strict=True)]

    def part(items: Sequence[Any], of_items: Sequence[int], label: int) -> tuple[Any, ...]:
        return tuple(item for item, its in zip(items, of_items, strict=True) if its == label)

    of_visible, of_infrared = side_labels(split.visible), side_labels(split.infrared)
    parts = {
        name: Split(
            part(pairs, labels, label),
            part(split.visible, of_visible, label),
            part(split.infrared, of_infrared, label),
        )
        for label, name in enumerate(("train", "val", "test"))
    }
    return {name: part for name, part in parts.items() if part.visible or part.infrared}


def complete(parts: dict[str, Split], val_fraction: float, test_fraction: float) -> dict[str, Split]:
    """train, val, test of what a layout brings: "" (no split) or train alone is cut in three, and train gives
    up a block for val where there is a test split but no val. Test images never validate."""
    if set(parts) in ({""}, {"train"}):
        return hold_out(next(iter(parts.values())), val_fraction, test_fraction)
    if "val" not in parts and "train" in parts:
        parts = parts | hold_out(parts["train"], val_fraction, 0)
    return {name: parts[name] for name in ("train", "val", "test") if name in parts}
