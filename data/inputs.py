"""What commands work on: the images and pairs of folders, files and data sets, each with the name of its result."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.files import Met, name_key, too_long, unique_stems
from data.images import ImageError, Source, list_images
from data.layouts import Listing, Pair, Split, UnknownLayout, find, recognise
from data.layouts.pairing import bare_stem, join
from data.remarks import seen_alike
from options.data import SAMPLE_ROOT, DataOptions
from options.fuse import FuseDataOptions, SourceOptions
from options.test import TestDataOptions
from util.text import first_few, plural
from util.training import ranks


def ensure_sample(dataroot: Path) -> None:
    """Make the sample data set if dataroot is its default place and nothing is there yet: each machine's first rank
    does."""
    if dataroot == SAMPLE_ROOT and ranks.is_first_here() and not dataroot.exists():
        from data.sample import make  # the renderer is of no use to any other start

        print(f"{dataroot} does not exist yet: making the sample data set there", flush=True)
        make(dataroot)
    ranks.barrier()


def find_data(options: DataOptions) -> Listing:
    """The data sets that options name, as find reads them; the sample data set is made if need be."""
    for one in options.roots:
        ensure_sample(one.dataroot)
    return find(options)


def evenly(items: Sequence[Any], count: int | None) -> list[Any]:
    """At most `count` of the items, evenly spread over them; all for None."""
    count = len(items) if count is None else min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


@dataclass(frozen=True)
class Job:
    """One result to make: from a visible image, and its infrared partner where there is one. labels: of a pair."""

    visible: Source
    ground_truth: Source | None = None
    labels: Path | None = None


@dataclass(frozen=True)
class Inputs:
    """What to work on (each job's visible stem names its result), what was passed over that could not be used, one line
    about it, and remarks."""

    jobs: list[Job]
    skipped: list[ImageError]
    summary: str
    notes: tuple[str, ...] = ()

    @classmethod
    def among(cls, jobs: Sequence[Job], met: Met, summary: str, notes: Sequence[str] = ()) -> Inputs:
        """Those jobs whose results can have their names; what else a search met goes to skipped and notes."""
        long = {job for job in jobs if too_long(job.visible.stem, ".png")}
        skipped = [ImageError(path, reason) for path, reason in met.unread]
        skipped += [ImageError(job.visible.path, "its result would have too long a name: shorten it") for job in long]
        return cls([job for job in jobs if job not in long], skipped, summary, (*notes, *met.notes()))

    def seen_alike(self, bits: int | None) -> Inputs:
        """With visible images of more than 8 bits shown alike, and remarks on images that no data set's search has
        looked at."""
        real = [job.ground_truth for job in self.jobs if job.ground_truth is not None]
        alike, notes = seen_alike([job.visible for job in self.jobs], real, bits)
        jobs = [replace(job, visible=alike.get(job.visible, job.visible)) for job in self.jobs]
        return replace(self, jobs=jobs, notes=(*self.notes, *notes))

    def chosen(self, count: int | None, strict: bool) -> Inputs:
        """At most so many jobs, evenly spread. ImageError for what was passed over, if strict."""
        if self.skipped and strict:
            raise self.skipped[0]
        return replace(self, jobs=evenly(self.jobs, count))

    @property
    def paths(self) -> list[Path]:
        """All files that are read."""
        return [source.path for job in self.jobs for source in (job.visible, job.ground_truth) if source is not None]


def unlike_stems(splits: dict[str, list[Job]]) -> list[Job]:
    """The jobs of all splits; a stem that occurs twice gets its split before it."""
    counts = Counter(name_key(job.visible.stem) for jobs in splits.values() for job in jobs)
    taken = {stem for stem, count in counts.items() if count == 1}

    def named(split: str, job: Job) -> Job:
        stem = unlike = job.visible.stem
        if counts[name_key(stem)] > 1:
            unlike, number = f"{split}_{stem}", 1
            while name_key(unlike) in taken:
                number += 1
                unlike = f"{split}_{stem}_{number}"
            taken.add(name_key(unlike))
        return replace(job, visible=replace(job.visible, stem=unlike))

    return [named(split, job) for split, jobs in splits.items() for job in jobs]


def pair_jobs(split: Split) -> list[Job]:
    """The pairs of a split; a pair's own stem names the result."""
    return [_pair_job(pair) for pair in split.pairs]


def visible_jobs(split: Split) -> list[Job]:
    """The visible images of a split, alone."""
    return [Job(source) for source in split.visible]


def partnered_jobs(split: Split) -> list[Job]:
    """The visible images of a split, each with its real infrared partner where it has one; the visible stem names the
    result."""
    partners = {pair.visible: pair.infrared for pair in split.pairs}
    return [Job(source, partners.get(source)) for source in split.visible]


def of_data_set(listing: Listing, split: str, jobs_of: Callable[[Split], list[Job]], wanted: str = "") -> Inputs:
    """The jobs of one of a data set's splits, or of all. wanted: what jobs_of finds, such as pairs: ValueError where it
    finds none. ValueError where there is no such split."""
    names, groups = listing.chosen(split), {}
    for part in listing.parts or (listing,):
        for name in filter(part.splits.__contains__, names):
            label = f"{part.root.name}_{name}" if listing.parts else name
            groups[label if label not in groups else f"{label}_{len(groups)}"] = jobs_of(part.splits[name])
    jobs = unlike_stems(groups)
    if wanted and not jobs:
        raise ValueError(f"{listing.summary()}: no {wanted} in --split {split}: give another")
    inputs = Inputs.among(jobs, Met(), listing.summary(), listing.notes)
    return replace(inputs, skipped=inputs.skipped + listing.passed_over(names))


def _pair_job(pair: Pair) -> Job:
    return Job(replace(pair.visible, stem=pair.stem), pair.infrared, pair.labels)


def _names(sources: Sequence[Source]) -> str:
    return first_few(source.path.name for source in sources)


def _alone(sources: Sequence[Source], paired: Set[Source], partners: Sequence[Source], other: str) -> list[ImageError]:
    """Those of one side in no pair. other: what the partners are called."""
    stems = {name_key(partner.path.stem): partner for partner in partners}
    bare = {name_key(bare_stem(partner.path.stem)): partner for partner in partners if partner not in paired}
    errors = []
    for source in sources:
        if source in paired:
            continue
        same, near = stems.get(name_key(source.path.stem)), bare.get(name_key(bare_stem(source.path.stem)))
        reason = f"no {other} image has its stem"
        if same is not None:
            reason = f"{same.path.name} has its stem, but so has another image: give each pair names of its own"
        elif near is not None:
            reason += f"; {near.path.name} would be its partner if most were named so and no others so like it"
            reason += ": give both one name"
        errors.append(ImageError(source.path, reason))
    return errors


def find_pairs(visible: Path, infrared: Path) -> Inputs:
    """Two files make one pair; images of two folders pair as those of data sets do, by stem, or without what says
    visible or infrared where most pair so, and those without a partner are skipped. ValueError where nothing
    pairs."""
    met = Met()
    sides = list_images(visible, met), list_images(infrared, met)
    if visible.is_dir() != infrared.is_dir():
        raise ValueError(f"--visible {visible} and --infrared {infrared}: give two folders or two files")
    if not visible.is_dir():
        return Inputs([Job(sides[0][0], sides[1][0])], [], f"{visible} and {infrared}")
    if visible.samefile(infrared):
        raise ValueError(
            f"--visible and --infrared are one folder, {visible}: move the images apart, or give --dataroot"
        )
    pairs = join(*sides, roots=(visible, infrared))
    if not pairs:
        raise ValueError(
            f"no image in {visible} ({_names(sides[0])}) has the stem of one in {infrared} ({_names(sides[1])}): "
            "give both images of a pair the same name"
        )
    paired = {source for pair in pairs for source in (pair.visible, pair.infrared)}
    skipped = _alone(sides[0], paired, sides[1], "infrared") + _alone(sides[1], paired, sides[0], "visible")
    about = f"{plural(len(pairs), 'pair')} of {visible} and {infrared}"
    for x, y in ((pair.visible.path, pair.infrared.path) for pair in pairs):
        if name_key(x.stem) != name_key(y.stem):
            about += f", paired without endings: {x.name} and {y.name}, ..."
            break
    inputs = Inputs.among([_pair_job(pair) for pair in pairs], met, about)
    return replace(inputs, skipped=inputs.skipped + skipped)


def find_visible(visible: Path, noun: str = "visible image", notes: Sequence[str] = ()) -> Inputs:
    """The visible images of a folder, or one file, alone. noun: what to call them."""
    met = Met()
    jobs = [Job(source) for source in list_images(visible, met)]
    return Inputs.among(jobs, met, f"{plural(len(jobs), noun)} in {visible}", notes)


def _find_files(places: Sequence[Path], notes: Sequence[str] = ()) -> Inputs:
    """The images of several folders and files, each once."""
    met = Met()
    sources = [source for place in places for source in list_images(place, met)]
    listed = {source.path.parent.resolve() / source.path.name: source for source in sources}
    stems = unique_stems(list(listed), Path(os.path.commonpath([path.parent for path in listed])))
    jobs = [Job(replace(source, stem=stem)) for source, stem in zip(listed.values(), stems, strict=True)]
    return Inputs.among(jobs, met, plural(len(jobs), "image"), notes)


def _note_data_set(root: Path) -> list[str]:
    """A line where a folder that is read as one of any pictures could be a data set."""
    try:
        name, found = recognise(root, "auto")
    except ValueError:
        return []
    at = f"--dataroot {found[0].path} --layout {name}"
    return [f"{root} is read as a folder of any pictures; {at} reads it as a data set"]


def find_to_generate(
    options: TestDataOptions, split: str | None = None, count: int | None = None, own: bool = False
) -> Inputs:
    """What test.py generates from, at most `count` images. A folder is a data set where its names say so, or its layout
    is given, or it is the run's own; any other is a folder of pictures, of which there are no splits. Several data sets
    are joined; folders of which one is none are all read as pictures. ImageError for what is passed over, if strict."""
    roots = options.dataroot
    for root in roots:
        ensure_sample(root)
    folders = [root for root in roots if root.is_dir()]
    if len(folders) == len(roots):
        try:
            found = of_data_set(find(options, pictures=not own), split or "test", partnered_jobs)
            return found.chosen(count, options.strict)
        except UnknownLayout:
            if options.layout != "auto" or options.visible_dir is not None:
                raise
    if split is not None:
        none = next((root for root in roots if not (root.is_dir() and _note_data_set(root))), roots[0])
        raise ValueError(f"--split {split} belongs to a data set, and {none} is none: leave it out")
    notes = [line for root in folders for line in _note_data_set(root)]
    alone = len(roots) == len(folders) == 1
    found = find_visible(roots[0], "image", notes) if alone else _find_files(roots, notes)
    return found.seen_alike(options.visible_bits).chosen(count, options.strict)


def find_to_fuse(sources: SourceOptions, data: FuseDataOptions) -> Inputs:
    """What fuse.py fuses, of its folders, files or data set. ImageError for what is passed over, if strict."""
    if sources.visible is not None:
        inputs = find_pairs(sources.visible, sources.infrared) if sources.infrared else find_visible(sources.visible)
        inputs = inputs.seen_alike(data.visible_bits)
    else:
        jobs_of, wanted = (pair_jobs, "pairs") if sources.generator is None else (visible_jobs, "visible images")
        inputs = of_data_set(find_data(data), sources.split or "test", jobs_of, wanted)
    return inputs.chosen(sources.num_test, data.strict)
