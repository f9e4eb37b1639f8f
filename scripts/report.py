"""What the commands that make or score images print and write at their end."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.counts import ThermalRange
from data.images import ImageError, Source
from data.inputs import Job
from data.output.results import Results, made_by
from data.output.writing import copy_small
from data.scoring.cases import Cases, EvaluationCase
from data.scoring.scores import CaseScores, Scorer, Scores, score_cases
from options.data import DataOptions
from options.recorded import from_dict
from util.command_line import given
from util.files import remove_parts
from util.pages.evaluation_page import shown_images, write_evaluation_page, written_beside
from util.pages.gallery import write_gallery
from util.pages.image_rows import Row
from util.pages.training_page import score_table
from util.text import plural
from util.training import ranks

RANGE_OPTIONS = ("--thermal_range", "--kelvin_low", "--kelvin_high", "--kelvin_per_count", "--kelvin_offset",
                 "--infrared_range", "--percentile_low", "--percentile_high")  # fmt: skip
"""What a ThermalRange is made of."""
NAMED = 20  # files that were skipped for one reason


def tell(label: str, lines: Iterable[str]) -> None:
    """Print lines under a label, such as note."""
    for line in lines:
        print(f"{label:9} {line}", flush=True)


def announce(lines: Mapping[str, object]) -> None:
    """Print a command's opening lines: label -> text."""
    for label, text in lines.items():
        tell(label, [str(text)])


def tell_skipped(errors: Sequence[ImageError], why: str = "") -> int:
    """Name on stderr what was skipped, of what was for one reason the first few; returns the command's exit status."""
    by_reason: dict[str, list[ImageError]] = {}
    for error in errors:
        by_reason.setdefault(re.sub(r"\d+", "0", error.reason), []).append(error)
    for alike in by_reason.values():
        for error in alike[:NAMED]:
            print(f"skipped {error}{why}", file=sys.stderr)
        if more := alike[NAMED:]:
            print(f"skipped {len(more)} more for that reason, to {more[-1].path}{why}", file=sys.stderr)
    return 1 if errors else 0


def cases_of(results: Results, jobs: Sequence[Job], method: str, kind: str) -> list[EvaluationCase]:
    """The finished results of jobs as cases to score, beside the real infrared images or, where there are none, those
    that were made. method: what to call what made the files of a kind."""

    def written(kind: str, job: Job) -> Source:
        return Source(results.file(kind, job.visible.stem), job.visible.stem)

    return [
        EvaluationCase(
            job.visible.stem, job.visible, job.ground_truth or written("infrared", job), {method: written(kind, job)}
        )
        for job in jobs
        if job.visible.stem in results.records
    ]


def score_results(
    results: Results, cases: Sequence[EvaluationCase], scorer: Scorer, num_threads: int | None, strict: bool
) -> Scores:
    """As score_cases, of results as they were saved. What their records keep is not scored again; what is new is kept
    there."""
    known = {case.stem: CaseScores.of_record(results.records[case.stem], case, scorer) for case in cases}
    known = {stem: found for stem, found in known.items() if found is not None}

    def keep(stem: str, found: CaseScores) -> None:
        results.add(stem, {**results.records[stem], **found.record()})

    scores = score_cases(cases, scorer, num_threads, strict, known, keep)
    results.collect()
    return scores


def choose_range(options: DataOptions, folders: Iterable[Path], argv: Sequence[str]) -> ThermalRange:
    """Return the range to which the real infrared images are brought: as argv says, else as it was when the results in
    these folders were made, which a line tells. options: those of argv, by default or given."""
    asked, found = ThermalRange.from_options(options), set()
    for folder in folders:
        try:
            found.add(from_dict(ThermalRange, made_by(folder).get("thermal range"), str(folder)))
        except ValueError:
            found.add(None)
    if any(given(argv, option) for option in RANGE_OPTIONS) or found <= {None, asked}:
        return asked
    (theirs,) = found if len(found) == 1 else (None,)
    if theirs is None:
        line = "results were made beside real images of different ranges, or do not say of which: scored are"
        tell("note", [f"{line} {asked.text()}; --infrared_range chooses"])
        return asked
    tell("note", [f"the real images are {theirs.text()}, as they were when the results were made (made.jsonl)"])
    return theirs


