"""Reading folders in one search: headers of all images, files passed over, remarks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path

from data.files import image_files, name_key
from data.images import ImageError, Source, ThermalRange, camera_box, read_infrared
from data.layouts.listing import Pair, Split
from data.pictures import Header, header_of
from data.remarks import note_pages, note_palettes, with_one_white
from data.threads import of_headers
from options.data import DataOptions
from util.text import first_few


class Scan:
    """What one search gathers. headers: of every readable image met so far."""

    def __init__(self, options: DataOptions) -> None:
        self.options = options
        self.headers: dict[Path, Header] = {}
        self.skipped: dict[Path, ImageError] = {}
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep a remark for the report, once."""
        if text not in self.notes:
            self.notes.append(text)

    def skip(self, path: Path, reason: str) -> None:
        """Pass a file over; with --strict an ImageError instead."""
        error = ImageError(path, reason)
        if self.options.strict:
            raise error
        self.skipped.setdefault(path, error)

    def check(self, paths: list[Path]) -> list[Path]:
        """Those files whose header is that of an image; the others are skipped."""
        new = [path for path in paths if path not in self.headers]
        for path, header in zip(new, of_headers(header_of, new), strict=True):
            if isinstance(header, ImageError):
                self.skip(path, header.reason)
            else:
                self.headers[path] = header
        return [path for path in paths if path in self.headers]

    def images(self, folder: Path | None, camera: str = "none", beside: Path | None = None) -> list[Source]:
        """Readable images of a folder in natural order, or of its sub-folders where it holds none itself:
        their stems are then sub-folder_stem and their groups the sub-folders. beside: the folder of their partners; of
        files of one stem the one is taken that is called as one there, else the first."""
        if folder is None:
            return []
        files = self.check(image_files(folder) or image_files(folder, recursive=True))
        places = {path: path.relative_to(folder).with_suffix("") for path in files}
        keys = {path: name_key("_".join(place.parts)) for path, place in places.items()}
        taken = dict(reversed([(key, path) for path, key in keys.items()]))
        if beside is not None and len(taken) < len(files):
            names = {
                path.relative_to(beside).with_suffix(end).as_posix()
                for path in image_files(beside, recursive=True)
                for end in ("", path.suffix)
            }
            for end in (False, True):  # a whole name says more than one without its suffix
                fit = [p for p in files if (p.relative_to(folder) if end else places[p]).as_posix() in names]
                taken |= dict(reversed([(keys[path], path) for path in fit]))
        sources = []
        for path, place in places.items():
            if path != taken[keys[path]]:
                self.skip(path, f"same name as another image (as {taken[keys[path]].name})")
                continue
            group = place.parent.as_posix() if len(place.parts) > 1 else ""
            used = camera if self.options.camera_crop else "none"
            sources.append(Source(path, "_".join(place.parts), camera=used, group=group))
        return sources

    def sides(
        self, visible: Path | None, infrared: Path | None, camera: str = "none"
    ) -> tuple[list[Source], list[Source]]:
        """The images of two folders of partners. camera: of the visible ones."""
        return self.images(visible, camera, infrared), self.images(infrared, beside=visible)

    def drop_bytes(self, infrared: list[Source]) -> list[Source]:
        """Only the images of more than 8 bits; the others are skipped (1,000 test TIFFs of FLIR ADAS v2)."""
        kept = []
        for source in infrared:
            if self.headers[source.path].deep:
                kept.append(source)
            else:
                self.skip(source.path, "8-bit picture among 16-bit counts")
        return kept

    def note_missing(self, name: str, split: Split) -> None:
        """Remark on the images of a paired split that have no partner."""
        sides = (("visible", "infrared"), ("infrared", "visible"))
        for (kind, other), alone in zip(sides, split.unpaired(), strict=True):
            if alone:
                label = f"{name}: " if name else ""
                stems = first_few(source.stem for source in alone)
                self.note(f"{label}{len(alone)} {kind} without {other} partner: {stems}")

    def note_sizes(self, splits: dict[str, Split]) -> None:
        """Remark on pairs of two sizes, on colour infrared, and on files of several pages."""
        pairs = [pair for split in splits.values() for pair in split.pairs if _whole(pair)]
        size = {path: header.size for path, header in self.headers.items()}
        unlike = [pair.stem for pair in pairs if size[pair.visible.path] != size[pair.infrared.path]]
        if unlike:
            self.note(f"{len(unlike)} of {len(pairs)} pairs have images of two sizes: {first_few(unlike)}")
        infrared = list(chain.from_iterable(split.infrared for split in splits.values()))
        visible = list(chain.from_iterable(split.visible for split in splits.values()))
        for line in note_palettes(infrared, self.headers) + note_pages([*visible, *infrared], self.headers):
            self.note(line)

    def with_one_white(self, splits: dict[str, Split]) -> dict[str, Split]:
        """The splits, their visible images of more than 8 bits shown alike, and a remark on how."""
        visible = list(chain.from_iterable(split.visible for split in splits.values()))
        alike, lines = with_one_white(visible, self.headers, self.options.visible_bits)
        for line in lines:
            self.note(line)

        def changed(split: Split) -> Split:
            pairs = tuple(replace(pair, visible=alike.get(pair.visible, pair.visible)) for pair in split.pairs)
            return replace(split, pairs=pairs, visible=tuple(alike.get(source, source) for source in split.visible))

        return {name: changed(split) for name, split in splits.items()} if alike else splits

    def note_views(self, splits: dict[str, Split]) -> None:
        """Remark on visible pictures of a shape that no camera crop fits, unless they have the infrared size."""
        infrared = {self.headers[source.path].size for split in splits.values() for source in split.infrared}
        cameras = Counter(
            (source.camera, self.headers[source.path].size)
            for split in splits.values()
            for source in split.visible
            if source.camera != "none"
        )
        whole = {
            size: number
            for (camera, size), number in cameras.items()
            if camera_box(camera, size) == (0, 0, *size) and size not in infrared
        }
        if whole:
            listed = ", ".join(f"{number} of {width}x{height}" for (width, height), number in whole.items())
            self.note(f"visible left whole, no crop to the thermal view is known for their shape: {listed}")

    def note_counts(self, splits: dict[str, Split]) -> None:
        """Remark on 16-bit infrared whose first image is no temperature through the thermal range."""
        sources = chain.from_iterable(split.infrared for split in splits.values())
        first = next((source for source in sources if self.headers[source.path].deep), None)
        if first is None:
            return
        try:
            read_infrared(first, ThermalRange.from_options(self.options))
        except ImageError as error:
            self.note(str(error))


def _whole(pair: Pair) -> bool:
    return pair.visible.camera == "none" and pair.visible.half == "whole"


def without_pairs(splits: dict[str, Split]) -> dict[str, Split]:
    """The same images, none of them paired."""
    return {name: replace(split, pairs=()) for name, split in splits.items()}
