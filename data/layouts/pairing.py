"""Joining visible and infrared images by stem, and holding out blocks for validation and test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from data.files import natural_key
from data.images import Source
from data.layouts.listing import Pair, Split

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


def _by_place(
    sources: Sequence[Source], paired: dict[Source, int], starts: tuple[list[str | int], ...]
) -> list[list[Source]]:
    """Images by block: a paired one goes with its pair, another to the block its stem falls into."""
    blocks: list[list[Source]] = [[] for _ in range(len(starts) + 1)]
    for source in sources:
        place = sum(natural_key(source.stem) >= start for start in starts)
        blocks[paired.get(source, place)].append(source)
    return blocks


def _blocks(items: Sequence[Source] | Sequence[Pair], cuts: tuple[int, int]) -> list[tuple]:
    return [tuple(items[: cuts[0]]), tuple(items[cuts[0] : cuts[1]]), tuple(items[cuts[1] :])]


def hold_out(split: Split, val_fraction: float, test_fraction: float) -> dict[str, Split]:
    """train, val and test as contiguous blocks of the naturally sorted images; empty blocks are left out."""
    if split.pairs:
        pairs = sorted(split.pairs, key=lambda pair: natural_key(pair.stem))
        cuts = cut([pair.visible.group for pair in pairs], val_fraction, test_fraction)
        pair_blocks = _blocks(pairs, cuts)
        paired = {
            source: number
            for number, block in enumerate(pair_blocks)
            for pair in block
            for source in (pair.visible, pair.infrared)
        }
        test_start = natural_key(pair_blocks[2][0].stem) if pair_blocks[2] else [chr(0x10FFFF)]
        val_start = natural_key(pair_blocks[1][0].stem) if pair_blocks[1] else test_start
        starts = (val_start, test_start)
        visible = _by_place(split.visible, paired, starts)
        infrared = _by_place(split.infrared, paired, starts)
    else:
        pair_blocks = [(), (), ()]
        visible, infrared = (
            _blocks(side, cut([source.group for source in side], val_fraction, test_fraction))
            for side in (split.visible, split.infrared)
        )
    parts = {
        name: Split(tuple(pair_blocks[number]), tuple(visible[number]), tuple(infrared[number]))
        for number, name in enumerate(("train", "val", "test"))
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