def tell_cases(found: Cases, kind: str, folders: Mapping[str, Path], notes: Iterable[str]) -> None:
    """Print what scripts.evaluate is about to score. kind: of the scenes. folders: of each method."""
    tell("data", [f"{plural(len(found.cases), kind)} of {found.where}"])
    tell("scored", [", ".join(f"{name} in {folder}" for name, folder in folders.items())])
    tell("missing", found.missing)
    tell("note", notes)


def score_all(found: Cases, kind: str, scorer: Scorer, num_threads: int | None, strict: bool) -> Scores:
    """As score_cases; ValueError where none of the cases can be read. kind: of the scenes."""
    scores = score_cases(found.cases, scorer, num_threads, strict)
    if ranks.is_writer() and not scores.sheet.rows:
        raise ValueError(f"none of {plural(len(found.cases), kind)} could be scored: {scores.errors[0]}")
    return scores


def print_scores(scores: Scores, about: str) -> None:
    """Print means and deviations, the ranking of several methods, what FID depends on, and notes. about: what the means
    are over."""
    print(f"\nmean ± standard deviation over {about}\n")
    print(scores.sheet.text())
    if len(scores.sheet.methods) > 1:
        print(f"\n{scores.sheet.ranking_text()}")
    if depends := scores.facts.get("FID depends on"):
        print(f"FID       of {_joined(depends)}")
    tell("note", scores.notes)


def _joined(facts: Mapping[str, Any]) -> str:
    texts = {name: " ".join(value) if isinstance(value, list) else str(value) for name, value in facts.items()}
    return ", ".join(f"{name} {text[:12] if len(text) == 64 else text}" for name, text in texts.items())


def write_scores(folder: Path, scores: Scores | None, facts: Mapping[str, Any]) -> bool:
    """Write scores.json and .csv of a folder of results; whether there are any, else an earlier command's are removed,
    which are perhaps of other images."""
    if scores is not None and scores.sheet.rows:
        scores.sheet.write(folder / "scores.json", dict(facts) | scores.facts)
        return True
    for name in ("scores.json", "scores.csv"):
        (folder / name).unlink(missing_ok=True)
    return False


def write_evaluation(
    out: Path,
    title: str,
    scores: Scores,
    cases: Sequence[EvaluationCase],
    facts: Mapping[str, Any],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write out (.json), the .csv and the page beside it, and small copies of the images that the page shows. facts:
    for the file and the page; about: for the page alone."""
    facts, images, copies = scores.facts | dict(facts), out.with_name(f"{out.stem}_images"), {}
    scores.sheet.write(out, facts)
    for folder in images.glob("*"):
        remove_parts(folder)
    shown, page = shown_images(scores.sheet), out.with_suffix(".html")
    for case in (case for case in cases if case.stem in shown):
        copies[case.stem] = {}
        for label, picture in scores.scorer.pictures(case).items():
            copies[case.stem][label] = images / label / f"{case.stem}.jpg"
            copy_small(copies[case.stem][label], picture)
    told = {name: str(value) for name, value in (facts | dict(about or {})).items() if not isinstance(value, Mapping)}
    told |= {name: _joined(facts[name]) for name in ("FID depends on",) if name in facts}
    told |= {"note": "; ".join(scores.notes)} if scores.notes else {}
    write_evaluation_page(page, title, scores.sheet, copies.__getitem__, told)
    print(f"written   {out}, {out.with_suffix('.csv').name}")
    print(f"page      {page.resolve()}")


def remove_evaluation(out: Path) -> None:
    """Remove what write_evaluation has written."""
    for path in (out, *written_beside(out)):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_page(
    folder: Path, kind: str, images: Mapping[str, Mapping[str, Path]], scores: Scores | None, facts: Mapping[str, str]
) -> None:
    """Write the gallery of a folder of results, or remove an earlier one where nothing is shown. kind: of the results.
    images: name -> column -> file. scores: of all results, their first row's beside each image."""
    page = folder / "index.html"
    if not images:
        page.unlink(missing_ok=True)
        return
    tables, sheet = [], scores.sheet if scores is not None and scores.sheet.rows else None
    if sheet is not None:
        title = f"Scores of {plural(len(sheet.rows[sheet.methods[0]]), f'{kind} image')}"
        tables.append(score_table(title, sheet.means(), sheet.higher))
    rows = [Row(stem, files, sheet.of(sheet.methods[0], stem) if sheet else {}) for stem, files in images.items()]
    write_gallery(page, f"{folder.name}: {kind} images", rows, tables, (), facts)
    print(f"gallery   {page.resolve()}")
