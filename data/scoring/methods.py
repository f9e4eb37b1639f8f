"""Images of several methods, joined to what they were made of by the names of their files."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from data.files import SPELLINGS, name_key
from data.images import Source, list_images
from util.text import first_few

MOST_METHODS = 12  # in one folder: more different endings of names are no methods'


def results_of(folder: Path, inner: str) -> list[Source]:
    """Images of a folder; of a results folder those in its folder `inner`. ValueError where there are none."""
    return list_images(folder / inner if (folder / inner).is_dir() else folder)


def by_stem(stems: Sequence[str], name: str, sources: Sequence[Source]) -> dict[str, Source]:
    """Wanted stem -> the image of a method that has it, or has it with _NAME or -NAME behind, or NAME_ or NAME- before
    it; case and Unicode's normalisation aside where that is unambiguous."""
    found: dict[str, Source] = {}
    for beside, spelled in product(("(?!)", "[_-]{}$", "^{}[_-]"), SPELLINGS):
        cut = re.compile(beside.format(re.escape(spelled(name))), re.IGNORECASE)
        taken = {source.path for source in found.values()}
        wanted = [(spelled(stem), stem) for stem in stems if stem not in found]
        there = [(cut.sub("", spelled(source.stem)), source) for source in sources if source.path not in taken]
        counts = [Counter(key for key, _ in side) for side in (wanted, there)]
        of_key = dict(there)
        found |= {stem: of_key[key] for key, stem in wanted if counts[0][key] == counts[1][key] == 1}
    return {stem: found[stem] for stem in stems if stem in found}


def named_methods(stems: Sequence[str], sources: Sequence[Source]) -> list[str]:
    """The methods that file names tell: GTF of fight_GTF, fight-GTF, GTF_fight where fight is a wanted stem; [] where
    they are so many that they can be none."""
    known = {name_key(stem) for stem in stems}
    found: dict[str, None] = {}
    for source in sources:
        cuts = [(source.stem[: cut.start()], source.stem[cut.end() :]) for cut in re.finditer("[_-]", source.stem)]
        sides = [(stem, name) for stem, name in cuts + [cut[::-1] for cut in cuts] if name and name_key(stem) in known]
        if sides:
            found[max(sides, key=lambda side: len(side[0]))[1]] = None  # the longest stem: walking_2_GTF is no walking
    return list(found) if len(found) <= MOST_METHODS else []


def join_methods(
    stems: Sequence[str],
    folders: Mapping[str, Path],
    inner: str,
    option: str,
    partner: str,
    remedy: str = "give both the same name",
) -> tuple[dict[str, dict[str, Source]], list[str]]:
    """(stem -> method -> image, of the stems that all methods have, a line about each method that lacks some or
    has images that nothing pairs with). folders: of each method, as for results_of. partner: what stems are of.
    ValueError, with the remedy, where nothing is left."""
    methods = {name: results_of(folder, inner) for name, folder in folders.items()}
    joined = {name: by_stem(stems, name, sources) for name, sources in methods.items()}
    lines, told = [], set()
    used = {source.path for found in joined.values() for source in found.values()}  # one folder may hold several
    for name, found in joined.items():
        folder, unused = folders[name], [source for source in methods[name] if source.path not in used]
        by_name = " ".join(shlex.quote(f"{other}={folder}") for other in named_methods(stems, unused))
        if not found:
            raise ValueError(
                f"--{option} {name}: no image ({first_few(s.path.name for s in methods[name])}) has the stem of a "
                f"{partner} ({first_few(stems)}): "
                + (f"their names tell the method: give --{option} {by_name}" if by_name else remedy)
            )
        lacks = [stem for stem in stems if stem not in found]
        if lacks:
            lines.append(f"{name}: no image for {len(lacks)} of {len(stems)} {partner}s ({first_few(lacks)})")
        if unused and folder not in told:
            told.add(folder)
            more = f"; {by_name} scores them too" if by_name else ""
            names = first_few(source.path.name for source in unused)
            lines.append(f"{name}: no {partner} for {len(unused)} of its images ({names}){more}")
    common = [stem for stem in stems if all(stem in found for found in joined.values())]
    if not common:
        raise ValueError(f"--{option}: no {partner} has an image of every method, so they cannot be compared")
    if len(common) < max(map(len, joined.values())):
        lines.append(f"the methods are compared on the {len(common)} {partner}s that all of them have")
    return {stem: {name: found[stem] for name, found in joined.items()} for stem in common}, lines
