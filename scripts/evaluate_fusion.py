"""Scores of fused images, of one method or several: python -m scripts.evaluate fusion --help names every option."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from data.counts import ThermalRange
from data.fusion_inputs import find_pairs, grey_tensor
from data.generated import copy_small
from data.images import ImageError, Source, probe, read_infrared
from data.inference import Job
from data.scored import GREY_MODES, in_threads, join_methods, read_saved, results_of, some
from data.transforms import resize
from options.cli import parse
from options.evaluate import EvaluateFusionOptions, methods_of, words_of
from util.compute import choose
from util.evaluation_page import shown_images, write_evaluation_page
from util.fusion_page import TRIVIAL, FusionScores


@dataclass(frozen=True)
class Case:
    """One pair and what each method made of it."""

    stem: str
    job: Job
    fused: Mapping[str, Source]


def find_cases(options: EvaluateFusionOptions) -> tuple[list[Case], list[str]]:
    """Pairs that every method has fused, and lines about what is missing. ValueError where nothing pairs."""
    pairs = find_pairs(options.visible, options.infrared)
    jobs = {job.visible.stem: job for job in pairs.jobs}
    folders = methods_of("fused", options.fused)
    methods = {name: results_of(folder, "fused") for name, folder in folders.items()}
    if len(methods) == 1 and len(jobs) == 1 and all(len(found) == 1 for found in methods.values()):
        (stem, job), (name, found) = *jobs.items(), *methods.items()
        return [Case(stem, job, {name: found[0]})], []  # three files, of any names
    joined, lines = join_methods(list(jobs), methods, "fused", "pair")
    if pairs.skipped:
        lines.insert(0, f"{len(pairs.skipped)} images have no partner ({some(e.path.name for e in pairs.skipped)})")
    return [Case(stem, jobs[stem], found) for stem, found in joined.items()], lines


def read_sources(job: Job, convention: str) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Visible uint8 [1 or 3, H, W]; infrared of its size, of one channel, in VIFB's convention of those it was saved
    with; whether it was resized."""
    visible = read_saved(job.visible)
    if convention == "vifb" and probe(job.real.path)[0] not in GREY_MODES:
        infrared = read_saved(job.real)
    else:
        infrared = grey_tensor(read_infrared(job.real, ThermalRange()))
    size = tuple(visible.shape[-2:])
    return visible, resize(infrared, size), tuple(infrared.shape[-2:]) != size


class Evaluation:
    """Scores of all cases, and what went wrong."""

    def __init__(self, options: EvaluateFusionOptions) -> None:
        """ValueError for a metric that the convention does not know."""
        self.sheet = FusionScores(words_of(options.metrics) or None, options.convention)
        self.device = choose(options.device, "fp32").device
        self.errors: list[ImageError] = []
        self.resized: list[str] = []

    def _score(self, case: Case) -> tuple[dict[str, dict[str, float]], tuple[int, int], bool] | ImageError:
        try:
            visible, infrared, resized = read_sources(case.job, self.sheet.convention)
            fused = {name: read_saved(source) for name, source in case.fused.items()}
            size = tuple(visible.shape[-2:])
            for name, image in fused.items():
                if tuple(image.shape[-2:]) != size:
                    found, wanted = ("x".join(map(str, reversed(s))) for s in (tuple(image.shape[-2:]), size))
                    path = case.fused[name].path
                    raise ImageError(path, f"is {found}, its visible image {wanted}: give fused images of that size")
        except ImageError as error:
            return error
        fused = {name: image.to(self.device) for name, image in fused.items()}
        rows = self.sheet.compute(fused, visible.to(self.device), infrared.to(self.device))
        return rows, size, resized

    def run(self, cases: Sequence[Case], num_threads: int | None) -> None:
        """Score all. ValueError where none can be read."""
        for case, result in in_threads(self._score, cases, num_threads, "scoring"):
            if isinstance(result, ImageError):
                self.errors.append(result)
                continue
            rows, size, resized = result
            self.sheet.take(case.stem, rows, size)
            self.resized += [case.stem] if resized else []
        if not self.sheet.rows:
            raise ValueError(f"none of {len(cases)} pairs could be scored: {self.errors[0]}")
        self.sheet.explain()


def range_policy(folder: Path) -> str:
    """How the fused images were brought to 0..255, as fuse.py recorded it beside them; else only that they were."""
    for path in (folder / "results.json", folder.parent / "results.json"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return f"{record['range']}, saved as 8 bit" if isinstance(record["range"], str) else "as saved, 8 bit"
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return "as saved, 8 bit"


def write_page(options: EvaluateFusionOptions, evaluation: Evaluation, cases: Sequence[Case], facts: dict) -> Path:
    """The page, and small copies of the images that it shows."""
    sheet, page = evaluation.sheet, options.out.with_suffix(".html")
    images = options.out.with_name(f"{options.out.stem}_images")
    copies: dict[str, dict[str, Path]] = {}
    shown = shown_images(sheet)
    for case in cases:
        if case.stem not in shown:
            continue
        visible, infrared, _ = read_sources(case.job, "standard")
        pictures = {"visible": visible, "infrared": infrared}
        pictures |= {name: read_saved(source) for name, source in case.fused.items()}
        for label, picture in pictures.items():
            path = images / label / f"{case.stem}.jpg"
            copy_small(path, picture)
            copies.setdefault(case.stem, {})[label] = path
    about = {name: str(value) for name, value in facts.items() if not isinstance(value, Mapping)}
    write_evaluation_page(page, "Scores of fused images", sheet, copies.__getitem__, about)
    return page


def main(argv: list[str]) -> int:
    """The command; exit status 1 where some images could not be scored."""
    options = parse(EvaluateFusionOptions, argv)
    evaluation = Evaluation(options)
    folders = methods_of("fused", options.fused)
    if set(TRIVIAL) & set(folders):
        raise ValueError("--fused: visible, infrared, average and maximum name the trivial rows; give other names")
    cases, lines = find_cases(options)
    policies = {name: range_policy(folder) for name, folder in folders.items()}
    same = len(set(policies.values())) == 1
    facts = {"convention": options.convention, "range": next(iter(policies.values())) if same else policies}
    print(f"data      {len(cases)} pairs, {', '.join(f'{name} in {folder}' for name, folder in folders.items())}")
    for line in lines:
        print(f"missing   {line}")
    evaluation.run(cases, options.num_threads)
    sheet = evaluation.sheet
    print(f"\n{options.convention} convention, mean ± standard deviation over {len(cases) - len(evaluation.errors)} "
          f"images; range: {some(dict.fromkeys(policies.values()))}\n")  # fmt: skip
    print(sheet.text())
    if len(folders) > 1:
        print(f"\n{sheet.ranking_text()}")
    sheet.write(options.out, facts)
    about = facts | {"visible": options.visible, "infrared": options.infrared, "device": evaluation.device}
    about |= folders
    done = [case for case in cases if sheet.of(next(iter(folders)), case.stem)]
    page = write_page(options, evaluation, done, about)
    if evaluation.resized:
        print(f"note      infrared resized to its visible image's size in {len(evaluation.resized)} pairs: "
              f"{some(evaluation.resized)}")  # fmt: skip
    for error in evaluation.errors:
        print(f"skipped {error}", file=sys.stderr)
    print(f"written   {options.out}, {options.out.with_suffix('.csv').name}")
    print(f"page      {page.resolve()}")
    return 1 if evaluation.errors else 0
