"""One folder of results: where the files of each go, and made.jsonl, so that a half-done folder goes on where it
stopped.

Its first line says by what the results are made; every other line is one finished result, written after its files. It
is also what tells a results folder from any other. Ranks but the first write such a file each, which that one takes in
when all are done, or the next command does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Any

from data.files import natural_key
from data.images import ImageError
from data.inputs import Job
from options.detection import PAGE
from util.files import alone_in, digest, first_inside, naming, remove_parts, stamp, write_whole
from util.json_file import read_lines
from util.text import first_few, plural
from util.training import ranks

MANIFEST = "made.jsonl"
OF_RANK = ".made.{}.jsonl"
PIPELINE = 4
"""Part of what is recorded of images: raise it when the same weights, options and files give other pixels, whatever
part of the code that is due to, so that images made before are made anew."""


def manifest_key(weights: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """By what results are made, as JSON: those that were made by anything else are made anew. facts: besides the
    weights, which are known by content."""
    return json.loads(json.dumps({"weights": digest(weights), **facts, "code": PIPELINE}))


def _key_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    key = lines[0].get("made_by") if lines else None
    return key if isinstance(key, dict) else None


def made_by(folder: Path) -> dict[str, Any]:
    """By what the results of a folder, or of the one it is in, were made: the key given to Results; {} where nobody
    recorded it."""
    found = (_key_of(read_lines(place / MANIFEST)) for place in (folder, folder.parent))
    return next((key for key in found if key), {})


def other_than(key: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """What of the key is another than that of the records in these lines; nothing where they have no key."""
    before = _key_of(lines)
    return [] if before in (None, key) else sorted(k for k in {**key, **before} if key.get(k) != before.get(k))


def _is_name(name: Any) -> bool:
    """Whether it names a result: what is called otherwise may lie anywhere, and results are removed by their names."""
    return isinstance(name, str) and "\0" not in name and not {"..", "/"} & set(PurePosixPath(name).parts)


def records_in(lines: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Name -> record, of the lines behind the first; one that has no name of a result counts as none."""
    return {line["name"]: line for line in lines[1:] if _is_name(line.get("name"))}


def stamp_of(path: Path) -> list[Any]:
    """Give util.files.stamp of an input; ImageError where it is gone since it was listed or read."""
    try:
        return stamp(path)
    except OSError as error:
        raise ImageError(path, f"is gone since this command began ({error.strerror})") from None


def inputs_of(job: Job) -> list[Any]:
    """What a result is made from: the files as they are now and how they are read. ImageError where one is gone."""
    sources = [job.visible] if job.ground_truth is None else [job.visible, job.ground_truth]
    return [[stamp_of(source.path), source.camera, source.half, source.white] for source in sources]


