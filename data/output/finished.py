"""What earlier commands left in a results folder: which of it still stands, what goes, what is of no input any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files import natural_key
from data.images import ImageError
from data.inputs import Job
from data.output.made import Made
from util.files import stamp
from util.text import first_few, plural


def inputs_of(job: Job) -> list[Any]:
    """What a result is made from: the files as they are now and how they are read. ImageError where one is gone."""
    sources = [job.visible] if job.real is None else [job.visible, job.real]
    return [[stamp_of(source.path), source.camera, source.half, source.white] for source in sources]


def stamp_of(path: Path) -> list[Any]:
    """As util.files.stamp, of an input: ImageError where it is gone since it was listed or read."""
    try:
        return stamp(path)
    except OSError as error:
        raise ImageError(path, f"is gone since this command began ({error.strerror})") from None


def stands(record: Mapping[str, Any] | None, job: Job, files: Iterable[Path]) -> bool:
    """Whether a record tells of a result made from the job's files as they are now, and all of its own are there: a
    machine that loses its power can leave empty ones."""
    try:
        made_of = record is not None and record.get("inputs") == inputs_of(job)
        return made_of and all(path.is_file() and path.stat().st_size for path in files)
    except ImageError:  # reading says so
        return False


def remove_forgotten(made: Made, wanted: Sequence[Job], files: Callable[[str], Iterable[Path]]) -> None:
    """Images of other weights or options must not lie among those that are made now. files: of a stem."""
    for stem in set(made.forgotten) - {job.visible.stem for job in wanted}:
        for path in files(stem):
            path.unlink(missing_ok=True)


def notes(made: Made, kept: int, wanted: Sequence[Job], folder: Path, suffix: str) -> list[str]:
    """Lines on what was there already. kept: of the wanted results. folder: of results, called STEM + suffix."""
    lines = []
    if made.changed:
        lines.append(f"what is there was made with other {' and '.join(made.changed)}: every image is made anew")
    elif kept:
        lines.append(f"{kept} of {len(wanted)} images are there already (--overwrite makes them anew)")
    stems = {job.visible.stem for job in wanted}
    left = [path.name for path in folder.glob(f"*{suffix}") if path.stem not in stems and not path.name.startswith(".")]
    if left:
        count = f"{plural(len(left), 'image')} of no input of this command {'stays' if len(left) == 1 else 'stay'}"
        lines.append(f"{count} in {folder}: {first_few(sorted(left, key=natural_key))}")
    return lines
