"""Lists of images, as text files beside a data set: reading them, and sharing images among splits as they say."""

from __future__ import annotations

import codecs
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from data.files import meanings, name_key, natural_key
from data.images import Source
from data.layouts.listing import Split
from data.layouts.pairing import bare_stem
from data.layouts.scan import Scan
from util.text import first_few, plural


def list_files(places: Iterable[Path | None], scan: Scan) -> list[Path]:
    """The .txt files of some folders, in natural order in each; what is no plain file is noted and never opened."""
    found = []
    for place in filter(None, places):
        paths = [path for path in place.glob("*") if path.suffix.lower() == ".txt" and not path.name.startswith(".")]
        for path in sorted(paths, key=lambda path: natural_key(path.name)):
            if path.is_file():
                found.append(path)
            elif not path.is_dir():
                scan.note(f"{path}: is no plain file and is passed over")
    return found


def read_list(path: Path) -> list[str]:
    """The lines of a list that are not blank. ValueError, naming the file, where it is no text."""
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(f"{path}: is a list of images by its name but no text: save it as UTF-8, or rename it")
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def note_absent(path: Path, absent: Sequence[str], matched: bool, what: str, scan: Scan) -> None:
    """Remark on the entries of a list that name nothing there. matched: whether others do."""
    told = [entry for entry in absent if not entry.startswith("#")]  # a comment
    if not matched:
        of = f"none of its {plural(len(told), 'line')} names an image here: {first_few(told)}" if told else "is empty"
        scan.note(f"{path.name}: {of}; the list is left out")
    elif told:
        scan.note(f"{path.name}: {plural(len(told), f'listed {what}')} not on disk: {first_few(told)}")


def _finder(whole: Split) -> tuple[dict[Source, str], Callable[[str], set[str]]]:
    """Image -> what it is called in both sides, and what a list's line names of that."""
    of = {source: pair.stem for pair in whole.pairs for source in (pair.visible, pair.infrared)}
    of |= {source: source.stem for source in (*whole.visible, *whole.infrared) if source not in of}
    exact: dict[str, set[str]] = defaultdict(set)
    bare: dict[str, set[str]] = defaultdict(set)
    for source, name in of.items():
        for stem in (name, source.stem):
            exact[name_key(stem)].add(name)
            bare[name_key(bare_stem(stem))].add(name)

    def one(text: str) -> set[str]:
        keys = [name_key(stem) for stem in meanings(text)]
        keys_bare = [name_key(bare_stem(stem)) for stem in meanings(text)]
        found = [exact[key] for key in keys if key in exact] + [bare[key] for key in keys_bare if key in bare]
        return found[0] if found else set()

    def named(line: str) -> set[str]:
        whole_line = one(line) or one(re.split(r"\s#", line)[0])  # a comment may follow
        words = [one(word) for word in re.split(r"[\s,;]+", line)]  # or columns
        return whole_line or (set().union(*words) if all(words) else words[0])

    return of, named


def share_by_lists(whole: Split, lists: Mapping[str, Path], scan: Scan) -> dict[str, Split]:
    """All images, shared as the lists of splits say; one that several lists name belongs to the first of them. Without
    a list of training images that names any, those are all that no other list names; without any list, {"": whole}, to
    be shared by the fractions."""
    of, named = _finder(whole)
    split_of: dict[str, str] = {}
    used = []
    for split, path in lists.items():
        found = [(line, named(line)) for line in read_list(path)]
        names = set().union(*(its for _, its in found))
        note_absent(path, [line for line, its in found if not its], bool(names), "pair", scan)
        twice = [name for name in names if name in split_of]
        if twice:
            first = first_few(sorted(twice, key=natural_key))
            scan.note(
                f"{path.name}: {plural(len(twice), 'image')} of an earlier list too, to which they belong: {first}"
            )
        split_of |= dict.fromkeys(names.difference(split_of), split)
        used += [split] * bool(names)
    if not used:
        return {"": whole}
    unlisted = [pair.stem for pair in whole.pairs if pair.stem not in split_of]
    if "train" not in used:
        rest = {*of.values()} - split_of.keys()
        split_of |= dict.fromkeys(rest, "train")
        used.insert(0, "train")
        scan.note(
            f"no list of training images: the {plural(len(unlisted), 'pair')} that no other names are to train on"
        )
    elif unlisted:
        read = ", ".join(lists[split].name for split in used)
        scan.note(f"{plural(len(unlisted), 'pair')} in no list ({read}), left out: {first_few(unlisted)}")
    return {
        split: Split(
            tuple(pair for pair in whole.pairs if split_of.get(pair.stem) == split),
            tuple(source for source in whole.visible if split_of.get(of[source]) == split),
            tuple(source for source in whole.infrared if split_of.get(of[source]) == split),
        )
        for split in used
    }
