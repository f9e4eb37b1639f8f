"""What fuse.py writes: fused images in colour, copies for the gallery, scores, a record of each image, the page; and
what of it is there already."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.files import natural_key
from data.images import ImageError, Source, ThermalRange, to_uint8, write_image
from data.inputs import Job
from data.output.finished import inputs_of, remove_forgotten, stands
from data.output.generated import copy_small
from data.output.made import Made, are_scores, is_size
from data.output.writing import Wait
from data.scoring.fusion_scores import FUSED, TRIVIAL, FusionScores
from data.scoring.scored import read_saved
from data.threads import in_threads
from data.visible_images import FusionInputs
from options.fuse import OutputOptions
from util.colour import luminance
from util.files import remove_parts, write_whole
from util.pages.gallery import write_gallery
from util.pages.image_rows import Row
from util.text import first_few, plural

KINDS = {"fused": ".png", "infrared": ".png", "previews/visible": ".jpg", "previews/infrared": ".jpg"}
"""Folder of results -> how its files end."""
PIPELINE = 1
"""Part of what fuse.py records of its images: raise it when the same weights, options and files give other pixels or
scores, whatever part of the code that is due to, so that images made before are made anew."""
STRIP = 512  # rows that are coloured at once


def coloured(visible: torch.Tensor, fused: torch.Tensor, gray: bool) -> np.ndarray:
    """Visible uint8 [3, H, W], fused luminance [1, H, W] in [-1, 1] -> uint8 [H, W, 3], the visible image's Cb and Cr
    with the fused Y, or [H, W] where the visible image has no colour."""
    if gray or (torch.equal(visible[0], visible[1]) and torch.equal(visible[1], visible[2])):
        return to_uint8(fused)
    strips = []
    for colour, light in zip(visible.split(STRIP, 1), fused.split(STRIP, 1), strict=True):
        colour = colour.float() / 127.5 - 1
        # With Cb and Cr kept, B - Y and R - Y are, and so is G - Y: all channels shift alike.
        strips.append(to_uint8(colour + (light - luminance(colour))))
    return np.concatenate(strips)


def _channels_first(array: np.ndarray) -> torch.Tensor:
    """uint8 [H, W(, 3)] -> [C, H, W]."""
    return torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1)


def fits(record: Mapping[str, Any]) -> bool:
    """Whether a record read back is as `Results.write` makes it."""
    return isinstance(record.get("facts"), dict) and are_scores(record.get("scores")) and is_size(record.get("size"))


class Results:
    """A folder of fused images or videos, and what is known of each."""

    def __init__(self, folder: Path, options: OutputOptions, shown: set[str], made: Made | None = None) -> None:
        """shown: stems of the images in the gallery. made: records of finished images; none of videos."""
        self.folder, self.options, self.shown, self.made = folder, options, shown, made
        self.scores = FusionScores()
        self.rows: dict[str, Row] = {}
        self.records: dict[str, dict[str, Any]] = {}
        self.errors: list[ImageError] = []

    def file(self, kind: str, stem: str) -> Path:
        """Where an image goes; kind: a key of KINDS."""
        return self.folder / kind / f"{stem}{KINDS[kind]}"

    def _copies(self, stem: str) -> dict[str, Path]:
        return {kind: self.file(f"previews/{kind}", stem) for kind in ("visible", "infrared")}

    def remove_parts(self) -> None:
        """What a killed command left half-written."""
        for kind in ("", *KINDS, "previews/fused"):
            remove_parts(self.folder / kind)

    def take_finished(self, jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
        """(Jobs still to be fused, jobs that lack their scores alone); what is known of the others is taken over."""
        self.remove_parts()
        remove_forgotten(self.made, jobs, lambda stem: [self.file(kind, stem) for kind in KINDS])
        left, unscored = [], []
        for job in jobs:
            stem = job.visible.stem
            needed = [self.file("fused", stem)]
            needed += [self.file("infrared", stem)] if job.real is None else []
            needed += self._copies(stem).values() if stem in self.shown else []
            record = self.made.records.get(stem)
            if not stands(record, job, needed):
                left.append(job)
            elif self.options.evaluate and not self._has_scores(record):
                unscored.append(job)
            else:
                self._keep(stem, record)
        return left, unscored

    def _has_scores(self, record: Mapping[str, Any]) -> bool:
        """Whether they are those of today's metrics."""
        return are_scores(record["scores"], (FUSED, *TRIVIAL), self.scores.higher)

    def _keep(self, stem: str, record: Mapping[str, Any]) -> None:
        """A finished image into the record, the scores and the gallery."""
        self.records[stem] = record["facts"]
        if self.options.evaluate:
            self.scores.take(stem, record["scores"], record["size"])
        if stem in self.shown:
            self._add_row(stem, self.file("fused", stem))

    def _add_row(self, stem: str, fused: Path) -> None:
        self.rows[stem] = Row(stem, self._copies(stem) | {"fused": fused}, self.scores.of(FUSED, stem))

    def _score(self, fused: torch.Tensor, visible: torch.Tensor, infrared: torch.Tensor) -> dict[str, Any]:
        """Of uint8 [1 or 3, H, W] as it is saved, where asked for: its part of the record."""
        rows = self.scores.compute({FUSED: fused}, visible, infrared) if self.options.evaluate else {}
        return {"scores": rows, "size": list(fused.shape[-2:])}

    def write(self, item: Mapping[str, Any], fused: torch.Tensor, span: torch.Tensor, wait: Wait) -> None:
        """One fused image [1, H, W]; runs in a writer thread. item: of FusionInputs, with "infrared". span: grey
        levels of the network's raw output, [2]. wait: until all have arrived on the CPU."""
        wait()
        job, visible, infrared = item["job"], item["visible"], item["infrared"]
        stem = job.visible.stem
        try:
            inputs = inputs_of(job)
        except ImageError as error:
            self.errors.append(error)
            return
        array = coloured(visible, fused, self.options.gray)
        write_image(self.file("fused", stem), array)
        if job.real is None:
            write_image(self.file("infrared", stem), infrared[0].numpy())
        source = "generated" if job.real is None else str(job.real.path)
        facts = {"visible": str(job.visible.path), "infrared": source}
        facts["raw_range"] = [round(end, 2) for end in span.tolist()]
        facts |= {"infrared_size_before": list(item["resized"])} if "resized" in item else {}
        if stem in self.shown:
            self._copy(stem, visible, infrared)
        self._finish(stem, {"inputs": inputs, "facts": facts} | self._score(_channels_first(array), visible, infrared))

    def _finish(self, stem: str, record: dict[str, Any]) -> None:
        self._keep(stem, record)
        self.made.add(stem, record)

    def score_written(self, jobs: Sequence[Job], thermal: ThermalRange, num_threads: int) -> None:
        """Scores of images that an earlier command fused without, from the files."""
        sources = [job if job.real else replace(job, real=self._made_infrared(job.visible.stem)) for job in jobs]
        inputs = FusionInputs(sources, thermal)

        def score(number: int) -> dict[str, Any] | ImageError:
            item = inputs[number]
            fused = read_saved(self.file("fused", jobs[number].visible.stem))
            return item["error"] if "error" in item else self._score(fused, item["visible"], item["infrared"])

        for number, found in in_threads(score, range(len(jobs)), num_threads, "scoring"):
            if isinstance(found, ImageError):
                self.errors.append(found)
            else:
                stem = jobs[number].visible.stem
                self._finish(stem, {**self.made.records[stem], **found})

    def _made_infrared(self, stem: str) -> Source:
        return Source(self.file("infrared", stem), stem)

    def show_frame(self, stem: str, visible: torch.Tensor, infrared: torch.Tensor, fused: np.ndarray) -> None:
        """One row of the gallery, of a video's frame uint8 [H, W(, 3)]."""
        self._copy(stem, visible, infrared)
        path = self.folder / "previews" / "fused" / f"{stem}.jpg"
        copy_small(path, _channels_first(fused))
        self._add_row(stem, path)

    def _copy(self, stem: str, visible: torch.Tensor, infrared: torch.Tensor) -> None:
        """Inputs are copied, so that the results can be moved alone."""
        for path, image in zip(self._copies(stem).values(), (visible, infrared), strict=True):
            copy_small(path, image)

    def report(self, facts: Mapping[str, Any], count: int, where: str) -> int:
        """Records, scores, page, closing lines; exit status 1 where something was skipped."""
        stems = sorted(self.records, key=natural_key)
        content = dict(facts) | {"images": {stem: self.records[stem] for stem in stems}}
        write_whole(self.folder / "results.json", json.dumps(content, indent=2).encode())
        tables = []
        if self.scores.rows:
            self.scores.rows = {name: {stem: rows[stem] for stem in stems} for name, rows in self.scores.rows.items()}
            self.scores.write(self.folder / "scores.json", facts)
            title = f"Scores of {plural(len(self.records), 'fused image')}, range {facts['range']}"
            tables.append(self.scores.table(title))
            print(self.scores.text())
        else:  # an earlier command's, perhaps of other images
            for name in ("scores.json", "scores.csv"):
                (self.folder / name).unlink(missing_ok=True)
        page = self.folder / "index.html"
        if self.rows:
            about = {k: str(facts[k]) for k in ("weights", "range", "infrared", "device")}
            about |= {"images": f"{len(self.rows)} of {count} shown"}
            rows = [self.rows[stem] for stem in stems or sorted(self.rows) if stem in self.rows]
            write_gallery(page, f"{self.folder.name}: fused images", rows, tables, (), about)
            print(f"gallery   {page.resolve()}")
        else:
            page.unlink(missing_ok=True)
        resized = [stem for stem in stems if "infrared_size_before" in self.records[stem]]
        if resized:
            print(f"note      infrared resized to its visible image's size in {plural(len(resized), 'pair')}: "
                  f"{first_few(resized)}")  # fmt: skip
        for error in self.errors:
            print(f"skipped {error}", file=sys.stderr)
        print(where)
        return 1 if self.errors else 0
