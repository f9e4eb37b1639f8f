"""What infrared is generated from: the visible images of a data set, with their real partners, a folder, or files."""

from __future__ import annotations

from collections import Counter

from data.fusion_inputs import Found, passed_over
from data.images import list_images
from data.inference import Job, unlike_stems
from data.layouts import Listing, UnknownLayout, find
from options.test import TestDataOptions
from util.words import plural


def jobs_of(listing: Listing, split: str) -> list[Job]:
    """Every visible image of a split, or of all, with its real infrared partner where it has one; the visible stem
    names the result. ValueError where there is no such split."""
    splits = {}
    for name in listing.chosen(split):
        partners = {pair.visible: pair.infrared for pair in listing.splits[name].pairs}
        splits[name] = [Job(source, partners.get(source)) for source in listing.splits[name].visible]
    return unlike_stems(splits)


def find_jobs(options: TestDataOptions, split: str) -> Found:
    """What to generate from. A folder of no known layout is a folder of images."""
    roots, data = options.dataroot, options.for_root()
    if len(roots) == 1 and roots[0].is_dir():
        try:
            listing = find(data)
        except UnknownLayout:
            if data.layout != "auto" or data.visible_dir is not None:
                raise
            jobs = [Job(source) for source in list_images(roots[0])]
            found = Found(jobs, [], f"{plural(len(jobs), 'image')} in {roots[0]}")
            return found.seen_alike(roots, data.visible_bits)
        skipped = passed_over(listing, listing.chosen(split))
        return Found(jobs_of(listing, split), skipped, listing.summary(), listing.notes)
    jobs = [Job(source) for root in roots for source in list_images(root)]
    stems = Counter(job.visible.stem.casefold() for job in jobs)
    twice = next((stem for stem, count in stems.items() if count > 1), None)
    if twice:
        raise ValueError(f"two of the files are called {twice}: their results would have one name; rename one")
    return Found(jobs, [], plural(len(jobs), "image")).seen_alike(roots, data.visible_bits)