class Results:
    """A folder of results, each with a name, a record and a file of several kinds. Several threads may add records,
    each is one line, and several ranks, whose records come together in `collect`. errors: of inputs that could not be
    used."""

    def __init__(
        self,
        folder: Path,
        kinds: Mapping[str, str],
        key: Mapping[str, Any],
        overwrite: bool = False,
        fits: Callable[[Mapping[str, Any]], bool] = bool,
        jobs: Sequence[Job] = (),
        maker: Any = None,
    ) -> None:
        """kinds: sub-folder -> how its files end. key: by what results are made. Records made by another key, or if
        overwrite, are forgotten. fits: whether a record is as it should be; others count as none, as damaged lines do.
        jobs: what is to be made. maker: what makes the real images that a job lacks, as JSON; it counts as one of the
        job's inputs. What killed commands left half-written is removed. All ranks must call it. ValueError where
        results of none of these jobs were made by another key: they cannot lie beside what is made now, and only
        overwrite lets them go."""
        self.folder, self.kinds, self.lock = folder, kinds, threading.Lock()
        self.jobs, self.stems, self.maker = jobs, {job.visible.stem for job in jobs}, maker
        self.path = folder / (MANIFEST if ranks.is_writer() else OF_RANK.format(ranks.rank()))
        self.first_line = json.dumps({"made_by": key}) + "\n"
        self.errors: list[ImageError] = []
        self.changed: list[str] = []
        """What of the key is another than that of the records forgotten."""
        self.forgotten: list[str] = []
        """Names of results whose records are forgotten; their files may still be there."""
        self.records: dict[str, Mapping[str, Any]] = {}
        """Name -> record; on ranks but the first those of all from `left` and `collect` on."""
        if ranks.is_writer():
            self._read(key, overwrite, fits)
        if line := ranks.from_writer(self._misplaced()):
            raise ValueError(line)
        if ranks.is_writer():
            self._write()
            remove_all_parts(folder, kinds)

    def _read(self, key: Mapping[str, Any], overwrite: bool, fits: Callable[[Mapping[str, Any]], bool]) -> None:
        for path in (self.path, *self._of_ranks()):
            lines = read_lines(path)
            if _key_of(lines) == key and not overwrite:
                self.records |= {name: line for name, line in records_in(lines).items() if fits(line)}
            else:
                self.changed = self.changed or ([] if overwrite else other_than(key, lines))
                self.forgotten += records_in(lines)

    def _misplaced(self) -> str:
        """A line where results of other inputs stand in the way; "" where none do."""
        others = set(self.forgotten) - self.stems if self.changed else set()
        if not (count := sum(any(self.file(kind, name).exists() for kind in self.kinds) for name in others)):
            return ""
        return (
            f"{self.folder} holds {plural(count, 'image')} of other inputs, made with other "
            f"{' and '.join(self.changed)}: give another --results_dir, or --overwrite, which removes them"
        )

    def _of_ranks(self) -> list[Path]:
        """The files of other ranks than the first."""
        return sorted(self.folder.glob(OF_RANK.format("*")))

    def _write(self) -> None:
        """Write all records to made.jsonl, each once, in the order of names; the other ranks' files are removed."""
        lines = [json.dumps(record) + "\n" for _, record in sorted(self.records.items())]
        write_whole(self.path, (self.first_line + "".join(lines)).encode())
        for path in self._of_ranks():
            path.unlink()

    def collect(self) -> None:
        """Once every rank has done its share, bring their records together, on all ranks, and their errors on rank 0;
        all ranks must call it. RankLost where one is gone: the next command takes in what each has written."""
        self.errors = [error for errors in ranks.gather(self.errors) for error in errors]
        if ranks.is_writer():
            for path in self._of_ranks():
                self.records |= records_in(read_lines(path))
            self._write()
        self.records = ranks.from_writer(self.records)

    def file(self, kind: str, name: str) -> Path:
        """Where a file of a result goes; kind: one of kinds."""
        return self.folder / kind / f"{name}{self.kinds[kind]}"

    def add(self, name: str, record: Mapping[str, Any]) -> None:
        """Record one more finished result; its files must be there in full."""
        line = {"name": name, **record}
        with self.lock, naming(self.path), self.path.open("a", encoding="utf-8") as file:
            self.records[name] = line
            file.write(("" if file.tell() else self.first_line) + json.dumps(line) + "\n")

    def _inputs(self, job: Job) -> list[Any]:
        made = [self.maker] if job.ground_truth is None and self.maker is not None else []
        return inputs_of(job) + made

    def inputs(self, job: Job) -> list[Any] | None:
        """Give inputs_of a job, and the maker of what it lacks; None where a file is gone, which is added to the
        errors."""
        try:
            return self._inputs(job)
        except ImageError as error:
            self.errors.append(error)
            return None

    def left(self, needed: Callable[[Job], Iterable[Path]]) -> list[Job]:
        """The jobs that are still to be done: those without a record of the same inputs, or without one of the files
        that are needed; a machine that loses its power can leave empty ones. Their records are dropped. With overwrite,
        images of other inputs are removed. All ranks must call it, and have the answer of rank 0."""
        for name in set(self.forgotten) - self.stems:
            for kind in self.kinds:
                self.file(kind, name).unlink(missing_ok=True)
        for job in self.jobs if ranks.is_writer() else ():
            if not self._stands(job, needed(job)):
                self.records.pop(job.visible.stem, None)
        self.records = ranks.from_writer(self.records)
        return [job for job in self.jobs if job.visible.stem not in self.records]

    def _stands(self, job: Job, files: Iterable[Path]) -> bool:
        record = self.records.get(job.visible.stem)
        try:
            made_of = record is not None and record.get("inputs") == self._inputs(job)
            return made_of and all(path.is_file() and path.stat().st_size for path in files)
        except ImageError:  # reading says so
            return False

    def notes(self, left: Sequence[Job], kind: str) -> list[str]:
        """Lines on what was there already. left: the jobs that are still to be done. kind: of the results."""
        lines, kept, folder, suffix = [], len(self.jobs) - len(left), self.folder / kind, self.kinds[kind]
        if self.changed:
            lines.append(f"what is there was made with other {' and '.join(self.changed)}: every image is made anew")
        elif kept:
            lines.append(f"{kept} of {len(self.jobs)} images are there already (--overwrite makes them anew)")
        there = (path for path in folder.glob(f"*{suffix}") if not path.name.startswith("."))
        other = [path.name for path in there if path.stem not in self.stems]
        if other:
            count = (
                f"{plural(len(other), 'image')} of no input of this command {'stays' if len(other) == 1 else 'stay'}"
            )
            lines.append(f"{count} in {folder}: {first_few(sorted(other, key=natural_key))}")
        return lines


def remove_all_parts(folder: Path, kinds: Iterable[str]) -> None:
    """Remove what killed commands left half-written in a folder of results."""
    for kind in ("", *kinds):
        remove_parts(folder / kind)


@contextmanager
def own_folder(results_dir: Path, folder: Path, inputs: Iterable[Path], parts: Iterable[str]) -> Iterator[None]:
    """A context in which this command alone, with all its ranks, writes results in the folder, which --results_dir has.
    ValueError where another one does, where results would lie over inputs, or beside what no command that leaves
    MANIFEST there wrote, but for scripts.evaluate_detection's page. parts: sub-folders that the command writes."""
    remedy = "give another --results_dir, or another name"
    if (hit := first_inside(inputs, [folder, *(folder / part for part in parts)])) is not None:
        raise ValueError(
            f"--results_dir {results_dir}: results would lie over {hit}, which this command reads; {remedy}"
        )
    there = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    others = sorted(name for name in there if name[0] != "." and name != PAGE)
    if others and not (folder / MANIFEST).is_file():
        raise ValueError(
            f"--results_dir {results_dir}: {folder} holds {others[0]}, which this command did not write; {remedy}"
        )
    with alone_in(folder, f"wait for it, or {remedy}") if ranks.is_writer() else nullcontext():
        yield
