"""What infrared is generated from: the visible images of a data set, with their real partners, a folder, or files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from data.files import Met, unique_stems
from data.images import list_images
from data.layouts import Listing, UnknownLayout, find, recognise
from data.visible_images import Found, Job, unlike_stems
from options.test import TestDataOptions
from util.text import plural


def jobs_of(listing: Listing, split: str) -> list[Job]:
    """Every visible image of a split, or of all, with its real infrared partner where it has one; the visible stem
    names the result. ValueError where there is no such split."""
    splits = {}
    for name in listing.chosen(split):
        partners = {pair.visible: pair.infrared for pair in listing.splits[name].pairs}
        splits[name] = [Job(source, partners.get(source)) for source in listing.splits[name].visible]
    return unlike_stems(splits)


def _note_data_set(options: TestDataOptions) -> list[str]:
    """A line where a folder that is read as one of any pictures could be a data set."""
    root = options.dataroot[0]
    try:
        name, found = recognise(root, "auto")
    except ValueError:
        return []
    at = f"--dataroot {found[0].path} --layout {name}"
    return [f"{root} is read as a folder of any pictures; {at} reads it as a data set"]


def find_jobs(options: TestDataOptions, split: str, own: bool = False) -> Found:
    """What to generate from. A folder is a data set where its names say so, or its layout is given, or it is the run's
    own; any other is a folder of pictures. ImageError for what is passed over, if strict."""
    roots, data, met = options.dataroot, options.for_root(), Met()
    if len(roots) == 1 and roots[0].is_dir():
        try:
            listing = find(data, pictures=not own)
        except UnknownLayout:
            if data.layout != "auto" or data.visible_dir is not None:
                raise
            jobs = [Job(source) for source in list_images(roots[0], met)]
            summary = f"{plural(len(jobs), 'image')} in {roots[0]}"
            found = Found.among(jobs, met, summary, _note_data_set(options)).seen_alike(data.visible_bits)
        else:
            found = Found.among(jobs_of(listing, split), met, listing.summary(), listing.notes)
            found = replace(found, skipped=found.skipped + listing.passed_over(listing.chosen(split)))
    else:
        sources = [source for root in roots for source in list_images(root, met)]
        listed = {source.path.parent.resolve() / source.path.name: source for source in sources}  # each file once
        stems = unique_stems(list(listed), Path(os.path.commonpath([path.parent for path in listed])))
        jobs = [Job(replace(source, stem=stem)) for source, stem in zip(listed.values(), stems, strict=True)]
        found = Found.among(jobs, met, plural(len(jobs), "image")).seen_alike(data.visible_bits)
    if found.skipped and data.strict:
        raise found.skipped[0]
    return found
