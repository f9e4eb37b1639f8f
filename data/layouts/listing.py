"""What a search of a data set returns: pairs and images by split, files passed over, remarks."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data.images import ImageError, Source
from util.text import first_few, plural


@dataclass(frozen=True)
class Pair:
    """A visible and an infrared image of one scene. mask: its salient targets in white, if there is one. labels: the
    picture whose pixel values are classes of things, if there is one."""

    stem: str
    visible: Source
    infrared: Source
    mask: Path | None = None
    labels: Path | None = None


@dataclass(frozen=True)
class Split:
    """One of train, val, test. visible and infrared hold all images, those in pairs too. parts: those of each data
    set, one after the other, where it is joined from several."""

    pairs: tuple[Pair, ...] = ()
    visible: tuple[Source, ...] = ()
    infrared: tuple[Source, ...] = ()
    parts: tuple[Split, ...] = ()

    def unpaired(self) -> tuple[list[Source], list[Source]]:
        """Visible images in no pair, infrared images in no pair."""
        paired = {source for pair in self.pairs for source in (pair.visible, pair.infrared)}
        return (
            [source for source in self.visible if source not in paired],
            [source for source in self.infrared if source not in paired],
        )

    def files(self) -> set[Path]:
        """Every file of the split, masks and labels too."""
        more = {path for pair in self.pairs for path in (pair.mask, pair.labels) if path is not None}
        return more | {source.path for source in (*self.visible, *self.infrared)}


def group_reasons(skipped: Iterable[ImageError]) -> list[tuple[str, int]]:
    """Reasons, without what stands in brackets, with their counts; the most frequent first."""
    return Counter(item.reason.split(" (")[0] for item in skipped).most_common()


@dataclass(frozen=True)
class Listing:
    """A data set as found on disk. splits: those of train, val, test that there are. skipped: files passed over, and
    why. unread: images that lie in the root and are in none of the splits, counted by their folders."""

    layout: str
    root: Path
    splits: dict[str, Split] = field(default_factory=dict)
    skipped: tuple[ImageError, ...] = ()
    notes: tuple[str, ...] = ()
    parts: tuple[Listing, ...] = ()  # of which it is joined
    unread: Mapping[str, int] = field(default_factory=dict)

    def chosen(self, split: str) -> list[str]:
        """The splits that --split names: one of them, or all. ValueError where there is no such split."""
        wanted = [name for name in self.splits if split in (name, "all")]
        if not wanted:
            raise ValueError(f"{self.root}: has no {split} split but {', '.join(self.splits)}: give --split")
        return wanted

    def passed_over(self, wanted: Iterable[str]) -> list[ImageError]:
        """The files and folders that cannot be used beside the images of some splits."""
        folders = {path.parent for name in wanted for path in self.splits[name].files()}
        folders |= {folder.parent for folder in folders}  # in which a folder may be locked
        return [item for item in self.skipped if item.path.parent in folders]

    def summary(self) -> str:
        """One line: layout, pairs and unpaired images of each split, files skipped by reason, images not read."""
        if self.parts:
            return " | ".join(part.summary() for part in self.parts)
        parts = []
        for name, split in self.splits.items():
            visible, infrared = split.unpaired()
            part = f"{name} {plural(len(split.pairs), 'pair')}"
            if visible or infrared:
                part += f" + {len(visible)} visible and {len(infrared)} infrared unpaired"
            parts.append(part)
        skipped = "no file skipped"
        if self.skipped:
            reasons = ", ".join(f"{count} {reason}" for reason, count in group_reasons(self.skipped))
            skipped = f"{plural(len(self.skipped), 'file')} skipped ({reasons})"
        if self.unread:
            skipped += f"; {plural(sum(self.unread.values()), 'image')} not read (of {first_few(self.unread)})"
        return f"{self.layout} in {self.root}: {'; '.join(parts)}; {skipped}"

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with the layout and with any file's name or size."""
        files = set().union(*(split.files() for split in self.splits.values()))
        names = {os.path.relpath(path, self.root).replace(os.sep, "/"): path for path in files}
        digest = hashlib.sha256("".join([self.layout, *(part.fingerprint() for part in self.parts)]).encode())
        if self.parts:
            return digest.hexdigest()[:16]
        for name in sorted(names):
            digest.update(os.fsencode(f"\n{name} {names[name].stat().st_size}"))
        return digest.hexdigest()[:16]
