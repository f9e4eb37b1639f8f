"""Joining visible and infrared images by stem, and holding out blocks for validation and test."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from data.files import SPELLINGS, name_key, natural_key
from data.images import Source
from data.layouts.listing import Pair, Split

CHAPTERS, HELD_TOGETHER, LEAST_VIDEOS = 6, 3, 5
"""At most so many parts of a list are cut by themselves, each holding out at least so many neighbours, or one of at
least so many videos."""

_WORDS = "visible|visual|vis|vi|rgb|colou?r|co|eo|optical|photo|wide|zoom"
_WORDS += "|infrared|inf|ir|tir|thermal|thermo|thrm|thr|lwir|previewdata"
_LETTERS = "v|w|z|t"  # of DJI's visible, wide, zoomed and thermal pictures
_SIDE = re.compile(
    rf"(?:[ _.-]|(?<=\d)(?={_WORDS}))(?:{_WORDS})$|[ _.-](?:{_LETTERS})$"  # scene_RGB, 12ir, DJI_0001_T
    rf"|^(?:{_WORDS})(?:[ _.-]|(?=\d))|^(?:{_LETTERS})[ _-]"  # IR1, thermal_1, T_1
    rf"|(?<=[ _.-])(?:{_WORDS})[ _.-]"  # road_rgb_1
    rf"|^(?:{_WORDS})$",
    re.IGNORECASE,
)
Name = Callable[[Source], str]


def bare_stem(stem: str) -> str:
    """The stem without what says visible or infrared, at its end, its beginning or between: _RGB, IR, thermal_.
    "" where it says nothing else."""
    return _SIDE.sub("", stem)


def _add(
    found: dict[Source, Source], visible: Sequence[Source], infrared: Sequence[Source], names: tuple[Name, Name]
) -> None:
    """Add visible -> infrared image of an equal name that only one image left on either side has, case told apart
    first. names: of both sides."""
    for spelled in SPELLINGS:
        taken = set(found.values())
        sides = [s for s in visible if s not in found], [s for s in infrared if s not in taken]
        named = [[spelled(name(source)) for source in side] for name, side in zip(names, sides, strict=True)]
        counts = [Counter(its) for its in named]
        partners = dict(zip(named[1], sides[1], strict=True))
        for source, name in zip(sides[0], named[0], strict=True):
            if counts[0][name] == counts[1][name] == 1:
                found[source] = partners[name]


def join(
    visible: Sequence[Source],
    infrared: Sequence[Source],
    roots: tuple[Path, Path] | None = None,
) -> tuple[Pair, ...]:
    """Pairs of equal stems in the order of visible, case and Unicode's normalisation aside where that is unambiguous;
    with them those of equal bare stems, where most are. roots: of both sides, below which equal paths come first."""
    found: dict[Source, Source] = {}
    if roots:
        paths = tuple(lambda source, root=root: source.path.relative_to(root).as_posix() for root in roots)
        _add(found, visible, infrared, paths)
        _add(
            found, visible, infrared, tuple(lambda source, path=path: path(source).rpartition(".")[0] for path in paths)
        )
    _add(found, visible, infrared, (lambda source: source.stem,) * 2)
    equal = found.copy()
    _add(found, visible, infrared, (lambda source: bare_stem(source.stem),) * 2)
    bare = len(found) > 2 * len(equal)  # else a few bare names that happen to be equal would join strangers
    if not bare:
        found = equal
    pairs = []
    for source in visible:
        if source in found:
            partner, stem = found[source], (bare and bare_stem(source.stem)) or source.stem
            pairs.append(Pair(stem, source, partner))
    return tuple(pairs)


def _of_pairs(pairs: Sequence[Pair], pictures: Sequence[Source]) -> list[Path | None]:
    """Of each pair the picture, such as its mask, that has its stem or its infrared image's."""
    named = {name_key(bare_stem(picture.stem)): picture.path for picture in pictures}
    named |= {name_key(picture.stem): picture.path for picture in pictures}
    return [named.get(name_key(pair.stem), named.get(name_key(pair.infrared.stem))) for pair in pairs]


def paired_split(
    visible: Sequence[Source],
    infrared: Sequence[Source],
    masks: Sequence[Source] = (),
    labels: Sequence[Source] = (),
) -> Split:
    """All images, joined by stem, with the masks and label images of the pairs."""
    pairs = join(visible, infrared)
    beside = zip(pairs, _of_pairs(pairs, masks), _of_pairs(pairs, labels), strict=True)
    whole = tuple(replace(pair, mask=mask, labels=classes) for pair, mask, classes in beside)
    return Split(whole, tuple(visible), tuple(infrared))


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

    The list is gone through in up to six chapters, each cut by itself: neighbouring frames and the frames of a video
    stay together, and what is held out comes from all parts of the list (day and night often lie in parts of it)."""
    count = len(groups)
    held = min((round(count * share) for share in (val_fraction, test_fraction) if share > 0), default=0)
    chapters = max(1, min(CHAPTERS, held // HELD_TOGETHER))
    starts = [number * count // chapters for number in range(1, chapters)]
    if any(groups):  # a chapter is whole videos, of which one can be held out for each purpose
        edges = [place for place in range(1, count) if groups[place] != groups[place - 1]]
        chapters = max(1, min(chapters, (len(edges) + 1) // LEAST_VIDEOS))
        starts = [edges[number * (len(edges) + 1) // chapters - 1] for number in range(1, chapters)]
    labels: list[int] = []
    for first, end in pairwise([0, *starts, count]):
        chapter = groups[first:end]
        val_start, test_start = cut(chapter, val_fraction, test_fraction)
        labels += [(place >= val_start) + (place >= test_start) for place in range(len(chapter))]
    return labels


def hold_out(split: Split, val_fraction: float, test_fraction: float) -> dict[str, Split]:
    """train, val and test of the naturally sorted images; those left empty are left out.

    An image without partner goes where the pair before it goes."""
    pairs = sorted(split.pairs, key=lambda pair: natural_key(pair.stem))
    labels = assign([pair.visible.group for pair in pairs], val_fraction, test_fraction)
    keys = [natural_key(pair.stem) for pair in pairs]
    whole = all(pair.stem == pair.visible.stem for pair in pairs)  # else lone images sort by their bare stems as well
    of_paired = {
        source: label for pair, label in zip(pairs, labels, strict=True) for source in (pair.visible, pair.infrared)
    }

    def side_labels(side: Sequence[Source]) -> list[int]:
        if not pairs:
            return assign([source.group for source in side], val_fraction, test_fraction)
        names = (source.stem if whole else bare_stem(source.stem) or source.stem for source in side)
        places = (max(0, bisect_right(keys, natural_key(name)) - 1) for name in names)
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
    up a block for val where there is a test split but no val. Test images never validate. Validation needs pairs:
    where there are none to train on, nothing is held out for it."""
    parts = {name: part for name, part in parts.items() if part.visible or part.infrared}
    if not any(part.pairs for name, part in parts.items() if name in ("", "train")):
        val_fraction = 0
    if set(parts) in ({""}, {"train"}):
        return hold_out(next(iter(parts.values())), val_fraction, test_fraction)
    if "val" not in parts and "train" in parts:
        parts = parts | hold_out(parts["train"], val_fraction, 0)
    return {name: parts[name] for name in ("train", "val", "test") if name in parts}
